"""Hook lineage: which calls report what they read and write, how often, and that a report cannot break a call."""

import pytest
from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

from airflow_provider_codat.assets import data_uri
from airflow_provider_codat.exceptions import CodatError
from airflow_provider_codat.hooks.codat import CodatHook


@pytest.fixture
def collector(monkeypatch):
    """Return a new collector, as Airflow makes it if there is a reader, such as OpenLineage."""
    try:
        from airflow.sdk import lineage, plugins_manager
    except ImportError:  # before Airflow 3.2
        from airflow.lineage import hook

        monkeypatch.setattr(hook, "_hook_lineage_collector", hook.HookLineageCollector())
        yield get_hook_lineage_collector()
        return
    monkeypatch.setattr(plugins_manager, "get_hook_lineage_readers_plugins", lambda: [object])
    lineage.get_hook_lineage_collector.cache_clear()
    yield get_hook_lineage_collector()
    lineage.get_hook_lineage_collector.cache_clear()


def collected(collector):
    """Return the URIs of inputs and outputs, and how often each was reported."""
    seen = collector.collected_assets
    return [[(asset_of(each).uri, each.count) for each in side] for side in (seen.inputs, seen.outputs)]


def asset_of(info):
    return getattr(info, "asset", None) or info.dataset


@pytest.fixture
def company(codat_simulator, codat_connection, clock):
    company = codat_simulator.add_company()
    source = codat_simulator.source(company.id, "invoices")
    for number in range(3):
        source.add({"id": f"i{number}", "totalAmount": number})
    codat_simulator.refreshes.add(company.id, "invoices")
    return company


def list_records(hook, company):
    hook.list_records(company.id, "invoices")


def iterate_records(hook, company):
    assert len(list(hook.iterate_records(company.id, "invoices", page_size=1))) == 3


def get_record(hook, company):
    hook.get_record(company.id, "invoices", "i1")


@pytest.mark.parametrize("call", [list_records, iterate_records, get_record])
def test_a_read_is_an_input_once(call, company, collector):
    hook = CodatHook()
    call(hook, company)
    call(hook, company)
    assert collected(collector) == [[(data_uri(company.id, "invoices"), 1)], []]


def test_an_argument_by_default_counts(company, collector, codat_simulator):
    codat_simulator.source(company.id, "company").add({"companyName": "Toft"})
    codat_simulator.refreshes.add(company.id, "company")
    CodatHook().get_info(company_id=company.id)
    assert collected(collector) == [[(data_uri(company.id, "company"), 1)], []]


def test_a_write_is_an_output(company, collector):
    hook = CodatHook()
    for _ in range(2):
        hook.create_record(company.id, company.connection_id, "bills", {"reference": "INV-7"})
    hook.create_record(company.id, company.connection_id, data_type="suppliers", record={"supplierName": "Toft"})
    uris = [data_uri(company.id, each) for each in ("bills", "suppliers")]
    assert collected(collector) == [[], [(uri, 1) for uri in uris]]


def test_two_companies_are_two_outputs(company, collector, codat_simulator):
    other, hook = codat_simulator.add_company(), CodatHook()
    for each in (company, other):
        hook.create_record(each.id, each.connection_id, "bills", {"reference": "INV-7"})
    assert [uri for uri, _ in collected(collector)[1]] == [data_uri(each.id, "bills") for each in (company, other)]


def test_a_call_that_fails_or_has_no_records_reports_nothing(company, collector):
    hook = CodatHook()
    hook.get_company(company.id)
    with pytest.raises(CodatError):
        hook.get_record(company.id, "invoices", "missing")
    assert collected(collector) == [[], []]


def test_a_report_that_fails_does_not_break_the_call(company, collector, monkeypatch):
    # It cannot be caused from outside: Airflow's collector catches the errors of what it calls.
    monkeypatch.setattr(type(collector), "create_asset", None, raising=False)
    monkeypatch.setattr(type(collector), "create_dataset", None, raising=False)
    assert CodatHook().list_records(company.id, "invoices").total == 3


def test_without_a_reader_nothing_is_collected(company):
    CodatHook().list_records(company.id, "invoices")
    assert not get_hook_lineage_collector().has_collected
