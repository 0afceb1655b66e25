"""The requests that write sync settings."""

from datetime import datetime

import pytest
from sync_settings_examples import INVOICES, INVOICES_AT_SIX, current

from airflow_provider_codat.api import sync_settings
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.sync_settings import SyncSchedule, SyncSetting, SyncSettings, plan, read_desired


@pytest.mark.parametrize(
    ("schedule", "shape", "sent"),
    [
        (SyncSchedule(24), "integer", 24),
        (SyncSchedule(24), "object", {"intervalHours": 24, "hourOfDay": 0}),
        (SyncSchedule(24, 6), "object", {"intervalHours": 24, "hourOfDay": 6}),
    ],
)
def test_schedules_are_sent_in_the_shape_asked_for(schedule, shape, sent):
    request = sync_settings.update_company_sync_settings("c", [SyncSetting("bills", schedule)], shape=shape)
    assert request.body == {
        "companyId": "c",
        "overridesDefaults": True,
        "settings": [{"dataType": "bills", "syncSchedule": sent, "fetchOnFirstLink": True, "syncOrder": 0}],
    }


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ([SyncSetting("invoices", SyncSchedule(24, 6))], "a number of hours"),
        ([SyncSetting("invoices", SyncSchedule(5))], "5 hours"),
        ([SyncSetting("invoices")], "syncSchedule is missing"),
        ([{"dataType": "invoices", "syncShedule": 24}], "did you mean 'syncSchedule'"),
    ],
)
@pytest.mark.parametrize(
    "update", [sync_settings.update_company_sync_settings, sync_settings.update_account_sync_settings]
)
def test_what_is_written_by_hand_is_checked_too(update, settings, says):
    with pytest.raises(CodatInputError, match=says):
        update("c", settings)


def test_a_naive_time_in_a_value_is_utc():
    (setting,) = read_desired([SyncSetting("bills", SyncSchedule(24), sync_from_utc=datetime(2020, 1, 1))])
    assert setting.to_json("integer")["syncFromUtc"] == "2020-01-01T00:00:00.000Z"


def test_settings_that_were_read_are_written_as_they_came():
    answer = {"overridesDefaults": True, "settings": [INVOICES_AT_SIX, {**INVOICES, "dataType": "bills"}]}
    read = SyncSettings.from_json(answer)
    assert read.shape == "object"
    assert sync_settings.update_company_sync_settings("c", read).body["settings"] == answer["settings"]
    by_hand = sync_settings.update_company_sync_settings("c", list(read.settings), shape="object")
    assert by_hand.body["settings"] == answer["settings"]


def test_what_changes_is_written_in_the_shape_the_api_speaks():
    read = current(INVOICES_AT_SIX, {**INVOICES, "dataType": "bills"})
    planned = plan(read, read_desired([{"dataType": "bills", "syncSchedule": 168}]), merge=True)
    assert [each["syncSchedule"] for each in planned.target.to_json(planned.target.shape)["settings"]] == [
        {"intervalHours": 24, "hourOfDay": 6},
        {"intervalHours": 168, "hourOfDay": 0},
    ]


def test_a_flag_to_be_sent_may_come_as_text_and_is_named_where_it_cannot_be_read():
    request = sync_settings.update_company_sync_settings("c", [], overrides_defaults="False")
    assert request.body["overridesDefaults"] is False
    with pytest.raises(CodatInputError, match="overrides_defaults is 'no': give true or false"):
        sync_settings.update_company_sync_settings("c", [], overrides_defaults="no")


def test_the_accounts_settings_name_the_account():
    request = sync_settings.update_account_sync_settings("client", [SyncSetting("bills", SyncSchedule(24))])
    assert (request.method, request.path, request.body["clientId"]) == ("POST", "/profile/syncSettings", "client")


def test_a_company_id_that_would_change_the_url_is_refused():
    for build in (
        lambda: sync_settings.get_company_sync_settings("../profile"),
        lambda: sync_settings.update_company_sync_settings("../profile", []),
    ):
        with pytest.raises(CodatInputError, match="company_id"):
            build()
