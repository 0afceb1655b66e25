"""What the hook returns is a dict in Codat's shape as well, and as such it arrives in another task."""

import copy
import dataclasses
import json
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest
from airflow_process import Script
from run_xcom_dag import SETTINGS

from airflow_provider_codat.api.endpoints.companies import Company
from airflow_provider_codat.api.endpoints.connections import DataConnection, DataConnectionError
from airflow_provider_codat.api.endpoints.data_status import DataStatus
from airflow_provider_codat.api.endpoints.pull_operations import PullOperation, PullValidation
from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import ValidationItem
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.json_value import JsonValue
from airflow_provider_codat.api.sync_settings import SyncSchedule, SyncSetting, SyncSettings, read_desired
from airflow_provider_codat.operators.codat import CodatSyncSettingsOperator

RUN = Script(Path(__file__).with_name("run_xcom_dag.py"))


def test_what_the_hook_returns_arrives_in_another_task():
    run = RUN.output()
    assert run["state"] == "success"
    arrived = run["arrived"]
    company = {
        "id": "company-1",
        "name": "Corner Shop",
        "redirect": "https://link.codat.io/company/company-1",
        "dataConnections": [{"id": run["connection_id"]}],
    }
    assert (arrived["company"], arrived["companies"], arrived["mapped"]) == (company, [company], company)
    assert arrived["page"] == {"results": [company], "pageNumber": 1, "pageSize": 100, "totalResults": 1}
    assert arrived["settings"] == {"settings": SETTINGS, "overridesDefaults": True}
    assert (arrived["setting"], arrived["schedule"]) == (SETTINGS[0], {"intervalHours": 24})
    assert arrived["errors"] == [{"itemId": "a", "message": "b", "validatorName": "c"}]
    assert arrived["written"]["dataConnectionKey"] == run["connection_id"]
    assert "Failed" in [each["status"] for each in arrived["operations"]]
    assert (arrived["times"].keys(), run["queued"]) == ({"invoices"}, 1)
    # Plain dicts: the task downstream may run where this package is not.
    assert set(run["types"].values()) == {"dict"}


ITEM = ValidationItem("lineItems[0]", "Unknown account.", "AccountRule")
OPERATION = PushOperation(
    "key-1", "Failed", "company-1", errors=(ITEM,), warnings=(ITEM,), changes=({"type": "Modified"},)
)
TROUBLE = DataConnectionError("401", "Unauthorized", "Token expired", "2026-01-02T03:04:05Z", None)
SETTING = SyncSetting("bills", SyncSchedule(24), sync_from_utc=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
VALUES = [
    ITEM,
    OPERATION,
    Company("company-1", None, ("connection-1",), "https://link.codat.io/company/company-1"),
    DataConnection("connection-1", "Deauthorized", "Xero", errors=(TROUBLE,)),
    TROUBLE,
    PullOperation("pull-1", "FetchError", "company-1", progress=40, is_errored=True),
    PullValidation((ValidationItem("bill-1", "Sums differ.", "BillValidator", "accounting-bill-030"),)),
    DataStatus("invoices", "Complete", datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "pull-2", "pull-1"),
    Page((Company("company-1", "Corner Shop"),), 1, 100, None, has_next=False),
    SyncSchedule(24, 6),
    SETTING,
    SyncSetting("bills", SyncSchedule(24, 6), sync_from_window=None, answered={"new": 1}),
    SyncSettings((SETTING,), client_id="client-1"),
]

FROM_JSON = [
    (Company.from_json, Company("company-1", "Corner Shop", ("a", "b"), "https://link.codat.io/company/company-1")),
    *((type(each).from_json, each) for each in VALUES if isinstance(each, DataConnection | PullValidation)),
    (PullOperation.from_json, PullOperation("pull-1", "FetchError", "company-1", progress=40, is_errored=True)),
    (
        lambda body: DataStatus.from_json("invoices", body),
        DataStatus("invoices", "Complete", datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "pull-2", "pull-1"),
    ),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_a_dict_and_stays_what_it_is(value):
    assert isinstance(value, JsonValue)
    text = json.dumps(value)
    pickled = pickle.loads(pickle.dumps(value))  # noqa: S301 - our own
    for other in (copy.copy(value), copy.deepcopy(value), pickled, dataclasses.replace(value)):
        assert (type(other), other, json.dumps(other)) == (type(value), value, text)
    assert repr(value).startswith(f"{type(value).__name__}(")


@pytest.mark.parametrize("name", ["status", "key"])
def test_values_are_compared_by_their_attributes(name):
    assert dataclasses.replace(OPERATION, **{name: "another"}) != OPERATION


def test_the_value_is_made_of_what_arrived():
    def through(value):
        return json.loads(json.dumps(value))

    written = PushOperation("key-1", "Success", record_id="bill-7")  # where Codat shows the id in data alone
    for operation in (OPERATION, written):
        assert PushOperation.from_stored(through(operation)) == operation
    for read, value in FROM_JSON:
        assert read(through(value)) == value
    settings = SyncSettings((SETTING,), client_id="client-1", shape="integer")
    assert SyncSettings.from_json(through(settings)) == settings
    assert read_desired(through(settings)["settings"]) == (SETTING,)


def test_a_cleared_field_arrives_as_cleared():
    entry = json.loads(json.dumps(SyncSetting("bills", sync_from_window=None)))
    assert entry == {"dataType": "bills", "syncFromWindow": None}
    assert SyncSetting.from_json(entry) == SyncSetting("bills", sync_from_window=None)


def test_a_setting_that_nobody_has_checked_can_be_made_of_anything():
    assert dict(SyncSetting(7, "daily", sync_from_utc="today")) == {
        "dataType": 7,
        "syncSchedule": "daily",
        "syncFromUtc": "today",
    }


def test_airflow_leaves_a_setting_of_the_dag_file_as_it_is():
    setting = SyncSetting("bills", SyncSchedule(24), answered={"new": "{{ params.no }}"})
    operator = CodatSyncSettingsOperator(task_id="s", company_id="{{ c }}", settings=[setting])
    operator.render_template_fields({"c": "company-1"})
    assert operator.settings == [setting]
    assert type(operator.settings[0]) is SyncSetting
