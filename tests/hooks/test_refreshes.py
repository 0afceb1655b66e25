"""Refreshes, pull operations, data status and connections, blocking and asynchronous, against the simulator."""

from datetime import UTC, datetime

import pytest

from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatConnectionError,
    CodatDataTypeNotSupported,
    CodatNotFoundError,
    CodatRefreshInProgress,
    CodatServerError,
    CodatWaitTimeout,
)
from airflow_provider_codat.simulator import CodatSimulator, Fault, RefreshOutcome

QUEUE = "/companies/[^/]+/data/queue/.*"
RUNS = RefreshOutcome(latency=1e9)
STATUSES = {
    **dict.fromkeys(["Complete"], "ok"),
    **dict.fromkeys(["Cancelled", "PrerequisiteNotMet", "FetchError", "MapError", "ProcessingError"], "later"),
    **dict.fromkeys(["InternalError", "ValidationError", "RateLimitError"], "later"),
    **dict.fromkeys(["AuthError", "PermissionsError", "NotSupported"], "never"),
}


@pytest.fixture
def company(codat_simulator):
    return codat_simulator.add_company(name="Corner Shop")


# -- refreshes ---------------------------------------------------------------------------------------------------------


def test_a_refresh_is_queued_once_without_a_key(codat_simulator, hook, do, company):
    queued = do(hook.queue_refresh, company.id, "invoices", company.connection_id)
    (request,) = codat_simulator.requests
    assert (request.method, request.path) == ("POST", f"/companies/{company.id}/data/queue/invoices")
    assert request.query == {"connectionId": company.connection_id}
    assert "idempotency-key" not in request.headers
    assert (queued.status, queued.data_type, queued.connection_id) == ("Queued", "invoices", company.connection_id)
    (operation,) = codat_simulator.refreshes.of_company(company.id)
    assert operation["id"] == queued.key


def test_all_data_types_are_queued_at_once(codat_simulator, hook, do, company):
    before = do(hook.get_data_status, company.id)
    assert do(hook.queue_refresh_all, company.id) is None
    after = do(hook.get_data_status, company.id)
    changed = {name for name in after if after[name].latest_sync_id != before[name].latest_sync_id}
    assert {"invoices", "bills", "chartOfAccounts"} <= changed
    assert len(codat_simulator.refreshes.of_company(company.id)) == len(changed)


@pytest.mark.parametrize("status", [400, 409])
def test_a_refresh_that_is_running_is_named(monkeypatch, hook, do, status):
    with CodatSimulator(refresh_conflict_status=status) as codat:
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat.connection())
        company, fresh = codat.add_company(), type(hook)()
        running = codat.refreshes.add(company.id, "invoices", outcome=RUNS)
        with pytest.raises(CodatRefreshInProgress, match="wait for it instead") as raised:
            do(fresh.queue_refresh, company.id, "invoices")
        assert (raised.value.status_code, raised.value.pull_operation_id) == (status, running)
        assert len(codat.requests) == 1
        assert do(fresh.get_pull_operation, company.id, raised.value.pull_operation_id).status == "Queued"


def test_another_data_type_can_be_refreshed_meanwhile(codat_simulator, hook, do, company):
    codat_simulator.refreshes.add(company.id, "invoices", outcome=RUNS)
    assert do(hook.queue_refresh, company.id, "bills").data_type == "bills"


def test_a_refresh_whose_answer_is_lost_is_queued_once(codat_simulator, hook, do, company):
    codat_simulator.refreshes.outcome(RUNS)
    codat_simulator.fault(Fault("reset_after"))
    with pytest.raises(CodatRefreshInProgress) as raised:
        do(hook.queue_refresh, company.id, "invoices")
    (operation,) = codat_simulator.refreshes.of_company(company.id)
    assert operation["id"] == raised.value.pull_operation_id
    assert codat_simulator.count("POST", QUEUE) == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "reset"}, CodatConnectionError),
        ({"kind": "status", "status": 500}, CodatServerError),
        ({"kind": "gateway", "status": 503}, CodatServerError),
    ],
)
def test_a_refresh_is_sent_again_as_the_connection_says(codat_simulator, connect, do, company, fault, error):
    attempts = {"max_retry_wait": 0, "max_attempts": 3, "retry_for": 0}
    codat_simulator.fault(Fault(**fault, times=2))
    assert do(connect(**attempts).queue_refresh, company.id, "invoices").status == "Queued"
    assert len(codat_simulator.requests) == 3
    codat_simulator.fault(Fault(**fault, times=None))
    with pytest.raises(error):
        do(connect(**attempts).queue_refresh, company.id, "bills")
    assert len(codat_simulator.requests) == 6


def test_a_refusal_names_the_address_at_which_the_customer_links_again(codat_simulator, hook, do, company):
    codat_simulator.set_connection_status(company.id, "Deauthorized")
    codat_simulator.fault(Fault("status", status=400, method="POST"))
    with pytest.raises(CodatApiError) as raised:
        do(hook.queue_refresh, company.id, "invoices")
    connection = do(hook.get_data_connection, company.id, company.connection_id)
    assert connection.link_url.startswith("https://")
    assert raised.value.hint == connection.to_do
    assert str(raised.value).count(connection.link_url) == 1


def test_a_refusal_of_linked_connections_is_left_as_it_is(codat_simulator, hook, do, company):
    codat_simulator.fault(Fault("status", status=400, method="POST"))
    with pytest.raises(CodatApiError) as raised:
        do(hook.queue_refresh, company.id, "invoices")
    assert raised.value.hint is None


def test_an_expired_authorization_ends_the_refresh_and_says_where_to_link_again(codat_simulator, hook, do, company):
    codat_simulator.set_connection_status(company.id, "Deauthorized")
    key = do(hook.queue_refresh, company.id, "invoices").key
    operation = do(hook.wait_for_pull_operation, company.id, key)
    assert (operation.status, operation.may_succeed_later) == ("AuthError", False)
    connection = do(hook.get_data_connection, company.id, operation.connection_id)
    assert connection.link_url in operation.describe_failure(connection)


def test_unknown_companies_connections_and_data_types_are_told_apart(codat_simulator, hook, do, company):
    with pytest.raises(CodatNotFoundError, match="no such company"):
        do(hook.queue_refresh, "nobody", "invoices")
    with pytest.raises(CodatNotFoundError, match="no such company"):
        do(hook.get_data_status, "nobody")
    with pytest.raises(CodatNotFoundError, match="no such connection"):
        do(hook.queue_refresh, company.id, "invoices", "elsewhere")
    with pytest.raises(CodatDataTypeNotSupported, match="leave it out"):
        do(hook.queue_refresh, company.id, "newType")
    assert codat_simulator.refreshes.of_company(company.id) == []


# -- pull operations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "meaning"), STATUSES.items())
def test_a_refresh_is_waited_for_to_any_end(codat_simulator, hook, do, slept, company, status, meaning):
    outcome = RefreshOutcome(status, polls=2, error_message="Words")
    key = codat_simulator.refreshes.add(company.id, "invoices", outcome=outcome)
    operation = do(hook.wait_for_pull_operation, company.id, key)
    assert (operation.key, operation.status, operation.error_message) == (key, status, "Words")
    assert (operation.is_success, operation.may_succeed_later) == (meaning == "ok", meaning == "later")
    assert slept == [2, 2]
    assert len(codat_simulator.requests) == 3


@pytest.mark.parametrize(("flags", "is_success"), [({"is_completed": True}, True), ({"is_errored": True}, False)])
def test_a_status_that_is_new_ends_by_its_flag(codat_simulator, hook, do, company, flags, is_success):
    key = codat_simulator.refreshes.add(company.id, "invoices", outcome=RefreshOutcome("Reconciling", **flags))
    operation = do(hook.wait_for_pull_operation, company.id, key)
    assert (operation.status, operation.is_success) == ("Reconciling", is_success)


def test_a_status_that_is_new_is_waited_out(codat_simulator, hook, do, slept, company):
    outcome = RefreshOutcome(polls=3, course=("Queued", "Reconciling"))
    key = codat_simulator.refreshes.add(company.id, "invoices", outcome=outcome)
    assert do(hook.wait_for_pull_operation, company.id, key).is_success


def test_a_wait_that_is_over_names_the_operation(codat_simulator, hook, do, slept, company):
    key = codat_simulator.refreshes.add(company.id, "invoices", outcome=RUNS)
    with pytest.raises(CodatWaitTimeout, match=f"Pull operation {key} .* The refresh itself goes on at Codat"):
        do(hook.wait_for_pull_operation, company.id, key, timeout=3)


def test_a_pause_is_read_as_a_time(codat_simulator, hook, do, company):
    outcome = RefreshOutcome(latency=7200, course=("Fetching",), paused_for=3600)
    key = codat_simulator.refreshes.add(company.id, "invoices", outcome=outcome)
    operation = do(hook.get_pull_operation, company.id, key)
    assert operation.status_description.startswith("Paused until ")
    assert 3500 < (operation.paused_until - datetime.now(UTC)).total_seconds() <= 3601


def test_pull_operations_are_listed_over_all_pages(codat_simulator, hook, do, company):
    keys = [codat_simulator.refreshes.add(company.id, name) for name in ("bills", "invoices", "items")]
    assert [
        each.key for each in do(hook.iterate_pull_operations, company.id, page_size=2, order_by="requested")
    ] == keys
    assert codat_simulator.count("GET", f"/companies/{company.id}/data/history") == 2
    page = do(hook.list_pull_operations, company.id, query="dataType=invoices")
    assert [each.key for each in page.results] == [keys[1]]


def test_the_findings_of_a_refresh_are_read(codat_simulator, hook, do, company):
    finding = {"itemId": "i-1", "message": "Sums differ.", "validatorName": "InvoiceValidator", "ruleId": "rule-30"}
    outcome = RefreshOutcome("ValidationError", errors=[finding])
    key = codat_simulator.refreshes.add(company.id, "invoices", outcome=outcome)
    assert do(hook.get_pull_validation, company.id, key).to_json() == {"errors": [finding], "warnings": []}


# -- data status -------------------------------------------------------------------------------------------------------


def test_the_data_status_shows_each_case(codat_simulator, hook, do, company):
    good = codat_simulator.refreshes.add(company.id, "invoices")
    bad = codat_simulator.refreshes.add(company.id, "invoices", outcome=RefreshOutcome("FetchError"))
    first = codat_simulator.refreshes.add(company.id, "bills", outcome=RefreshOutcome("AuthError"))
    status = do(hook.get_data_status, company.id)
    invoices, bills, items = status["invoices"], status["bills"], status["items"]
    assert (invoices.current_status, invoices.latest_sync_id, invoices.latest_successful_sync_id) == (
        *("FetchError", bad),
        good,
    )
    assert abs((datetime.now(UTC) - invoices.last_successful_sync).total_seconds()) < 60
    assert (bills.current_status, bills.latest_sync_id, bills.last_successful_sync) == ("AuthError", first, None)
    assert (items.current_status, items.latest_sync_id, items.is_terminal) == (None, None, False)


# -- companies and connections -----------------------------------------------------------------------------------------


def test_a_company_is_created_and_linked(codat_simulator, hook, do):
    company = do(hook.create_company, "Bank of Dave", description="7", tags={"region": "uk"})
    assert (company.name, company.connection_ids) == ("Bank of Dave", ())
    assert company.redirect.startswith("https://")
    (request,) = codat_simulator.requests
    assert request.headers["idempotency-key"]
    assert do(hook.get_company, company.id) == company


def test_a_company_whose_answer_is_lost_is_created_once(codat_simulator, hook, do):
    codat_simulator.fault(Fault("reset_after"))
    created = do(hook.create_company, "Bank of Dave")
    assert [each.id for each in codat_simulator.companies] == [created.id]
    assert len({each.headers["idempotency-key"] for each in codat_simulator.requests}) == 1


def test_connections_are_read_and_unlinked(codat_simulator, hook, do, company):
    other = codat_simulator.add_connection(company.id, "PendingAuth")
    listed = do(hook.iterate_data_connections, company.id, page_size=1)
    assert [(each.id, each.status) for each in listed] == [
        (company.connection_id, "Linked"),
        (other.id, "PendingAuth"),
    ]
    assert do(hook.list_data_connections, company.id).total == 2
    assert do(hook.get_data_connection, company.id, other.id) == listed[1]
    assert do(hook.unlink_data_connection, company.id, company.connection_id).status == "Unlinked"
    with pytest.raises(CodatApiError) as raised:
        do(hook.unlink_data_connection, company.id, other.id)
    assert raised.value.status_code == 400
    with pytest.raises(CodatNotFoundError, match="no such connection"):
        do(hook.get_data_connection, company.id, "elsewhere")


def test_the_hook_still_reads_connections_of_airflow(hook, codat_simulator):
    assert hook.get_connection("codat_default").host == codat_simulator.url
