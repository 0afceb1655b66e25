"""Refreshes that Codat refuses: those in progress, and those of one data type of several."""

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from refresh_runs import HISTORY, MODES, ids, queued, refresh, run

from airflow_provider_codat.exceptions import (
    CodatAuthenticationError,
    CodatConnectionError,
    CodatPlanLimitError,
    CodatRateLimited,
    CodatRefreshFailed,
    CodatRefreshInProgress,
    CodatRefreshNotPossible,
    CodatWaitTimeout,
)
from airflow_provider_codat.simulator import Fault, RefreshOutcome

QUEUE = r".*/data/queue/"
STATUSES = pytest.mark.parametrize("status", [400, 409])


def refuse(codat, status, text, *, data_type=".*", times=1):
    """Let Codat refuse the next requests to queue a refresh."""
    body = {"statusCode": status, "error": text}
    codat.fault(Fault("status", times=times, method="POST", path=QUEUE + data_type, status=status, body=body))


# -- in progress -------------------------------------------------------------------------------------------------------


@MODES
@pytest.mark.parametrize("status", [400, 409])
def test_a_refresh_that_is_running_is_adopted(status, mode, simulate, clock):
    codat = simulate(refresh_conflict_status=status)
    company = codat.add_company()
    key = codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=60))
    xcom = run(refresh(company, **mode), clock)
    assert (xcom["invoices"]["pullOperationId"], xcom["invoices"]["status"]) == (key, "Complete")
    assert len(ids(codat, company)) == 1
    assert 60 <= clock.passed <= 67


def test_an_answer_that_is_lost_leaves_one_refresh(codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    codat.fault(Fault("reset_after", method="POST"))
    assert run(refresh(company), clock)["invoices"]["pullOperationId"] == ids(codat, company)[0]
    assert len(ids(codat, company)) == 1


# -- in progress, but it is not said by which operation ----------------------------------------------------------------

UNNAMED = "DatasetAlreadyInProgressException: the previous sync of invoices is still in progress"


@MODES
@STATUSES
def test_a_refresh_that_is_running_unnamed_is_found_in_the_history(status, mode, codat, company, clock):
    codat.refreshes.add(company.id, "invoices", requested_on=clock.time() - 3600)
    clock.let_pass(10)
    key = codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=60))
    codat.refreshes.add(company.id, "bills", outcome=RefreshOutcome(latency=900))
    refuse(codat, status, UNNAMED, times=None)
    xcom = run(refresh(company, **mode), clock)
    assert (xcom["invoices"]["pullOperationId"], xcom["invoices"]["status"]) == (key, "Complete")
    assert len(queued(codat)) == 1
    assert 70 <= clock.passed <= 77


def test_one_of_the_same_connection_is_found(codat, company, clock):
    second = codat.add_connection(company.id)
    keys = {
        each: codat.refreshes.add(company.id, "invoices", each, outcome=RefreshOutcome(latency=60))
        for each in (company.connection_id, second.id)
    }
    refuse(codat, 409, UNNAMED, times=None)
    xcom = run(refresh(company), clock)
    assert {each["connectionId"]: each["pullOperationId"] for each in xcom["invoices"]} == keys


def test_one_that_the_list_does_not_show_yet_is_found_by_the_data_status(simulate, clock):
    codat = simulate(list_lag=10_000.0)
    company = codat.add_company()
    key = codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=60))
    refuse(codat, 409, UNNAMED, times=None)
    assert run(refresh(company), clock)["invoices"]["pullOperationId"] == key
    assert len(queued(codat)) == 1


def test_one_of_another_connection_in_the_data_status_is_not_taken(simulate, clock):
    codat = simulate(list_lag=10_000.0)
    company = codat.add_company()
    other = codat.add_connection(company.id)
    codat.refreshes.add(company.id, "invoices", other.id, outcome=RefreshOutcome(latency=900))
    refuse(codat, 409, UNNAMED)
    xcom = run(refresh(company, connection_id=company.connection_id), clock)
    assert (xcom["invoices"]["connectionId"], len(queued(codat))) == (company.connection_id, 2)


def test_one_that_has_ended_since_the_refusal_is_taken(codat, company, clock):
    key = codat.refreshes.add(company.id, "invoices")  # its success is what the task wants
    refuse(codat, 409, UNNAMED, times=None)
    assert run(refresh(company), clock)["invoices"]["pullOperationId"] == key


@STATUSES
def test_a_refusal_that_is_old_does_not_pass_for_a_refresh(status, codat, company, clock):
    """As a proxy replays it, or Codat under an idempotency key: the operation that it names ended long ago."""
    old = codat.refreshes.add(company.id, "invoices", requested_on=clock.time() - 3600)
    clock.let_pass(600)
    text = f"DatasetAlreadyInProgressException: Cannot queue invoices sync as previous sync {old} is still in progress"
    refuse(codat, status, text, times=2)
    xcom = run(refresh(company), clock)
    assert xcom["invoices"]["pullOperationId"] == ids(codat, company)[-1] != old
    assert len(ids(codat, company)) == 2


def test_an_old_refusal_leads_to_the_refresh_that_is_running(codat, company, clock):
    old = codat.refreshes.add(company.id, "invoices", requested_on=clock.time() - 3600)
    clock.let_pass(600)
    running = codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=60))
    refuse(codat, 409, f"DatasetAlreadyInProgressException: as previous sync {old} is still in progress", times=None)
    assert run(refresh(company), clock)["invoices"]["pullOperationId"] == running
    assert len(queued(codat)) == 1


def test_a_replayed_refusal_is_outlasted_and_one_refresh_is_queued(codat, company, clock, logged):
    """Codat replays an answer under an idempotency key for 90 minutes."""
    refuse(codat, 409, UNNAMED, times=None)
    clock.after(90 * 60, codat.clear_faults)
    xcom = run(refresh(company), clock)
    assert xcom["invoices"]["status"] == "Complete"
    assert len(ids(codat, company)) == 1
    assert 5400 <= clock.passed < 6000
    assert len(queued(codat)) <= 65
    assert 1 <= logged().count("It is queued later") <= 2  # structlog, and a copy


def test_a_refresh_that_appears_while_it_is_queued_again_is_taken(codat, company, clock):
    refuse(codat, 409, UNNAMED, times=None)
    found = []
    outcome = RefreshOutcome(latency=900)
    clock.after(100, lambda: found.append(codat.refreshes.add(company.id, "invoices", outcome=outcome)))
    xcom = run(refresh(company), clock)
    assert [xcom["invoices"]["pullOperationId"]] == found == ids(codat, company)


@pytest.mark.parametrize("path", [HISTORY, r".*/dataStatus"])
def test_a_list_that_cannot_be_read_does_not_end_the_task(path, codat, company, clock):
    codat.fault(Fault("status", status=403, path=path, times=None))
    refuse(codat, 409, UNNAMED)
    assert run(refresh(company), clock)["invoices"]["status"] == "Complete"


@MODES
def test_it_is_queued_again_until_the_timeout(mode, codat, company, clock):
    refuse(codat, 409, UNNAMED, times=None)
    with pytest.raises(CodatWaitTimeout, match="does not show by which pull operation") as raised:
        run(refresh(company, timeout=1000, max_wait=60, **mode), clock)
    assert isinstance(raised.value.__cause__, CodatRefreshInProgress)
    assert 1000 <= clock.passed < 1002
    assert max(clock.pauses(QUEUE + ".*")) == pytest.approx(60, abs=1)


@MODES
def test_the_others_are_queued_before_it_is_queued_again_and_the_timeout_counts_once(mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=1e6))
    refuse(codat, 409, UNNAMED, data_type="invoices", times=None)
    clock.after(300, codat.clear_faults)
    with pytest.raises(CodatWaitTimeout) as raised:
        run(refresh(company, ["invoices", "bills"], timeout=1000, **mode), clock)
    assert [sent.path.rpartition("/")[2] for sent in queued(codat)][:3] == ["invoices", "bills", "invoices"]
    assert 1000 <= clock.passed < 1002
    assert raised.value.last_status == "invoices Queued, bills Queued"


@MODES
def test_after_the_timeout_the_others_still_have_their_ends(mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    refuse(codat, 409, UNNAMED, data_type="invoices", times=None)
    operator = refresh(company, ["invoices", "bills"], timeout=1000, **mode, fail_on_error=False)
    xcom = run(operator, clock)
    assert (xcom["invoices"]["status"], xcom["bills"]["status"]) == ("Refused", "Complete")
    assert "does not show by which pull operation" in xcom["invoices"]["errorMessage"]


# -- one data type of several ------------------------------------------------------------------------------------------


@MODES
@pytest.mark.parametrize("status", [400, 402, 403, 404, 409, 500])
def test_the_others_are_queued_and_waited_for_before_the_task_fails(status, mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    refuse(codat, status, "Not this one", data_type="invoices", times=None)
    with pytest.raises(CodatRefreshFailed) as raised:
        run(refresh(company, ["invoices", "bills", "items"], **mode), clock)
    lines = str(raised.value).splitlines()
    assert lines[1].startswith("The refresh of invoices was not queued: Codat answered ")
    assert lines[1].endswith(": Not this one")
    assert lines[-1] == "The others: bills Complete, items Complete"
    assert not isinstance(raised.value, CodatRefreshNotPossible)
    assert [each.status for each in raised.value.refresh.operations] == ["Refused", "Complete", "Complete"]
    assert clock.passed >= 60


@MODES
def test_each_refusal_and_each_error_is_named(mode, codat, company, clock):
    refuse(codat, 403, "No rights", data_type="invoices")
    refuse(codat, 402, "Not in the plan", data_type="items")
    codat.refreshes.outcome(RefreshOutcome("FetchError", latency=20), data_type="bills")
    with pytest.raises(CodatRefreshFailed) as raised:
        run(refresh(company, ["invoices", "bills", "items", "payments"], **mode), clock)
    said = str(raised.value)
    assert all(each in said for each in ("No rights", "Not in the plan", "bills ended as FetchError"))
    assert "The others: payments Complete" in said


@MODES
def test_a_refusal_is_an_outcome_if_errors_do_not_fail_the_task(mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    refuse(codat, 402, "Not in the plan", data_type="invoices")
    xcom = run(refresh(company, ["invoices", "bills"], **mode, fail_on_error=False), clock)
    assert (xcom["invoices"]["status"], xcom["invoices"]["pullOperationId"]) == ("Refused", None)
    assert "Not in the plan" in xcom["invoices"]["errorMessage"]
    assert xcom["bills"]["status"] == "Complete"


def test_the_refusal_of_the_only_data_type_is_raised_as_it_is(codat, company, clock):
    refuse(codat, 402, "Not in the plan", times=2)
    with pytest.raises(CodatPlanLimitError, match="Not in the plan"):
        run(refresh(company), clock)
    assert run(refresh(company, fail_on_error=False), clock)["invoices"]["status"] == "Refused"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "status", "status": 401}, CodatAuthenticationError),
        ({"kind": "status", "status": 429}, CodatRateLimited),
        ({"kind": "reset"}, CodatConnectionError),
    ],
    ids=str,
)
@pytest.mark.parametrize("fail_on_error", [True, False])
def test_what_the_next_data_type_would_meet_too_ends_the_try(fail_on_error, fault, error, codat, company, clock):
    codat.fault(Fault(**fault, times=None, method="POST", path=QUEUE + "invoices"))
    with pytest.raises(error):
        run(refresh(company, ["invoices", "bills"], fail_on_error=fail_on_error), clock)
    assert ids(codat, company, "bills") == []


def test_without_waiting_a_refusal_fails_the_task_after_the_others_are_queued(codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    refuse(codat, 402, "Not in the plan", data_type="invoices")
    with pytest.raises(CodatRefreshFailed, match="The others: bills Queued"):
        run(refresh(company, ["invoices", "bills"], wait_for_completion=False), clock)
    assert clock.passed == 0


@pytest.mark.parametrize("data_types", ["bills", ["bills", "invoices"]])
@pytest.mark.parametrize("on_not_supported", ["skip", "fail"])
def test_without_waiting_a_data_type_that_the_platform_lacks_counts_too(
    on_not_supported, data_types, codat, company, clock
):
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    refuse(codat, 404, "Datatype bills is not supported by platform Xero.", data_type="bills")
    operator = refresh(company, data_types, wait_for_completion=False, on_not_supported=on_not_supported)
    if on_not_supported == "fail":
        with pytest.raises(CodatRefreshNotPossible, match="does not have bills: leave it out of data_types"):
            run(operator, clock)
    elif data_types == "bills":
        with pytest.raises(AirflowSkipException):
            run(operator, clock)
    else:
        assert run(operator, clock)["invoices"]["status"] == "Queued"
    assert clock.passed == 0


def test_what_the_platform_lacks_and_what_has_failed_are_both_named(codat, company, clock):
    refuse(codat, 404, "Datatype bills is not supported by platform Xero.", data_type="bills")
    codat.refreshes.outcome(RefreshOutcome("FetchError", latency=20), data_type="items")
    with pytest.raises(
        CodatRefreshNotPossible, match=r"does not have bills: leave it out(.|\n)*items ended as FetchError"
    ):
        run(refresh(company, ["bills", "items"], on_not_supported="fail"), clock)
