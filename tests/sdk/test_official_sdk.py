"""Codat's own client, ``codat-platform``, on the simulator: companies, connections, pushes, refreshes, settings.

It has no call that writes a record; the hook does that here.
"""

from __future__ import annotations

import re

import pytest
from codat_platform import CodatPlatform
from codat_platform.models import errors, shared

from airflow_provider_codat.simulator import Outcome, RefreshOutcome
from airflow_provider_codat.simulator.data_types import DATA_TYPES

GROUPS = ("companies", "connections", "push_data", "refresh_data", "settings")


@pytest.fixture
def sdk(codat_simulator):
    security = shared.Security(auth_header=codat_simulator.auth_headers["Authorization"])
    with CodatPlatform(security=security, server_url=codat_simulator.url) as sdk:
        yield sdk


@pytest.fixture
def company(codat_simulator):
    return codat_simulator.add_company("Corner Shop")


@pytest.fixture
def ids(company):
    return {"company_id": company.id, "connection_id": company.connection_id}


@pytest.fixture
def refused():
    """Return a function that makes a call, and returns the answer by which it is refused."""

    def refused(call, request):
        with pytest.raises(errors.CodatPlatformError) as raised:
            call(request=request)
        return raised.value

    return refused


# -- companies ---------------------------------------------------------------------------------------------------------


def test_a_company_from_its_creation_to_its_end(sdk, refused):
    created = sdk.companies.create(request={"name": "Bank of Dave", "description": "d", "tags": {"region": "uk"}})
    assert (created.name, created.tags, created.data_connections) == ("Bank of Dave", {"region": "uk"}, [])
    of_it = {"company_id": created.id}
    assert sdk.companies.get(request=of_it) == created
    updated = sdk.companies.update(request={**of_it, "company_update_request": {"tags": {"region": "us"}}})
    assert (updated.name, updated.tags) == ("Bank of Dave", {"region": "us"})
    replaced = sdk.companies.replace(request={**of_it, "company_request_body": {"name": "Dave"}})
    assert (replaced.name, replaced.tags) == ("Dave", {})
    sdk.companies.delete(request=of_it)
    gone = refused(sdk.companies.get, of_it)
    assert (type(gone), gone.data.status_code) == (errors.ErrorMessage, 404)


def test_companies_are_listed_by_page_query_order_and_tags(sdk, codat_simulator):
    for name, region in (("A", "uk"), ("B", "us"), ("C", "uk")):
        codat_simulator.add_company(name, tags={"region": region})
    listed = sdk.companies.list(request={"page_size": 1, "order_by": "-name", "query": "name!=B", "tags": "region=uk"})
    assert ([each.name for each in listed.results], listed.total_results) == (["C"], 2)
    assert listed.links.next.href.startswith("/companies?")


def test_a_company_that_cannot_be_is_refused(sdk, refused):
    error = refused(sdk.companies.create, {"name": "Shop", "tags": {"region": "u" * 101}})
    assert (type(error), error.data.status_code) == (errors.ErrorMessage, 400)
    assert [item.item_id for item in error.data.validation.errors] == ["tags"]


# -- connections -------------------------------------------------------------------------------------------------------


def test_a_connection_from_its_creation_to_its_end(sdk, ids, refused):
    created = sdk.connections.create(request={**ids, "request_body": {"platform_key": "gbol"}})
    assert (created.status, created.integration_key) == ("PendingAuth", "gbol")
    of_it = {**ids, "connection_id": created.id}
    linked = sdk.connections.update_authorization(request={**of_it, "request_body": {"key": "secret"}})
    assert linked.status == "Linked"
    listed = sdk.connections.list(request={**ids, "order_by": "-created", "query": "status=Linked"})
    assert sorted(each.id for each in listed.results) == sorted([created.id, ids["connection_id"]])
    unlinked = sdk.connections.unlink(request={**of_it, "update_connection_status": {"status": "Unlinked"}})
    assert (unlinked.status, sdk.connections.get(request=of_it)) == ("Unlinked", unlinked)
    again = refused(sdk.connections.unlink, {**of_it, "update_connection_status": {"status": "Unlinked"}})
    assert again.status_code == 400
    sdk.connections.delete(request=of_it)
    assert refused(sdk.connections.get, of_it).data.status_code == 404


# -- pushes ------------------------------------------------------------------------------------------------------------


def test_a_push_is_seen_from_its_write_to_its_end(sdk, ids, hook, codat_simulator, company):
    codat_simulator.outcome(Outcome(polls=2, record_id="bill-7"))
    key = hook.create_record(company.id, company.connection_id, "bills", {"reference": "B-1"}).key
    pending = sdk.push_data.get_operation(request={**ids, "push_operation_key": key})
    assert (pending.status, pending.changes, pending.completed_on_utc) == ("Pending", None, None)
    listed = sdk.push_data.list_operations(request={**ids, "query": "status=Pending", "order_by": "-requestedOnUtc"})
    assert listed.results == [pending]
    ended = sdk.push_data.get_operation(request={**ids, "push_operation_key": key})
    assert (ended.status, ended.changes[0].type, ended.changes[0].record_ref.id) == ("Success", "Created", "bill-7")
    assert ended.completed_on_utc is not None


def test_an_operation_that_failed_says_why(sdk, ids, hook, codat_simulator, company):
    codat_simulator.outcome(Outcome("Failed", error_message="no such supplier", errors=["supplier"]))
    key = hook.create_record(company.id, company.connection_id, "bills", {}).key
    ended = sdk.push_data.get_operation(request={**ids, "push_operation_key": key})
    assert (ended.status, ended.error_message) == ("Failed", "no such supplier")
    assert [item.message for item in ended.validation.errors] == ["supplier"]


def test_the_options_of_what_can_be_written(sdk, ids, refused):
    options = sdk.push_data.get_model_options(request={**ids, "data_type": "bills"})
    assert (options.type, options.display_name, options.required) == ("Object", "bills", True)
    error = refused(sdk.push_data.get_model_options, {**ids, "data_type": "taxRates"})
    assert error.data.error.startswith("Datatype 'taxRates' not supported by platform(s)")


# -- settings ----------------------------------------------------------------------------------------------------------

DAILY = {"data_type": "bills", "fetch_on_first_link": True, "sync_schedule": 24, "sync_order": 0}


def test_the_sync_settings_of_a_company(sdk, ids, refused):
    before = sdk.companies.get_company_sync_settings(request=ids)
    assert (before.overrides_defaults, before.company_id) == (False, ids["company_id"])
    wanted = {"company_id": ids["company_id"], "overrides_defaults": True, "settings": [{**DAILY, "is_locked": True}]}
    sdk.companies.set_company_sync_settings(request={**ids, "request_body": wanted})
    after = sdk.companies.get_company_sync_settings(request=ids)
    (setting,) = after.settings
    assert (after.overrides_defaults, setting.data_type, setting.sync_schedule) == (True, "bills", 24)
    locked = refused(sdk.companies.set_company_sync_settings, {**ids, "request_body": {**wanted, "settings": [DAILY]}})
    assert (type(locked), locked.data.status_code) == (errors.ErrorMessage, 400)
    assert "bills, which is locked" in locked.data.error


def test_the_sync_settings_of_the_account(sdk):
    before = sdk.settings.get_sync_settings()
    sdk.settings.update_sync_settings(
        request={"client_id": before.client_id, "overrides_defaults": True, "settings": [DAILY]}
    )
    after = sdk.settings.get_sync_settings()
    assert ([each.data_type for each in after.settings], after.client_id) == (["bills"], before.client_id)


def test_the_profile(sdk):
    assert sdk.settings.get_profile().name == "Codat simulator"
    profile = {"name": "Bank of Dave", "redirect_url": "https://bankofdave.com", "white_list_urls": ["https://a.b"]}
    changed = sdk.settings.update_profile(request=profile)
    assert (changed.name, sdk.settings.get_profile()) == ("Bank of Dave", changed)


# -- refreshes ---------------------------------------------------------------------------------------------------------


def test_a_refresh_is_seen_from_its_request_to_its_end(sdk, ids, codat_simulator):
    codat_simulator.refreshes.outcome(RefreshOutcome(polls=1, error_message="text"))
    queued = sdk.refresh_data.by_data_type(request={**ids, "data_type": "invoices"})
    assert (queued.status, queued.connection_id, queued.completed) == ("Queued", ids["connection_id"], None)
    of_it = {"company_id": ids["company_id"], "dataset_id": queued.id}
    shown = [sdk.refresh_data.get_pull_operation(request=of_it) for _ in range(2)]
    assert [(each.status, each.is_completed) for each in shown] == [("Queued", False), ("Complete", True)]
    listed = sdk.refresh_data.list_pull_operations(
        request={**ids, "query": "status=Complete", "order_by": "-requested"}
    )
    assert listed.results == [shown[-1]]


def test_the_data_status_once_every_data_type_was_refreshed(sdk, ids, codat_simulator, company):
    with pytest.raises(errors.ResponseValidationError):  # the client wants the currentStatus that Codat leaves out
        sdk.refresh_data.get(request=ids)
    for data_type in DATA_TYPES:
        codat_simulator.refreshes.add(company.id, data_type)
    sdk.refresh_data.all(request=ids)
    status = sdk.refresh_data.get(request=ids).invoices
    assert (status.data_type, status.current_status) == ("invoices", "Complete")


# -- the rest ----------------------------------------------------------------------------------------------------------

#: What the simulator does not have, and what it is asked with.
MISSING = {
    "companies.add_product": {"product_identifier": "lending"},
    "companies.remove_product": {"product_identifier": "lending"},
    "companies.refresh_product_data": {"product_identifier": "lending"},
    "companies.get_access_token": {},
    "settings.create_api_key": {"name": "key"},
    "settings.delete_api_key": {"api_key_id": "8a210b68-6988-11ed-a1eb-0242ac120002"},
    "settings.list_api_keys": None,
    "settings.get": None,
    "settings.set": {"allowed_origins": ["https://a.b"]},
}


@pytest.mark.parametrize("name", MISSING)
def test_what_the_simulator_does_not_have_is_not_found(sdk, ids, name):
    group, call = name.split(".")
    of_company = ids if group == "companies" else {}
    arguments = {} if MISSING[name] is None else {"request": {**of_company, **MISSING[name]}}
    with pytest.raises(errors.CodatPlatformError) as raised:
        getattr(getattr(sdk, group), call)(**arguments)
    assert raised.value.status_code == 404
    assert '"error":"The requested resource was not found."' in raised.value.body


def test_a_wrong_key_is_refused(codat_simulator):
    security = shared.Security(auth_header="Basic d3Jvbmc=")
    with (
        CodatPlatform(security=security, server_url=codat_simulator.url) as sdk,
        pytest.raises(errors.ErrorMessage) as raised,
    ):
        sdk.companies.list(request={})
    assert raised.value.data.status_code == 401


def test_no_call_of_the_client_is_left_out(sdk, request):
    """Every call of these groups is in the source of this file."""
    source = request.path.read_text()
    calls = {
        f"{group}.{name}"
        for group in GROUPS
        for name in dir(getattr(sdk, group))
        if not name.startswith("_") and not name.endswith("_async") and callable(getattr(getattr(sdk, group), name))
    }
    assert {call for call in calls if call not in MISSING and not re.search(rf"sdk\.{call}\b", source)} == set()
