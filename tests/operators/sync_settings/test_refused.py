"""Settings that Codat does not take, and arguments that are refused."""

import json

import pytest
from sync_settings_runs import PATH, WANTED, apply, free_plan

from airflow_provider_codat.api.sync_settings import SyncSchedule, SyncSetting
from airflow_provider_codat.exceptions import CodatInputError, CodatPlanLimitError, CodatSyncSettingsNotApplied
from airflow_provider_codat.operators.codat import CodatSyncSettingsOperator
from airflow_provider_codat.simulator import Fault


@pytest.mark.parametrize(
    "arguments", [{"settings": [{"dataType": "invoices", "syncSchedule": 168}]}, {"overrides_defaults": False}]
)
def test_settings_that_codat_accepts_and_does_not_take_are_an_error(arguments, codat, company):
    codat.fault(Fault("status", status=204, method="POST", path=PATH, times=None))
    with pytest.raises(CodatSyncSettingsNotApplied, match="after 2 attempts these still differ") as raised:
        apply(company, **arguments)
    assert codat.count("POST") == 2
    field = "overridesDefaults" if "overrides_defaults" in arguments else "syncSchedule"
    assert field in str(raised.value)
    assert company.id in str(raised.value)


@free_plan
def test_hourly_syncs_on_a_free_plan_name_who_asked_for_them(codat, company):
    with pytest.raises(CodatPlanLimitError) as raised:
        apply(
            company,
            [
                {"dataType": "bills", "syncSchedule": 1},
                {"dataType": "payments", "syncSchedule": 1},
                {"dataType": "items", "syncSchedule": 24},
            ],
        )
    message = str(raised.value)
    assert "Hourly syncs need a paid Codat plan" in message
    assert "bills, payments" in message
    assert "items" not in message
    assert codat.count("POST") == 1


@pytest.mark.parametrize(("flag", "text"), [("merge", "no"), ("overrides_defaults", "none"), ("dry_run", "1")])
def test_a_flag_that_is_neither_true_nor_false_is_refused_at_parse(flag, text):
    with pytest.raises(CodatInputError, match=f"{flag} is '{text}': give true or false"):
        CodatSyncSettingsOperator(task_id="sync", company_id="c", settings=WANTED["dicts"], **{flag: text})


def test_flags_may_come_as_text(codat, company):
    apply(company, overrides_defaults="False", dry_run="True")
    assert codat.count("POST") == 0
    apply(company, overrides_defaults="False", dry_run="false")
    assert codat.sync_settings(company.id)["overridesDefaults"] is False


LITERALS = {
    "a company id with a slash": {"company_id": "a/b"},
    "an empty company id": {"company_id": ""},
    "no company id": {"company_id": None},
    "hours": {"settings": [{"dataType": "invoices", "syncSchedule": 12}]},
    "hour of day": {"settings": [{"dataType": "invoices", "syncSchedule": {"intervalHours": 24, "hourOfDay": 24}}]},
    "twice": {"settings": [{"dataType": "invoices", "syncSchedule": 24}] * 2},
    "both starts": {
        "settings": [
            {"dataType": "invoices", "syncSchedule": 24, "syncFromUtc": "2020-01-01T00:00:00Z", "syncFromWindow": 1}
        ]
    },
    "months": {"settings": [{"dataType": "invoices", "syncSchedule": 24, "monthsToSync": 12}]},
    "no list": {"settings": {"dataType": "invoices", "syncSchedule": 24}},
    "nothing to do": {"settings": []},
    "settings of a default": {"settings": [{"dataType": "bills", "syncSchedule": 24}], "overrides_defaults": False},
    "a value": {"settings": [SyncSetting("invoices", SyncSchedule(12))]},
}


@pytest.mark.parametrize("wrong", LITERALS.values(), ids=LITERALS)
def test_wrong_literals_are_refused_at_parse(wrong):
    with pytest.raises(CodatInputError):
        CodatSyncSettingsOperator(
            task_id="sync", **{"company_id": "c", "settings": [{"dataType": "bills", "syncSchedule": 24}]} | wrong
        )


@pytest.mark.parametrize("wrong", LITERALS.values(), ids=LITERALS)
def test_wrong_rendered_values_are_refused_before_any_request(wrong, codat):
    templated = {"company_id": "{{ params.company }}", "settings": "{{ params.settings }}"}
    overrides_defaults = wrong.get("overrides_defaults", True)
    operator = CodatSyncSettingsOperator(task_id="sync", **templated, overrides_defaults=overrides_defaults)
    # what rendering does
    operator.company_id = wrong.get("company_id", "c")
    operator.settings = wrong.get("settings", [{"dataType": "bills", "syncSchedule": 24}] if overrides_defaults else [])
    with pytest.raises(CodatInputError):
        operator.execute({})
    assert codat.count() == 0


@pytest.mark.parametrize("extra", [{}, {"sync_schedule_shape": "integer"}])
def test_an_hour_of_day_is_refused_where_the_api_speaks_integers(extra, codat, company, monkeypatch):
    connection = json.loads(codat.connection_uri) | {"extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", json.dumps(connection))
    with pytest.raises(CodatInputError, match=r"invoices.*hourOfDay is 6"):
        apply(company, [{"dataType": "invoices", "syncSchedule": {"intervalHours": 24, "hourOfDay": 6}}])
    # Without a word in the connection, only the API's own answer shows which shape it takes.
    assert codat.count() == (0 if extra else 1)
    assert codat.count("POST") == 0
