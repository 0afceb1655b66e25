"""Refreshes, played without a server: what is sent, and what an error says when Codat refuses."""

import pytest

from airflow_provider_codat.api.endpoints.refreshes import queue_refresh, queue_refresh_all
from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatConnectionError,
    CodatForbiddenError,
    CodatInputError,
    CodatNotFoundError,
    CodatRefreshInProgress,
    CodatResponseError,
    CodatServerError,
)
from airflow_provider_codat.api.http.retry import may_be_resent

LINK = "https://link-api.codat.io/companies/c/connections/d/start"


def connection(status, connection_id="d", **fields):
    return {"id": connection_id, "status": status, "platformName": "Xero", "linkUrl": LINK, **fields}


def play(steps, *answers):
    """Answer each request of the steps with a body or an error; return the requests and the result."""
    sent, answers = [], list(answers)
    try:
        request = next(steps)
        while True:
            sent.append(request)
            answer = answers.pop(0)
            request = steps.throw(answer) if isinstance(answer, Exception) else steps.send(request.read(answer))
    except StopIteration as done:
        return sent, done.value
    except CodatApiError as error:
        return sent, error


def test_a_refresh_says_of_what_and_through_which_connection():
    (request,), operation = play(queue_refresh("c", "chartOfAccounts", "d"), {"id": "pull-1", "status": "Queued"})
    assert str(request) == "POST /companies/c/data/queue/chartOfAccounts"
    assert request.params == {"connectionId": "d"}
    assert (request.content, request.headers) == (None, {"Accept": "application/json"})
    assert (operation.key, operation.status, operation.company_id) == ("pull-1", "Queued", "c")
    assert (operation.data_type, operation.connection_id) == ("chartOfAccounts", "d")


def test_a_refresh_of_all_connections_names_none():
    (request,), operation = play(queue_refresh("c", "invoices"), {"id": 7, "connectionId": "e", "dataType": None})
    assert request.params == {}
    assert (operation.key, operation.status, operation.connection_id) == ("7", "Queued", "e")


def test_a_refresh_of_all_data_types_returns_nothing():
    (request,), result = play(queue_refresh_all("c"), None)
    assert (str(request), request.params, result) == ("POST /companies/c/data/all", {}, None)


def test_an_answer_without_an_id_is_no_refresh():
    with pytest.raises(CodatResponseError, match="the answer has no id"):
        play(queue_refresh("c", "invoices"), {"status": "Queued"})


@pytest.mark.parametrize("arguments", [("..", "invoices"), ("c", "a/b"), ("c", "invoices", ""), ("c", "{{ x }}")])
def test_malformed_ids_are_refused_before_anything_is_sent(arguments):
    with pytest.raises(CodatInputError):
        queue_refresh(*arguments)


@pytest.mark.parametrize(
    "error", [CodatConnectionError("lost"), CodatServerError(500, "x"), CodatServerError(503, "x"), CodatResponseError]
)
def test_a_refresh_is_sent_again_as_a_read_is(error):
    request = next(queue_refresh("c", "invoices"))
    assert may_be_resent(error("x") if isinstance(error, type) else error, request)
    assert (request.writes, request.idempotency_key) == (False, None)


@pytest.mark.parametrize("error", [CodatRefreshInProgress(409, "x"), CodatRefreshInProgress(400, "x")])
def test_a_refresh_that_is_running_is_not_asked_for_again(error):
    assert not may_be_resent(error, next(queue_refresh("c", "invoices")))


@pytest.mark.parametrize("steps", [queue_refresh("c", "invoices"), queue_refresh_all("c")])
def test_a_refusal_names_the_connection_to_link_again_and_its_address(steps):
    listed = {"results": [connection("Linked"), connection("Deauthorized", "e"), connection("PendingAuth", "f")]}
    requests, error = play(steps, CodatApiError(400, "Refused"), listed)
    assert [str(each) for each in requests][1:] == ["GET /companies/c/connections"]
    assert error.hint.splitlines() == [
        f"Connection e to Xero is Deauthorized: its authorization was revoked or has expired. The customer has to"
        f" authorize it at {LINK}",
        f"Connection f to Xero is PendingAuth: it was never authorized. The customer has to authorize it at {LINK}",
    ]
    assert LINK in str(error)


def test_a_refusal_of_one_connection_names_no_other():
    listed = {"results": [connection("Unlinked"), connection("Deauthorized", "e")]}
    _, error = play(queue_refresh("c", "invoices", "D"), CodatForbiddenError(403, "Refused"), listed)
    assert error.hint.startswith("Connection d to Xero is Unlinked: it was unlinked.")
    assert "Connection e" not in error.hint


def test_a_refusal_with_all_connections_linked_has_no_hint():
    _, error = play(queue_refresh("c", "invoices"), CodatApiError(400, "Refused"), {"results": [connection("Linked")]})
    assert (error.error, error.hint) == ("Refused", None)


@pytest.mark.parametrize("second", [CodatServerError(500, "down"), CodatNotFoundError(404, "gone")])
def test_a_refusal_stays_what_it_is_if_the_connections_cannot_be_read(second):
    requests, error = play(queue_refresh("c", "invoices"), CodatApiError(400, "Refused"), second)
    assert (len(requests), error.error, error.hint) == (2, "Refused", None)


def in_progress(status):
    error = CodatRefreshInProgress(status, "DatasetAlreadyInProgressException: previous sync pull-1 is")
    error.hint = "wait"
    return error


@pytest.mark.parametrize(
    "error", [in_progress(400), in_progress(409), CodatNotFoundError(404, "x"), CodatServerError(500, "x")], ids=repr
)
def test_the_connections_are_read_only_if_they_can_be_the_reason(error):
    requests, raised = play(queue_refresh("c", "invoices"), error)
    assert len(requests) == 1
    assert raised is error
