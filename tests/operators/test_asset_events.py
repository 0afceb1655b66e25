"""``asset_events``: the outlets and events that a worker adds once the task has succeeded."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, Asset, TaskDeferred
from airflow_process import Script
from push_runs import REFUSED, TRANSACTIONS, context, defer, push, resume, run
from refresh_runs import context as refresh_context
from refresh_runs import refresh
from trigger_runner import run_trigger

from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
from airflow_provider_codat.api.refreshing.outcome import Refresh
from airflow_provider_codat.assets import all_data_uri, codat_data_asset, data_uri
from airflow_provider_codat.exceptions import CodatInputError, CodatPushOperationFailed
from airflow_provider_codat.operators.codat import CodatExtractOperator, CodatPushOperator, CodatRefreshOperator
from airflow_provider_codat.simulator import RefreshOutcome

try:
    from airflow.sdk.execution_time.context import OutletEventAccessors
except ImportError:  # Airflow 2
    from airflow.utils.context import OutletEventAccessors

RUN = Script(Path(__file__).parent / "asset_events" / "run_asset_events.py")
IDS = {"company_id": "c", "connection_id": "d", "data_type": "bills", "record": {}}


def events_after(operator):
    """Return what Airflow gets to know once a task has succeeded: (URI, extra) of each event."""
    accessors = OutletEventAccessors()
    ti = SimpleNamespace(xcom_push=lambda **_: None)  # where Airflow 2 puts the outlets
    operator.post_execute({"ti": ti, "outlet_events": accessors})
    return [(each.uri, accessors[each].extra) for each in operator.outlets if isinstance(each, Asset)]


# -- the outlets -------------------------------------------------------------------------------------------------------


def test_the_dag_has_neither_an_asset_nor_an_alias():
    """An asset would remove watchers; before 3.3, Airflow reads all events of an alias each time that it adds one."""
    assert not CodatPushOperator(task_id="push", asset_events=True, **IDS).outlets
    given = {name: value for name, value in IDS.items() if name != "company_id"}
    with DAG("mapped", schedule=None):
        partial = CodatPushOperator.partial(task_id="push", asset_events=True, **given)
    assert not partial.expand(company_id=["a", "b"]).outlets


def test_own_outlets_are_kept(codat, company, clock):
    own = codat_data_asset(company.id, "bills")
    operator = push(company, outlets=["books", own], asset_events=True)
    xcom = run(operator)
    (uri, extra), _ = events_after(operator)
    assert operator.outlets == ["books", own, Asset(all_data_uri("bills"))]
    assert (uri, extra["pushOperationKey"]) == (own.uri, xcom["pushOperationKey"])


@pytest.mark.parametrize("value", ["yes", None, 1])
def test_it_is_true_or_false(value):
    with pytest.raises(CodatInputError, match=r"asset_events is .*: give True or False"):
        CodatRefreshOperator(task_id="r", company_id="c", asset_events=value)


def test_a_worker_ends_a_task_with_events():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        operator = CodatRefreshOperator(task_id="r", company_id="c", asset_events=True, end_from_trigger=True)
    [warned] = [str(each.message) for each in caught if each.category is UserWarning]
    assert warned.endswith("end_from_trigger does not go with asset_events.")
    assert operator.trigger_arguments()["end_from_trigger"] is False


# -- the events --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
def test_a_write_adds_an_event_for_the_company_and_for_all(deferrable, codat, company, clock):
    operator = push(company, asset_events=True, deferrable=deferrable)
    if deferrable:
        event = run_trigger(defer(operator).trigger, clock)
        operator = push(company, asset_events=True)  # as in the worker that goes on
        xcom = resume(operator, event)
    else:
        xcom = run(operator)
    extra = {
        "companyId": company.id,
        "dataType": "bills",
        "connectionId": company.connection_id,
        "status": "Success",
        "pushOperationKey": xcom["pushOperationKey"],
        "recordId": xcom["recordId"],
        "records": 1,
        "codatConnId": "codat_default",
    }
    uris = data_uri(company.id, "bills"), all_data_uri("bills")
    assert events_after(operator) == [(uri, extra) for uri in uris]


def test_bank_transactions_count_each(codat, company, clock):
    record = {**TRANSACTIONS, "transactions": TRANSACTIONS["transactions"] * 3}
    arguments = {"data_type": "bankTransactions", "account_id": "account-1", "record": record}
    operator = push(company, asset_events=True, **arguments)
    run(operator)
    assert [extra["records"] for _, extra in events_after(operator)] == [3, 3]


def test_a_write_that_has_failed_adds_none(codat, company, clock):
    codat.outcome(REFUSED)
    operator = push(company, asset_events=True, fail_on_unsuccessful=False)
    run(operator)
    assert events_after(operator) == []
    codat.outcome(REFUSED)
    with pytest.raises(CodatPushOperationFailed):
        run(push(company, asset_events=True, task_id="another"))


def test_a_write_that_is_not_waited_for_adds_none(codat, company, clock):
    operator = push(company, asset_events=True, wait_for_completion=False)
    run(operator)
    assert events_after(operator) == []


def test_without_the_argument_nothing_is_added(codat, company, clock):
    operator = push(company)
    run(operator)
    assert events_after(operator) == []


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
def test_a_refresh_adds_events_for_what_was_refreshed(deferrable, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome("FetchError"), data_type="bills")
    arguments = {"data_types": ["invoices", "bills"], "fail_on_error": False, "asset_events": True}
    operator = refresh(company, deferrable=deferrable, **arguments)
    given = refresh_context(operator, clock)
    try:
        xcom = operator.execute(given)
    except TaskDeferred as deferred:
        event = run_trigger(deferred.trigger, clock)
        operator = refresh(company, deferrable=deferrable, **arguments)
        xcom = operator.resume_execution("execute_complete", {"event": event}, given)
    assert xcom["bills"]["status"] == "FetchError"
    extra = {
        "companyId": company.id,
        "dataType": "invoices",
        "connectionId": company.connection_id,
        "status": "Complete",
        "pullOperationId": xcom["invoices"]["pullOperationId"],
        "codatConnId": "codat_default",
    }
    assert events_after(operator) == [(data_uri(company.id, "invoices"), extra), (all_data_uri("invoices"), extra)]


def ended(*operations):
    """Return an operator whose refresh has ended with the operations: (key, status, data type) of each."""
    operator = CodatRefreshOperator(task_id="r", company_id="c", asset_events=True)
    found = (PullOperation(key, status, "c", f"connection of {key}", name) for key, status, name in operations)
    operator.ended = Refresh("c", tuple(found))
    return operator


def test_a_refresh_that_is_not_waited_for_adds_events_for_what_has_ended():
    operator = ended(("pull-1", "Queued", "invoices"), ("pull-2", "Complete", "bills"))
    assert [uri for uri, _ in events_after(operator)] == [data_uri("c", "bills"), all_data_uri("bills")]


def test_a_data_type_of_two_connections_has_one_event_with_what_they_have_in_common():
    operator = ended(("pull-1", "Complete", "invoices"), ("pull-2", "Complete", "invoices"))
    extra = {"companyId": "c", "dataType": "invoices", "status": "Complete", "codatConnId": "codat_default"}
    assert events_after(operator) == [(data_uri("c", "invoices"), extra), (all_data_uri("invoices"), extra)]


def test_a_name_that_no_asset_can_have_fails_no_task(logged):
    assert events_after(ended(("pull-1", "Complete", ".."))) == []
    assert "The task has succeeded, but adds no asset events." in logged()


def extraction(company, folder, **arguments):
    arguments = {"company_id": company.id, "data_type": "invoices", "path": str(folder)} | arguments
    return CodatExtractOperator(task_id="extract", asset_events=True, **arguments)


def test_an_extraction_adds_an_event_for_its_files(codat, company, clock, tmp_path):
    source = codat.source(company.id, "invoices")
    for number in range(3):
        source.add({"id": f"i{number}", "totalAmount": 17})
    codat.refreshes.add(company.id, "invoices")
    operator = extraction(company, tmp_path)
    operator.execute(context(operator))
    extra = {"companyId": company.id, "dataType": "invoices", "records": 3, "codatConnId": "codat_default"}
    uri = f"file://{tmp_path}/{company.id}/company/invoices"
    assert events_after(operator) == [(uri, extra)]


def test_the_uri_of_a_folder_is_quoted(codat, company, clock, tmp_path):
    codat.refreshes.add(company.id, "invoices")
    operator = extraction(company, tmp_path / "Büro #1?a=50%")
    operator.execute(context(operator))
    [(uri, _)] = events_after(operator)
    assert uri == f"file://{tmp_path}/B%C3%BCro%20%231%3Fa=50%25/{company.id}/company/invoices"


@pytest.mark.parametrize(("mode", "events"), [("incremental", []), ("full", [0])])
def test_an_extraction_without_records_adds_an_event_only_if_it_read_everything(
    mode, events, codat, company, clock, tmp_path
):
    codat.refreshes.add(company.id, "invoices")
    first, second = extraction(company, tmp_path), extraction(company, tmp_path, mode=mode)
    for number, operator in enumerate([first, second]):
        given = context(operator)
        given["ti"].run_id = f"run-{number}"
        operator.execute(given)
    assert [extra["records"] for _, extra in events_after(first)] == [0]
    assert [extra["records"] for _, extra in events_after(second)] == events


# -- in Airflow's database ---------------------------------------------------------------------------------------------


def test_assets_that_a_dag_names_get_events_and_queue_it():
    run = RUN.output()
    written, read = data_uri("company-1", "journalEntries"), all_data_uri("taxRates")
    assert run["state"] == "success"
    assert [(task, uri) for task, uri, *_ in run["events"]] == [
        ("push", written),
        ("push", written),
        ("refresh", read),
    ]
    assert [len(extra) for _, _, extra, _ in run["events"]] == [8, 8, 6]
    assert [aliases for *_, aliases in run["events"]] == [0, 0, 0]
    assert run["queued"] == [written, read]
