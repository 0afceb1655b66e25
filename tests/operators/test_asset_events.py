"""``asset_events``: the alias among the outlets, and the events that a worker adds once the task has succeeded."""

import warnings
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, AssetAlias, TaskDeferred
from push_runs import REFUSED, TRANSACTIONS, context, defer, push, resume, run
from refresh_runs import context as refresh_context
from refresh_runs import refresh
from trigger_runner import run_trigger

from airflow_provider_codat.assets import ALIAS, all_data_uri, data_uri
from airflow_provider_codat.exceptions import CodatInputError, CodatPushOperationFailed
from airflow_provider_codat.operators.codat import CodatExtractOperator, CodatPushOperator, CodatRefreshOperator
from airflow_provider_codat.simulator import RefreshOutcome

try:
    from airflow.sdk.execution_time.context import OutletEventAccessors
except ImportError:  # Airflow 2
    from airflow.utils.context import OutletEventAccessors

IDS = {"company_id": "c", "connection_id": "d", "data_type": "bills", "record": {}}


def events_after(operator):
    """Return what Airflow gets to know once a task has succeeded: (URI, extra) of each event."""
    accessors = OutletEventAccessors()
    ti = SimpleNamespace(xcom_push=lambda **_: None)  # where Airflow 2 puts the outlets
    operator.post_execute({"ti": ti, "outlet_events": accessors})
    names = "asset_alias_events", "dataset_alias_events"  # the latter in Airflow 2
    events = [event for each in accessors.values() for name in names for event in getattr(each, name, ())]
    assert {name_of(each) for each in events} <= {ALIAS}
    return [(uri_of(each), extra_of(each)) for each in events]


def name_of(event):
    return event["source_alias_name"] if isinstance(event, dict) else event.source_alias_name


def uri_of(event):
    return event["dest_dataset_uri"] if isinstance(event, dict) else event.dest_asset_key.uri


def extra_of(event):
    return event["extra"] if isinstance(event, dict) else event.extra


# -- the outlet --------------------------------------------------------------------------------------------------------


def test_the_outlet_is_an_alias_and_never_an_asset():
    operator = CodatPushOperator(task_id="push", asset_events=True, **IDS)
    assert operator.outlets == [AssetAlias(ALIAS)]
    assert CodatPushOperator(task_id="push", **IDS).outlets == []


def test_own_outlets_are_kept():
    operator = CodatRefreshOperator(task_id="r", company_id="c", outlets=["books"], asset_events=True)
    assert operator.outlets == ["books", AssetAlias(ALIAS)]


@pytest.mark.parametrize(
    ("arguments", "default_args", "outlets"),
    [
        ({"asset_events": True}, {}, [AssetAlias(ALIAS)]),
        ({}, {"asset_events": True}, [AssetAlias(ALIAS)]),
        ({"asset_events": False}, {"asset_events": True}, []),
        ({}, {}, []),
    ],
)
def test_a_mapped_operator_has_the_outlet_in_the_dag(arguments, default_args, outlets):
    given = {name: value for name, value in IDS.items() if name != "company_id"}
    with DAG("mapped", schedule=None, default_args=default_args):
        partial = CodatPushOperator.partial(task_id="push", **given, **arguments)
    assert partial.expand(company_id=["a", "b"]).outlets == outlets


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
        "pushOperationKey": xcom["pushOperationKey"],
        "records": 1,
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
        "pullOperationId": xcom["invoices"]["pullOperationId"],
    }
    assert events_after(operator) == [(data_uri(company.id, "invoices"), extra), (all_data_uri("invoices"), extra)]


def test_an_extraction_adds_an_event_for_its_files(codat, company, clock, tmp_path):
    source = codat.source(company.id, "invoices")
    for number in range(3):
        source.add({"id": f"i{number}", "totalAmount": 17})
    codat.refreshes.add(company.id, "invoices")
    operator = CodatExtractOperator(
        task_id="extract", company_id=company.id, data_type="invoices", path=str(tmp_path), asset_events=True
    )
    operator.execute(context(operator))
    extra = {"companyId": company.id, "dataType": "invoices", "records": 3}
    uri = f"file://{tmp_path}/{company.id}/company/invoices"
    assert events_after(operator) == [(uri, extra)]
