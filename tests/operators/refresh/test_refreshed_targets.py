"""Which data types are refreshed on which connections of a company."""

import pytest
from airflow.providers.common.compat.sdk import DAG
from refresh_runs import HISTORY, MODES, ids, queued, refresh, run

from airflow_provider_codat.exceptions import CodatError, CodatRefreshNotPossible
from airflow_provider_codat.operators.codat import CodatRefreshOperator
from airflow_provider_codat.simulator import Fault, RefreshOutcome

# -- several connections -----------------------------------------------------------------------------------------------


@MODES
def test_each_linked_connection_is_refreshed(mode, codat, company, clock, logged):
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    second = codat.add_connection(company.id)
    third = codat.add_connection(company.id, "Deauthorized")
    running = codat.refreshes.add(company.id, "bills", second.id)
    xcom = run(refresh(company, ["invoices", "bills"], **mode), clock)
    assert {each["connectionId"] for each in xcom["invoices"]} == {company.connection_id, second.id}
    assert running in [each["pullOperationId"] for each in xcom["bills"]]
    assert len(ids(codat, company)) == 4
    assert len(queued(codat)) == 4
    assert f"Connection {third.id}" in logged()


@MODES
@pytest.mark.parametrize("status", ["Unlinked", "Deauthorized"])
def test_the_linked_connection_is_named_beside_an_old_one(status, mode, codat, company, clock, logged):
    old = codat.add_connection(company.id, status)
    xcom = run(refresh(company, **mode), clock)
    assert (xcom["invoices"]["connectionId"], xcom["invoices"]["status"]) == (company.connection_id, "Complete")
    assert [sent.query for sent in queued(codat)] == [{"connectionId": company.connection_id}]
    assert f"Connection {old.id}" in logged()


def test_the_first_of_two_connections_may_be_the_old_one(codat, company, clock):
    codat.set_connection_status(company.id, "Deauthorized")
    linked = codat.add_connection(company.id)
    assert run(refresh(company), clock)["invoices"]["connectionId"] == linked.id
    assert len(ids(codat, company)) == 1


def test_one_of_an_unknown_source_type_is_left_out_beside_one_that_has_the_data_type(codat, company, clock, logged):
    odd = codat.add_connection(company.id)
    connections = [
        {"id": company.connection_id, "status": "Linked", "sourceType": "Accounting"},
        {"id": odd.id, "status": "Linked", "sourceType": "Unknown"},
    ]
    codat.fault(Fault("status", status=200, path=r".*/connections", body={"results": connections}))
    assert run(refresh(company), clock)["invoices"]["connectionId"] == company.connection_id
    assert len(queued(codat)) == 1
    assert f"Connection {odd.id} has the source type Unknown" in logged()


@MODES
def test_the_wait_ends_with_the_last_connection_whatever_the_data_status_shows(mode, simulate, clock):
    """The data status lags behind, and shows an older success on the other connection."""
    codat = simulate(data_status_lag=900.0)
    company = codat.add_company()
    second = codat.add_connection(company.id)
    for each in (company.connection_id, second.id):
        codat.refreshes.add(company.id, "invoices", each, requested_on=clock.time() - 7200)
    clock.let_pass(3600)
    codat.refreshes.outcome(RefreshOutcome(latency=60), connection_id=company.connection_id)
    codat.refreshes.outcome(RefreshOutcome("FetchError", latency=600), connection_id=second.id)
    xcom = run(refresh(company, **mode, fail_on_error=False), clock)
    assert {each["connectionId"]: each["status"] for each in xcom["invoices"]} == {
        company.connection_id: "Complete",
        second.id: "FetchError",
    }
    assert 4200 <= clock.passed <= 4270
    assert len(queued(codat)) == 2


@MODES
def test_a_success_from_before_does_not_end_the_wait(mode, simulate, clock):
    """``latestSuccessfulSync`` of the data status is older than the refresh of the task."""
    codat = simulate(data_status_lag=900.0)
    company = codat.add_company()
    old = codat.refreshes.add(company.id, "invoices", requested_on=clock.time() - 7200)
    clock.let_pass(3600)
    codat.refreshes.outcome(RefreshOutcome(latency=600))
    xcom = run(refresh(company, **mode), clock)
    assert xcom["invoices"]["pullOperationId"] == ids(codat, company)[-1] != old
    assert 4200 <= clock.passed <= 4270


def test_one_connection_alone(codat, company, clock):
    second = codat.add_connection(company.id)
    xcom = run(refresh(company, connection_id=second.id), clock)
    assert xcom["invoices"]["connectionId"] == second.id
    assert len(ids(codat, company)) == 1


def test_a_connection_without_the_data_type_is_left_out_if_another_has_it(codat, company, clock):
    second = codat.add_connection(company.id)
    codat.refreshes.outcome(RefreshOutcome("NotSupported"), connection_id=second.id)
    xcom = run(refresh(company, on_not_supported="fail"), clock)
    assert (xcom["invoices"]["status"], xcom["invoices"]["connectionId"]) == ("Complete", company.connection_id)


def test_a_company_without_a_linked_connection_says_where_to_link_it(codat, clock):
    company = codat.add_company(connection_status="Deauthorized")
    with pytest.raises(CodatRefreshNotPossible, match="The customer has to authorize it at http"):
        run(refresh(company), clock)


def connect(codat, company, *connections):
    """Let Codat answer with these connections, each a status and a source type; the first is that of the company."""
    others = [codat.add_connection(company.id, status).id for status, _ in connections[1:]]
    codat.set_connection_status(company.id, connections[0][0])
    shown = [
        {"id": each, "status": status, "sourceType": source_type, "linkUrl": f"https://link/{each}"}
        for each, (status, source_type) in zip([company.connection_id, *others], connections, strict=True)
    ]
    codat.fault(Fault("status", status=200, path=r".*/connections", body={"results": shown}, times=None))
    return others


@MODES
@pytest.mark.parametrize("status", ["Deauthorized", "PendingAuth", "Unlinked"])
@pytest.mark.parametrize("is_refused", [False, True], ids=["as the end", "at once"])
def test_books_that_are_not_linked_beside_a_bank_say_where_to_link_them(
    is_refused, status, mode, codat, company, clock
):
    """The bank does not have the data type: the task would be skipped, and nobody would link the books again."""
    [bank] = connect(codat, company, (status, "Accounting"), ("Linked", "Banking"))
    codat.refreshes.outcome(RefreshOutcome("NotSupported"), connection_id=bank)
    if is_refused:
        codat.fault(Fault("status", status=400, method="POST", body={"error": "Not linked"}))
    with pytest.raises(CodatError, match=f"has to authorize it at https://link/{company.connection_id}"):
        run(refresh(company, **mode), clock)
    assert [sent.query for sent in queued(codat)] == [{"connectionId": company.connection_id}]


# -- all data types ----------------------------------------------------------------------------------------------------


def settings(codat, company, *data_types, **others):
    entries = [{"dataType": each, "fetchOnFirstLink": True, "syncSchedule": 24} for each in data_types]
    entries += [{"dataType": each, "fetchOnFirstLink": False, "syncSchedule": 24} for each in others.get("without", ())]
    codat.set_sync_settings(company.id, entries)


@MODES
def test_all_that_are_fetched_on_first_link(mode, codat, company, clock):
    settings(codat, company, "invoices", "bills", without=["items"])
    codat.refreshes.add(company.id, "invoices", requested_on=clock.time() - 3600)
    clock.let_pass(100)
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    xcom = run(refresh(company, None, **mode), clock)
    assert {data_type: each["status"] for data_type, each in xcom.items()} == {
        "invoices": "Complete",
        "bills": "Complete",
    }
    assert xcom["invoices"]["pullOperationId"] == ids(codat, company, "invoices")[-1]
    assert [sent.path for sent in queued(codat)] == [f"/companies/{company.id}/data/all"]
    assert clock.passed <= 100 + 70


def test_those_of_all_connections(codat, company, clock):
    settings(codat, company, "invoices")
    second = codat.add_connection(company.id)
    xcom = run(refresh(company, None), clock)
    assert {each["connectionId"] for each in xcom["invoices"]} == {company.connection_id, second.id}


def test_a_list_that_lags_behind_is_read_again(simulate, clock):
    codat = simulate(list_lag=10.0)
    company = codat.add_company()
    settings(codat, company, "invoices", "bills")
    assert run(refresh(company, None), clock).keys() == {"invoices", "bills"}
    assert len(queued(codat)) == 1


@pytest.mark.parametrize("order_by_support", ["honour", "ignore"])
@pytest.mark.parametrize("length", [499, 999, 1200])
def test_a_long_history_shows_what_was_queued(length, order_by_support, simulate, clock):
    """A page has 500 operations. With 499 or 999 before, one of the two new ones begins a page."""
    codat = simulate(order_by_support=order_by_support)
    company = codat.add_company()
    settings(codat, company, "invoices", "items")
    for number in range(length, 0, -1):
        codat.refreshes.add(company.id, "bills", requested_on=clock.time() - 60 * number)
    xcom = run(refresh(company, None), clock)
    assert {data_type: each["status"] for data_type, each in xcom.items()} == {
        "invoices": "Complete",
        "items": "Complete",
    }
    assert 3 <= clock.passed < 4


def test_a_list_that_cannot_be_ordered_is_read_as_it_is(codat, company, clock):
    settings(codat, company, "invoices")
    codat.fault(Fault("status", status=400, path=HISTORY))
    assert run(refresh(company, None), clock)["invoices"]["status"] == "Complete"


def test_it_is_mapped_over_companies_and_one_that_fails_does_so_alone(codat, clock):
    companies = [codat.add_company() for _ in range(3)]
    codat.set_connection_status(companies[1].id, "Deauthorized")
    with DAG("nightly", schedule=None):
        mapped = CodatRefreshOperator.partial(task_id="refresh", data_types=["invoices"]).expand(
            company_id=[each.id for each in companies]
        )
    ends = []
    for each in companies:
        try:
            ends.append(run(mapped.unmap({"company_id": each.id}), clock)["invoices"]["status"])
        except CodatRefreshNotPossible:
            ends.append("failed")
    assert ends == ["Complete", "failed", "Complete"]


def test_what_is_running_already_counts_and_what_codat_leaves_out_is_reported(codat, company, clock, logged):
    settings(codat, company, "invoices", "bills", "items")
    key = codat.refreshes.add(company.id, "bills", outcome=RefreshOutcome(latency=90))
    codat.fault(Fault("status", method="POST", status=204, body=""))  # nothing is queued
    codat.refreshes.add(company.id, "items", outcome=RefreshOutcome(latency=90))
    xcom = run(refresh(company, None), clock)
    assert xcom["bills"]["pullOperationId"] == key
    assert (xcom["invoices"]["status"], xcom["invoices"]["pullOperationId"]) == ("NotQueued", None)
    assert "queued nothing for invoices" in logged()


def test_what_codat_leaves_out_is_looked_for_during_a_minute_and_nothing_else_passes_for_it(codat, company, clock):
    """Nothing is queued. An old refresh does not count, nor one of a data type that is not fetched on first link."""
    settings(codat, company, "invoices", "bills", without=["items"])
    codat.refreshes.add(company.id, "invoices", requested_on=clock.time() - 3600)
    running = RefreshOutcome(latency=900)
    key = codat.refreshes.add(company.id, "bills", outcome=running)
    codat.refreshes.add(company.id, "items", outcome=running)
    codat.fault(Fault("status", method="POST", status=204, body=""))
    xcom = run(refresh(company, None, wait_for_completion=False), clock)
    assert {data_type: (each["status"], each["pullOperationId"]) for data_type, each in xcom.items()} == {
        "invoices": ("NotQueued", None),
        "bills": ("Queued", key),
    }
    assert 60 <= clock.passed < 61


def test_what_the_platform_lacks_does_not_take_a_minute(codat, company, clock):
    """Codat queues nothing for items, although they are fetched on first link."""
    settings(codat, company, "invoices", "bills")
    shown = [
        {"dataType": each, "fetchOnFirstLink": True, "syncSchedule": 24} for each in ("invoices", "bills", "items")
    ]
    body = {"companyId": company.id, "settings": shown}
    codat.fault(Fault("status", status=200, path=r".*/syncSettings", body=body))
    codat.refreshes.outcome(RefreshOutcome(latency=900))
    xcom = run(refresh(company, None, wait_for_completion=False), clock)
    statuses = {data_type: each["status"] for data_type, each in xcom.items()}
    assert statuses == {"invoices": "Queued", "bills": "Queued", "items": "NotQueued"}
    assert 3 <= clock.passed < 4


def test_what_codat_lists_one_after_another_is_found(codat, company, clock):
    """Two seconds lie between the first and the second, and four between the second and the third."""
    settings(codat, company, "invoices", "bills", "items")
    codat.fault(Fault("status", method="POST", status=204, body=""))
    outcome = RefreshOutcome(latency=900)
    for seconds, data_type in ((0.5, "invoices"), (2.5, "bills"), (6.5, "items")):
        clock.after(seconds, lambda data_type=data_type: codat.refreshes.add(company.id, data_type, outcome=outcome))
    xcom = run(refresh(company, None, wait_for_completion=False), clock)
    assert {data_type: each["status"] for data_type, each in xcom.items()} == {
        "invoices": "Queued",
        "bills": "Queued",
        "items": "Queued",
    }


def test_what_codat_lists_later_of_another_connection_is_found(codat, company, clock):
    settings(codat, company, "invoices")
    second = codat.add_connection(company.id)
    codat.fault(Fault("status", method="POST", status=204, body=""))
    for seconds, connection_id in ((0, company.connection_id), (0.5, second.id)):
        clock.after(
            seconds,
            lambda connection_id=connection_id: codat.refreshes.add(
                company.id, "invoices", connection_id=connection_id, outcome=RefreshOutcome(latency=900)
            ),
        )
    xcom = run(refresh(company, None, wait_for_completion=False), clock)
    assert {each["connectionId"] for each in xcom["invoices"]} == {company.connection_id, second.id}


def test_if_all_ran_already_two_readings_are_enough(codat, company, clock):
    settings(codat, company, "invoices", "bills")
    for data_type in ("invoices", "bills"):
        codat.refreshes.add(company.id, data_type, outcome=RefreshOutcome(latency=900))
    codat.fault(Fault("status", method="POST", status=204, body=""))
    xcom = run(refresh(company, None, wait_for_completion=False), clock)
    assert {each["status"] for each in xcom.values()} == {"Queued"}
    assert clock.passed < 2


def test_if_no_data_type_is_fetched_on_first_link_a_warning_says_what_to_do(codat, company, clock, logged):
    settings(codat, company, without=["invoices"])
    assert run(refresh(company, None), clock) == {}
    said = f"company {company.id} has no data type that is fetched on first link, so nothing is waited for. To refresh"
    assert said in logged()
    assert clock.passed < 2


def test_an_operation_that_codat_lists_late_is_found(codat, company, clock):
    settings(codat, company, "invoices", "bills")
    codat.fault(Fault("status", method="POST", status=204, body=""))
    codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=900))
    clock.after(12, lambda: codat.refreshes.add(company.id, "bills", outcome=RefreshOutcome(latency=900)))
    xcom = run(refresh(company, None, wait_for_completion=False), clock)
    assert {each["status"] for each in xcom.values()} == {"Queued"}
    assert xcom.keys() == {"invoices", "bills"}


def test_a_conflict_with_all_lets_each_be_queued_by_itself(codat, company, clock):
    settings(codat, company, "invoices", "bills")
    key = codat.refreshes.add(company.id, "bills", outcome=RefreshOutcome(latency=90))
    error = {"statusCode": 409, "error": "DatasetAlreadyInProgressException"}
    codat.fault(Fault("status", method="POST", status=409, body=error))
    xcom = run(refresh(company, None), clock)
    assert xcom["bills"]["pullOperationId"] == key
    assert len(ids(codat, company, "invoices")) == 1


def test_all_on_one_connection_are_queued_one_by_one(codat, company, clock):
    settings(codat, company, "invoices", "bills", without=["items"])
    codat.add_connection(company.id)
    xcom = run(refresh(company, None, connection_id=company.connection_id), clock)
    assert xcom.keys() == {"invoices", "bills"}
    assert len(ids(codat, company)) == 2
