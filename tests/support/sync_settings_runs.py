"""Runs ``CodatSyncSettingsOperator`` against a simulated Codat, in both shapes of a schedule."""

import json

import pytest

from airflow_provider_codat.api.sync_settings import SyncSchedule, SyncSetting
from airflow_provider_codat.operators.codat import CodatSyncSettingsOperator

PATH = r"/companies/[^/]+/syncSettings"


both_shapes = pytest.mark.parametrize(
    "codat",
    [{"sync_schedule_shape": "integer"}, {"sync_schedule_shape": "object"}],
    indirect=True,
    ids=["integer", "object"],
)
free_plan = pytest.mark.parametrize("codat", [{"free_plan": True}], indirect=True, ids=["free"])


def apply(company, settings=(), **arguments):
    operator = CodatSyncSettingsOperator(task_id="sync", company_id=company.id, settings=settings, **arguments)
    xcom = operator.execute({})
    assert json.loads(json.dumps(xcom)) == xcom
    return xcom


def hours(codat, company):
    """Return the hours between syncs by data type, whatever the shape."""
    schedules = {each["dataType"]: each["syncSchedule"] for each in codat.sync_settings(company.id)["settings"]}
    return {name: each if isinstance(each, int) else each["intervalHours"] for name, each in schedules.items()}


WANTED = {
    "dicts": [{"dataType": "invoices", "syncSchedule": 168}, {"dataType": "payments", "syncSchedule": 24}],
    "objects without hour": [
        {"dataType": "invoices", "syncSchedule": {"intervalHours": 168}},
        {"dataType": "payments", "syncSchedule": {"intervalHours": 24}},
    ],
    "values": [SyncSetting("invoices", SyncSchedule(168)), SyncSetting("payments", SyncSchedule(24))],
    "text of a template": [
        {"dataType": "invoices", "syncSchedule": "168"},
        {"dataType": "payments", "syncSchedule": "24", "fetchOnFirstLink": "True", "syncOrder": "0"},
    ],
}
