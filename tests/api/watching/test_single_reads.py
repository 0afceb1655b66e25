"""Operations that the list no longer shows: a read of one that fails, and reads of a poll that fails later."""

import logging
from datetime import UTC, datetime

import pytest
from step_runs import run_steps

from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION, push_history
from airflow_provider_codat.api.errors import (
    CodatAuthenticationError,
    CodatConnectionError,
    CodatError,
    CodatNotFoundError,
    CodatRateLimited,
    CodatResponseError,
    CodatServerError,
)
from airflow_provider_codat.api.watching.ends import EndsOfList
from airflow_provider_codat.api.watching.watch import Subject, Watch

COMPANY = "c0ffee00-0000-4000-8000-000000000000"
START = 1_800_000_000.0
LOG = logging.getLogger(__name__)


def operation(key, requested, status="Pending"):
    time = datetime.fromtimestamp(START + requested, UTC).isoformat()
    return {"pushOperationKey": key, "dataType": "bills", "status": status, "requestedOnUtc": time}


def answers(steps, at_once):
    """Run steps whose requests are answered at once, by path, and return their result. An answer can be an error."""

    def answer(request):
        found = at_once[request.path.removeprefix(f"/companies/{COMPANY}")]
        if isinstance(found, CodatError):
            raise found
        return request.read(found)

    return run_steps(steps, answer)


def page(*operations, total=None):
    """Return the first page of a list, which has all operations unless ``total`` is larger."""
    return {"results": list(operations), "pageNumber": 1, "pageSize": 100, "totalResults": total or len(operations)}


def ends_of(*keys):
    """Return the ends of a list that has shown these operations, which had not ended, and then shows later ones."""
    ends = EndsOfList(PUSH_OPERATION, push_history, COMPANY, lambda _: True)
    ends.accept(answers(ends.poll(lambda: START, LOG), {"/push": page(*(operation(each, -1) for each in keys))}))
    return ends


LATER = page(operation("new-2", 900, "Success"), operation("new-1", -900, "Success"), total=200)


def poll(ends, at, singly, *, is_accepted=True):
    """Poll at a time, with these answers to single requests, and return what has ended."""
    at_once = {"/push": LATER, **{f"/push/{key}": answer for key, answer in singly.items()}}
    polled = answers(ends.poll(lambda: START + at, LOG), at_once)
    if is_accepted:
        ends.accept(polled)
    return [each.key for each in polled.ends]


DONE = operation("done", -1, "Success")


@pytest.mark.parametrize(
    "error",
    [CodatServerError(500, "a bug"), CodatServerError(504, "too slow"), CodatResponseError("there is no status")],
    ids=str,
)
def test_an_operation_that_cannot_be_read_holds_up_no_other(error, caplog):
    ends = ends_of("broken", "done")
    assert poll(ends, 1_000, {"broken": error, "done": DONE}) == ["done", "new-2"]
    assert poll(ends, 2_000, {"broken": error}) == []
    [line] = caplog.messages
    assert "push operation broken cannot be read, so its end is not seen" in line
    assert str(error) in line
    assert poll(ends, 2_060, {}) == []  # it is not due yet
    assert poll(ends, 3_000, {"broken": operation("broken", -1, "Failed")}) == ["broken"]


def test_a_key_that_cannot_be_in_a_url_holds_up_no_other(caplog):
    assert poll(ends_of("a b", "done"), 1_000, {"done": DONE}) == ["done", "new-2"]
    assert "push operation a b cannot be read" in caplog.text


@pytest.mark.parametrize(
    "error",
    [CodatConnectionError("reset"), CodatAuthenticationError(401, "who?"), CodatRateLimited(429, "later")],
    ids=str,
)
def test_an_error_that_other_requests_would_get_too_fails_the_poll(error):
    with pytest.raises(type(error)):
        poll(ends_of("broken", "done"), 1_000, {"broken": error})


def test_a_retry_after_fails_the_poll_so_that_it_is_obeyed():
    error = CodatServerError(503, "maintenance")
    error.retry_after = 600.0
    with pytest.raises(CodatServerError):
        poll(ends_of("broken", "done"), 1_000, {"broken": error})


def test_what_a_poll_has_read_before_it_fails_is_read_again_by_the_next():
    ends = ends_of("done", "slow")
    with pytest.raises(CodatConnectionError):
        poll(ends, 1_000, {"done": DONE, "slow": CodatConnectionError("reset")})
    assert poll(ends, 1_060, {"done": DONE, "slow": operation("slow", -1)}) == ["done", "new-2"]


def test_what_a_poll_has_found_does_not_count_before_it_is_accepted():
    ends = ends_of("done")
    assert [poll(ends, at, {"done": DONE}, is_accepted=False) for at in (1_000, 1_060)] == [["done", "new-2"]] * 2


def test_if_one_list_cannot_be_read_the_next_poll_reads_the_other_one_again():
    subject = Subject.of(COMPANY, ["bills.write.successful", "read.completed"], None)
    watching = Watch(subject, "codat_default")
    empty = {"/data/history": page()}
    answers(watching.poll(lambda: START, LOG), {"/push": page(operation("done", -1)), **empty})
    later = {"/push": LATER, "/push/done": DONE}
    with pytest.raises(CodatConnectionError):
        answers(watching.poll(lambda: START + 1_000, LOG), {**later, "/data/history": CodatConnectionError("reset")})
    assert len(answers(watching.poll(lambda: START + 1_060, LOG), {**later, **empty})) == 2


def test_a_404_in_a_poll_that_fails_does_not_count():
    """Something between Airflow and Codat may give such an answer to some requests, and none to others."""
    ends = ends_of("done", "slow")
    not_found = CodatNotFoundError(404, "not found")
    with pytest.raises(CodatConnectionError):
        poll(ends, 1_000, {"done": not_found, "slow": CodatConnectionError("reset")})
    slow = operation("slow", -1)
    assert poll(ends, 1_060, {"done": not_found, "slow": slow}) == ["new-2"]
    assert poll(ends, 2_000, {"done": DONE, "slow": slow}) == ["done"]
