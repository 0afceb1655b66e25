"""What tasks report to OpenLineage when they start, succeed and fail, in a worker and over a deferral."""

import warnings

import pytest
from airflow.providers.common.compat.openlineage.facet import Dataset
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.providers.openlineage import conf
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from push_runs import REFUSED, context, defer, push, resume, run
from refresh_runs import context as refresh_context
from refresh_runs import refresh
from trigger_runner import run_trigger

from airflow_provider_codat.assets import codat_data_asset, convert_asset_to_openlineage
from airflow_provider_codat.exceptions import CodatPushOperationFailed
from airflow_provider_codat.operators.codat import CodatExtractOperator, CodatSyncSettingsOperator
from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor, CodatPushOperationSensor
from airflow_provider_codat.simulator import RefreshOutcome

CODAT = "codat://api.codat.io"


def reported(task, at):
    """Return what the extractor that OpenLineage takes for a task reports: inputs, outputs, run facets."""
    extractor = ExtractorManager().get_extractor_class(task)(task)
    method = {"start": "extract", "complete": "extract_on_complete", "failure": "extract_on_failure"}[at]
    lineage = getattr(extractor, method)(*([] if at == "start" else [None]))
    facets = {name: shown(facet) for name, facet in lineage.run_facets.items()}
    return inputs_of(lineage), outputs_of(lineage), facets


def inputs_of(lineage):
    return [(each.namespace, each.name) for each in lineage.inputs]


def outputs_of(lineage):
    return [
        (each.namespace, each.name, *(facet.rowCount for facet in each.outputFacets.values()))
        for each in lineage.outputs
    ]


def shown(facet):
    return getattr(facet, "externalQueryId", None) or facet.message


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
def test_a_push(deferrable, codat, company, clock):
    dataset = CODAT, f"companies/{company.id}/data/bills"
    operator = push(company, deferrable=deferrable)
    assert reported(operator, "start") == ([], [dataset], {})
    if deferrable:
        event = run_trigger(defer(operator).trigger, clock)
        operator = push(company)
        assert reported(operator, "start") == ([], [dataset], {})  # Airflow tells of the start again
        xcom = resume(operator, event)
    else:
        xcom = run(operator)
    before = len(codat.requests)
    assert reported(operator, "complete") == ([], [(*dataset, 1)], {"externalQuery": xcom["pushOperationKey"]})
    assert len(codat.requests) == before


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
def test_a_push_that_fails(deferrable, codat, company, clock):
    codat.outcome(REFUSED)
    operator = push(company, deferrable=deferrable)
    if deferrable:
        event = run_trigger(defer(operator).trigger, clock)
        operator = push(company)
    with pytest.raises(CodatPushOperationFailed) as failed:
        _ = resume(operator, event) if deferrable else run(operator)
    inputs, outputs, facets = reported(operator, "failure")
    assert (inputs, outputs) == ([], [(CODAT, f"companies/{company.id}/data/bills")])
    assert facets["externalQuery"] == failed.value.operation.key
    assert facets["errorMessage"] == failed.value.operation.describe_failure()


def test_a_push_whose_failure_is_returned_says_so_at_its_success(codat, company, clock):
    codat.outcome(REFUSED)
    operator = push(company, fail_on_unsuccessful=False)
    run(operator)
    _, outputs, facets = reported(operator, "complete")
    assert outputs == [(CODAT, f"companies/{company.id}/data/bills")]
    assert "Not accepted." in facets["errorMessage"]


def test_a_push_without_an_operation(codat, company, clock):
    operator = push(company)
    with pytest.raises(Exception, match="The trigger broke"):
        resume(operator, {"error": "Trigger failure"}, method="__fail__")
    assert reported(operator, "failure") == ([], [(CODAT, f"companies/{company.id}/data/bills")], {})


def test_a_sensor_of_a_push(codat, company, clock):
    key = codat.add_push(company.id, "bills", "Success")
    sensor = CodatPushOperationSensor(task_id="wait", company_id=company.id, push_operation_key=key)
    assert reported(sensor, "start") == ([], [], {"externalQuery": key})
    sensor.execute({})
    dataset = CODAT, f"companies/{company.id}/data/bills"
    assert reported(sensor, "complete") == ([dataset], [], {"externalQuery": key})


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "triggerer"])
def test_a_refresh(deferrable, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome("FetchError"), data_type="bills")
    arguments = {"data_types": ["invoices", "bills"], "fail_on_error": False, "deferrable": deferrable}
    invoices, bills = ((CODAT, f"companies/{company.id}/data/{each}") for each in ("invoices", "bills"))
    operator = refresh(company, **arguments)
    assert reported(operator, "start") == ([], [invoices, bills], {})
    given = refresh_context(operator, clock)
    try:
        xcom = operator.execute(given)
    except TaskDeferred as deferred:
        event = run_trigger(deferred.trigger, clock)
        operator = refresh(company, **arguments)
        xcom = operator.resume_execution("execute_complete", {"event": event}, given)
    inputs, outputs, facets = reported(operator, "complete")
    assert (inputs, outputs) == ([], [invoices])
    assert facets["externalQuery"] == ", ".join(each["pullOperationId"] for each in xcom.values())
    assert "bills" in facets["errorMessage"]


def test_a_refresh_that_is_not_waited_for_keeps_its_outputs(codat, company, clock):
    operator = refresh(company, ["invoices", "bills"], wait_for_completion=False)
    _, before, _ = reported(operator, "start")
    operator.execute(refresh_context(operator, clock))
    _, after, facets = reported(operator, "complete")
    assert (after, list(facets)) == (before, ["externalQuery"])


def test_a_refresh_of_all_data_types_names_them_once_it_has_ended(codat, company, clock):
    operator = refresh(company, None)
    assert reported(operator, "start") == ([], [], {})
    xcom = operator.execute(refresh_context(operator, clock))
    _, outputs, _ = reported(operator, "complete")
    assert {name.rpartition("/")[2] for _, name in outputs} == set(xcom)


def test_a_sensor_of_fresh_data(codat, company, clock):
    codat.refreshes.add(company.id, "invoices")
    sensor = CodatDataFreshnessSensor(task_id="fresh", company_id=company.id, data_types="invoices")
    dataset = CODAT, f"companies/{company.id}/data/invoices"
    assert reported(sensor, "start") == ([dataset], [], {})
    sensor.execute({})
    assert reported(sensor, "complete") == ([dataset], [], {})


def test_an_extraction(codat, company, clock, tmp_path):
    codat.source(company.id, "invoices").add({"id": "i1", "totalAmount": 17})
    codat.refreshes.add(company.id, "invoices")
    path = str(tmp_path / "Büro #1")
    operator = CodatExtractOperator(task_id="e", company_id=company.id, data_type="invoices", path=path)
    dataset = CODAT, f"companies/{company.id}/data/invoices"
    assert reported(operator, "start") == ([dataset], [], {})
    operator.execute(context(operator))
    files = "file", f"{path}/{company.id}/company/invoices", 1
    assert reported(operator, "complete") == ([dataset], [files], {})


def test_sync_settings_are_no_data(company):
    settings = [{"dataType": "bills", "syncSchedule": 24}]
    operator = CodatSyncSettingsOperator(task_id="s", company_id=company.id, settings=settings)
    assert reported(operator, "start") == reported(operator, "complete") == ([], [], {})


def test_an_asset_is_the_dataset_of_the_facets():
    asset = codat_data_asset("c", "bills")
    assert convert_asset_to_openlineage(asset, None) == Dataset(namespace=CODAT, name="companies/c/data/bills")


# -- a task that ends in its trigger -----------------------------------------------------------------------------------


@pytest.fixture
def enabled(monkeypatch):
    """Enable OpenLineage, as a transport in the configuration does."""
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", '{"type": "console"}')
    forget()
    yield monkeypatch
    monkeypatch.undo()
    forget()


def forget():
    for each in vars(conf).values():
        if hasattr(each, "cache_clear"):
            each.cache_clear()


def made(company, **arguments):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        operator = push(company, end_from_trigger=True, **arguments)
    return operator, [str(each.message) for each in caught if each.category is UserWarning]


def test_a_worker_ends_a_task_that_openlineage_reports(company, enabled):
    operator, [warned] = made(company)
    assert "OpenLineage is enabled" in warned
    assert "disabled_for_operators" in warned
    assert operator.trigger_arguments()["end_from_trigger"] is False


def test_the_trigger_ends_a_task_that_openlineage_does_not_report(company, enabled):
    enabled.setenv(
        "AIRFLOW__OPENLINEAGE__DISABLED_FOR_OPERATORS", "airflow_provider_codat.operators.push.CodatPushOperator"
    )
    forget()
    operator, warned = made(company)
    assert warned == []
    assert operator.trigger_arguments()["end_from_trigger"] is True


def test_the_trigger_ends_a_task_while_openlineage_is_not_enabled(company):
    operator, warned = made(company)
    assert warned == []
    assert operator.trigger_arguments()["end_from_trigger"] is True
