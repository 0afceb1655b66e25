"""Reading the sync settings that a user wants, and refusing what is wrong."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sync_settings_examples import FROM_UTC

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.sync_settings import SyncSchedule, SyncSetting, read_desired


def entry(**fields):
    return {"dataType": "invoices", "syncSchedule": 24} | fields


AS_TEXT = {
    "syncSchedule": ("24", SyncSchedule(24)),
    "fetchOnFirstLink": ("False", False),
    "isLocked": ("true", True),
    "syncOrder": (" 3 ", 3),
    "syncFromWindow": ("12", 12),
}


@pytest.mark.parametrize("name", AS_TEXT)
def test_numbers_and_flags_may_come_as_text_of_a_template(name):
    text, value = AS_TEXT[name]
    (setting,) = read_desired([entry(**{name: text})])
    assert value in vars(setting).values()


def test_a_schedule_object_may_come_as_text_of_a_template():
    (setting,) = read_desired([entry(syncSchedule={"intervalHours": "24", "hourOfDay": "6"})])
    assert setting.schedule == SyncSchedule(24, 6)


def test_values_and_dicts_may_be_mixed():
    value = SyncSetting("bills", SyncSchedule(24), sync_order=1)
    assert read_desired([entry(), value]) == (SyncSetting("invoices", SyncSchedule(24)), value)


# entry -> (what the error must say: the field, the value, the fix)
REFUSED = {
    "hours": (entry(syncSchedule=12), ["invoices", "syncSchedule", "12", "24 (daily)"]),
    "negative hours": (entry(syncSchedule=-1), ["syncSchedule", "-1"]),
    "hours with a fraction": (entry(syncSchedule=24.0), ["syncSchedule", "24.0", "whole number"]),
    "hours in words": (entry(syncSchedule="daily"), ["syncSchedule", "'daily'", "whole number"]),
    "hours that are a flag": (entry(syncSchedule=True), ["syncSchedule", "True", "whole number"]),
    "no hours": (entry(syncSchedule=None), ["syncSchedule", "None", "whole number"]),
    "hours in an object": (entry(syncSchedule={"intervalHours": 12}), ["syncSchedule", "12", "24 (daily)"]),
    "an object without hours": (entry(syncSchedule={"hourOfDay": 6}), ["syncSchedule", "intervalHours"]),
    "an object with more": (entry(syncSchedule={"intervalHours": 24, "minute": 1}), ["syncSchedule", "minute"]),
    "hour 24": (entry(syncSchedule={"intervalHours": 24, "hourOfDay": 24}), ["hourOfDay", "24", "0 to 23"]),
    "hour -1": (entry(syncSchedule={"intervalHours": 24, "hourOfDay": -1}), ["hourOfDay", "-1"]),
    "both starts": (
        entry(syncFromWindow=24, **FROM_UTC),
        ["invoices", "syncFromUtc", "syncFromWindow", "give only one of them"],
    ),
    "months of no report": (entry(monthsToSync=12), ["invoices", "monthsToSync", "balanceSheet", "profitAndLoss"]),
    "a start in words": (entry(syncFromUtc="last year"), ["syncFromUtc", "'last year'", "2020-01-01T12:00:00Z"]),
    "a start that is a number": (entry(syncFromUtc=2020), ["syncFromUtc", "2020"]),
    "a start before all time": (
        entry(syncFromUtc=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))),
        ["syncFromUtc", "2020-01-01T12:00:00Z"],
    ),
    "hours of too many digits": (entry(syncSchedule="9" * 5000), ["syncSchedule", "whole number"]),
    "a window with a fraction": (entry(syncFromWindow=1.5), ["syncFromWindow", "1.5", "whole number"]),
    "a negative order": (entry(syncOrder=-1), ["syncOrder", "-1", "0 or more"]),
    "a flag in words": (entry(fetchOnFirstLink="yes"), ["fetchOnFirstLink", "'yes'", "true or false"]),
    "a flag that is a number": (entry(isLocked=1), ["isLocked", "1", "true or false"]),
    "a field misspelt": (entry(syncschedule=24), ["'syncschedule'", "did you mean 'syncSchedule'"]),
    "a field nobody knows": (entry(zzz=1), ["'zzz'", "known are dataType, syncSchedule"]),
    "a data type missing": ({"syncSchedule": 24}, ["dataType is missing", "no data type"]),
    "a data type empty": ({"dataType": " ", "syncSchedule": 24}, ["dataType", "' '", "'invoices'"]),
    "a data type that is no text": ({"dataType": 7, "syncSchedule": 24}, ["dataType", "7", "'invoices'"]),
    "no mapping": ("invoices", ["mapping", "str"]),
    "a value with wrong hours": (SyncSetting("invoices", SyncSchedule(12)), ["invoices", "12", "24 (daily)"]),
    "a value with hours as words": (SyncSetting("invoices", "daily"), ["invoices", "'daily'", "whole number"]),
    "a value with a time that is none": (SyncSetting("invoices", SyncSchedule(24), sync_from_utc="soon"), ["'soon'"]),
    "a value with a flag that is none": (SyncSetting("invoices", fetch_on_first_link="no"), ["'no'", "true or false"]),
    "a template in a value": (SyncSetting("{{ params.t }}", SyncSchedule(24)), ["params.t", "give a dict"]),
    "a value with both starts": (
        SyncSetting("invoices", SyncSchedule(24), sync_from_utc=datetime(2020, 1, 1, tzinfo=UTC), sync_from_window=1),
        ["invoices", "syncFromUtc", "syncFromWindow"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("wrong", "says"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_entry_is_refused_by_name(wrong, says):
    with pytest.raises(CodatInputError) as refused:
        read_desired([{"dataType": "bills", "syncSchedule": 24}, wrong])
    assert [text for text in ["settings[1]", *says] if text not in str(refused.value)] == []


def test_a_data_type_named_twice_is_refused():
    with pytest.raises(CodatInputError, match=r"settings\[2\] \(invoices\): .* named twice"):
        read_desired([entry(), {"dataType": "bills", "syncSchedule": 24}, SyncSetting("invoices", SyncSchedule(1))])


@pytest.mark.parametrize("entries", ["invoices", b"invoices", {"dataType": "invoices"}, None, 7])
def test_settings_that_are_no_list_are_refused(entries):
    with pytest.raises(CodatInputError, match="settings must be a list"):
        read_desired(entries)
