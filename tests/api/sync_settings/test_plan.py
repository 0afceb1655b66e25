"""Plans for sync settings: a plan leads to what is wanted, and keeps the rest."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sync_settings_examples import (
    DATA_TYPES,
    FROM_UTC,
    INVOICES,
    INVOICES_AT_SIX,
    any_answers,
    current,
    shapes,
    situations,
)

from airflow_provider_codat.api import sync_settings
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.sync_settings import UNSET, SyncSetting, SyncSettings, plan, plan_default, read_desired


def written(planned, shape):
    """Return what the API holds after the plan was written: what was sent."""
    request = sync_settings.update_company_sync_settings(
        "c", planned.target, overrides_defaults=planned.target.overrides_defaults, shape=shape
    )
    assert request.body["companyId"] == "c"
    return {name: value for name, value in request.body.items() if name != "companyId"}


def entries_of(answer):
    return {entry["dataType"]: entry for entry in answer["settings"]}


@given(situations(), st.booleans())
def test_applying_a_plan_gives_what_was_wanted_and_planning_again_gives_nothing(situation, merge):
    shape, answer, wanted = situation
    desired = read_desired(wanted)
    planned = plan(SyncSettings.from_json(answer), desired, merge=merge, default_shape=shape)
    after = written(planned, shape)

    before, now = entries_of(answer), entries_of(after)
    assert after["overridesDefaults"] is True
    assert now.keys() == {entry["dataType"] for entry in wanted} | (before.keys() if merge else set())
    for entry in wanted:
        read = SyncSetting.from_answer(now[entry["dataType"]])
        for setting, name in [(read, "schedule"), (read, "sync_from_utc"), (read, "sync_from_window")]:
            asked = getattr(SyncSetting.from_json(entry), name)
            if name == "schedule":
                assert read.schedule.hours == asked.hours
                assert asked.hour_of_day in (None, read.schedule.hour_of_day)
            elif asked is not UNSET:
                assert getattr(setting, name) == (UNSET if asked is None else asked)
        for name in ("fetchOnFirstLink", "syncOrder", "monthsToSync", "isLocked"):
            if name in entry:
                assert now[entry["dataType"]].get(name) == entry[name]
        starts = [now[entry["dataType"]].get(name) for name in ("syncFromUtc", "syncFromWindow")]
        assert None in starts or not {"syncFromUtc", "syncFromWindow"} & entry.keys()

    again = plan(SyncSettings.from_json(after), desired, merge=merge, default_shape=shape)
    assert again.changes == ()
    assert written(again, shape) == after


@given(situations(), st.booleans())
def test_a_plan_without_changes_is_one_that_would_write_what_is_there(situation, merge):
    shape, answer, wanted = situation
    current = SyncSettings.from_json(answer)
    planned = plan(current, read_desired(wanted), merge=merge, default_shape=shape)
    is_same = {**written(planned, shape), "settings": entries_of(written(planned, shape))} == {
        "overridesDefaults": current.overrides_defaults,
        "settings": {entry.data_type: entry.to_json(current.shape or shape) for entry in current.settings},
    }
    assert is_same == (planned.changes == ())


def is_of(entry, data_type):
    return isinstance(entry, dict) and entry.get("dataType") == data_type


def as_texts(entries):
    """Return entries as JSON texts, in no order."""
    return sorted(json.dumps(each, sort_keys=True) for each in entries)


@given(any_answers, st.sampled_from(DATA_TYPES))
def test_what_is_not_named_goes_back_as_it_came_whatever_it_is(answer, data_type):
    read = sync_settings.get_company_sync_settings("c").read(answer)
    planned = plan(read, read_desired([{"dataType": data_type, "syncSchedule": 24}]), merge=True)
    before = answer.get("settings", [])
    after = sync_settings.update_company_sync_settings("c", planned.target).body["settings"]
    unnamed = [[each for each in entries if not is_of(each, data_type)] for entries in (before, after)]
    assert as_texts(unnamed[0]) == as_texts(unnamed[1])
    assert {change.data_type for change in planned.changes} <= {data_type, None}

    old, new = ([each for each in entries if is_of(each, data_type)] for entries in (before, after))
    assert len(new) == max(len(old), 1)
    assert {SyncSetting.from_answer(each).schedule.hours for each in new} == {24}
    for was, will in zip(old, new, strict=False):
        assert as_texts([{**will, "syncSchedule": 0}]) == as_texts([{**was, "syncSchedule": 0}])
        if isinstance(was.get("syncSchedule"), dict) and isinstance(will["syncSchedule"], dict):
            known = {"intervalHours": 24, "hourOfDay": 0}
            assert as_texts([was["syncSchedule"] | known]) == as_texts([will["syncSchedule"] | known])


@given(any_answers)
def test_giving_a_company_back_to_the_default_sends_its_list_as_it_came(answer):
    read = sync_settings.get_company_sync_settings("c").read({**answer, "overridesDefaults": True})
    target = plan_default(read).target
    body = sync_settings.update_company_sync_settings("c", target, overrides_defaults=False).body
    assert as_texts(body["settings"]) == as_texts(answer.get("settings", []))


@given(any_answers, shapes)
def test_of_a_setting_that_was_read_only_the_field_that_was_changed_is_written_anew(answer, shape):
    for setting in SyncSettings.from_json({"settings": [], **answer}).settings:
        assert as_texts([setting.to_json(shape)]) == as_texts([setting.answered])
        changed = replace(setting, sync_order=1000).to_json(shape)
        assert as_texts([changed]) == as_texts([{**setting.answered, "syncOrder": 1000}])


@given(any_answers, st.sampled_from(DATA_TYPES), st.booleans())
def test_a_second_plan_finds_nothing_left_of_the_first(answer, data_type, merge):
    desired = read_desired([{"dataType": data_type, "syncSchedule": 24, "isLocked": False, "syncFromWindow": 3}])
    planned = plan(SyncSettings.from_json({"settings": [], **answer}), desired, merge=merge)
    body = sync_settings.update_company_sync_settings("c", planned.target).body
    again = plan(SyncSettings.from_json(body), desired, merge=merge)
    assert again.changes == ()
    assert as_texts(again.target.to_json(None)["settings"]) == as_texts(body["settings"])


@given(situations())
def test_the_plan_back_to_the_default_changes_only_whose_schedule_it_is(situation):
    shape, answer, _ = situation
    current = SyncSettings.from_json(answer)
    planned = plan_default(current, default_shape=shape)
    changes = [(change.data_type, change.field, change.before, change.after) for change in planned.changes]
    assert changes == ([(None, "overridesDefaults", True, False)] if current.overrides_defaults else [])
    assert planned.target.overrides_defaults is False


@given(situations())
def test_writing_and_reading_again_changes_nothing(situation):
    shape, answer, _ = situation
    settings = SyncSettings.from_json(answer)
    assert SyncSettings.from_json(settings.to_json(shape)).settings == settings.settings


REPORT = INVOICES | {"dataType": "balanceSheet"}

CHANGES = {
    "nothing": (INVOICES, {"syncSchedule": 24}, []),
    "a schedule": (INVOICES, {"syncSchedule": 1}, [("syncSchedule", 24, 1)]),
    "what is left out stays": (INVOICES | FROM_UTC | {"syncOrder": 7}, {"syncSchedule": 0}, [("syncSchedule", 24, 0)]),
    "from a time to a window": (
        INVOICES | FROM_UTC,
        {"syncFromWindow": 24},
        [("syncFromUtc", FROM_UTC["syncFromUtc"], None), ("syncFromWindow", None, 24)],
    ),
    "from a window to a time": (
        INVOICES | {"syncFromWindow": 24},
        FROM_UTC,
        [("syncFromUtc", None, FROM_UTC["syncFromUtc"]), ("syncFromWindow", 24, None)],
    ),
    "None clears": (INVOICES | FROM_UTC, {"syncFromUtc": None}, [("syncFromUtc", FROM_UTC["syncFromUtc"], None)]),
    "None clears months": (REPORT | {"monthsToSync": 12}, {"monthsToSync": None}, [("monthsToSync", 12, None)]),
    "None where nothing is": (INVOICES, {"syncFromUtc": None, "syncFromWindow": None}, []),
    "the same time in another zone": (INVOICES | FROM_UTC, {"syncFromUtc": "2020-01-01T14:00:00+02:00"}, []),
    "a time without a zone is UTC": (INVOICES | FROM_UTC, {"syncFromUtc": "2020-01-01T12:00:00"}, []),
    "a datetime": (INVOICES | FROM_UTC, {"syncFromUtc": datetime(2020, 1, 1, 12, tzinfo=UTC)}, []),
    "hours alone keep the hour of day": (
        INVOICES_AT_SIX,
        {"syncSchedule": 168},
        [("syncSchedule", {"intervalHours": 24, "hourOfDay": 6}, {"intervalHours": 168, "hourOfDay": 6})],
    ),
    "an hour of day": (
        INVOICES_AT_SIX,
        {"syncSchedule": {"intervalHours": 24, "hourOfDay": 0}},
        [("syncSchedule", {"intervalHours": 24, "hourOfDay": 6}, {"intervalHours": 24, "hourOfDay": 0})],
    ),
}


@pytest.mark.parametrize(("is_now", "wanted", "changes"), CHANGES.values(), ids=CHANGES)
def test_the_changes_of_one_entry(is_now, wanted, changes):
    planned = plan(current(is_now), read_desired([{"dataType": is_now["dataType"]} | wanted]), merge=True)
    assert sorted((change.field, change.before, change.after) for change in planned.changes) == changes


BILLS = INVOICES | {"dataType": "bills"}
STARTS = {"syncFromUtc": "2020-01-01T00:00:00Z"}
OWN = {
    "as the account's default": (BILLS, [BILLS], None),
    "the same written otherwise": (BILLS | STARTS, [BILLS | {"syncFromUtc": "2020-01-01T00:00:00.0000000Z"}], None),
    "nulls": (BILLS | {"monthsToSync": None}, [BILLS], None),
    "other hours": (BILLS | {"syncSchedule": 168}, [BILLS], {"syncSchedule"}),
    "a start of its own": (BILLS | STARTS, [BILLS], {"syncFromUtc"}),
    "without the start of the default": (BILLS, [BILLS | STARTS], {"syncSchedule"}),
    "no default for it": (BILLS, [INVOICES], {"syncSchedule"}),
}


@pytest.mark.parametrize(("is_now", "default", "dropped"), OWN.values(), ids=OWN)
def test_without_merging_only_what_is_not_the_accounts_default_is_dropped(is_now, default, dropped):
    planned = plan(current(INVOICES, is_now), read_desired([INVOICES]), merge=False, account=current(*default))
    assert planned.target.to_json(None)["settings"] == [INVOICES]
    assert {change.data_type for change in planned.changes} == ({"bills"} if dropped else set())
    assert {change.field for change in planned.changes} >= (dropped or set())


def test_without_merging_and_without_the_accounts_default_all_that_is_not_named_is_dropped():
    planned = plan(current(INVOICES, BILLS, "nonsense"), read_desired([INVOICES]), merge=False)
    assert {change.data_type for change in planned.changes} == {"bills"}
    assert planned.target.to_json(None)["settings"] == [INVOICES]


def test_a_new_data_type_takes_codats_usual_values():
    planned = plan(current(), read_desired([{"dataType": "bills", "syncSchedule": 24}]), merge=True)
    assert planned.target.to_json("integer")["settings"] == [INVOICES | {"dataType": "bills"}]


def test_a_new_data_type_needs_a_schedule():
    with pytest.raises(CodatInputError, match="syncSchedule is missing for bills"):
        plan(current(INVOICES), read_desired([{"dataType": "bills", "syncOrder": 1}]), merge=True)


def test_taking_the_schedule_into_ones_own_hands_is_a_change_even_if_it_is_the_same():
    planned = plan(current(INVOICES, overrides_defaults=False), read_desired([INVOICES]), merge=True)
    assert [change.to_json() for change in planned.changes] == [
        {"dataType": None, "field": "overridesDefaults", "from": False, "to": True}
    ]


@pytest.mark.parametrize(
    ("is_now", "default_shape", "refused"),
    [
        ([INVOICES], "object", True),
        ([INVOICES_AT_SIX], "integer", False),
        ([], "integer", True),
        ([], "object", False),
    ],
)
def test_an_hour_of_day_is_refused_where_the_api_speaks_integers(is_now, default_shape, refused):
    desired = read_desired([{"dataType": "bills", "syncSchedule": {"intervalHours": 24, "hourOfDay": 6}}])
    if refused:
        with pytest.raises(CodatInputError, match=r"bills.*hourOfDay is 6.*Leave hourOfDay out"):
            plan(current(*is_now), desired, merge=True, default_shape=default_shape)
    else:
        planned = plan(current(*is_now), desired, merge=True, default_shape=default_shape)
        assert planned.target.shape == "object"
