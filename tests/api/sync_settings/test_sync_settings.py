"""Sync settings: what is read, what is refused, and what is planned."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api import sync_settings
from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError
from airflow_provider_codat.api.sync_settings import (
    SCHEDULE_HOURS,
    UNSET,
    SyncSchedule,
    SyncSetting,
    SyncSettings,
    plan,
    plan_default,
    read_desired,
)

# The example of Codat's OpenAPI description, sync settings of a company.
OPENAPI_EXAMPLE = {
    "companyId": "39b73b17-cc2e-429e-915d-71654e9dcd1e",
    "overridesDefaults": True,
    "settings": [
        {
            "dataType": "invoices",
            "fetchOnFirstLink": True,
            "syncSchedule": 24,
            "syncOrder": 0,
            "syncFromUtc": "2020-01-01T12:00:00.000Z",
            "syncFromWindow": 24,
            "monthsToSync": 24,
            "isLocked": True,
        },
    ],
}

# -- strategies --------------------------------------------------------------------------------------------------------

DATA_TYPES = ["invoices", "bills", "company", "balanceSheet", "profitAndLoss", "somethingNew"]
REPORTS = {"balanceSheet", "profitAndLoss"}
hours = st.sampled_from(sorted(SCHEDULE_HOURS))
any_hours = hours | st.integers(0, 9999)  # an answer may hold what nobody may ask for
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)
shapes = st.sampled_from(["integer", "object"])


def schedules(shape, hours=hours):
    if shape == "integer":
        return st.builds(SyncSchedule, hours)
    return st.builds(SyncSchedule, hours, st.integers(0, 23))


@st.composite
def current_entries(draw, shape):
    """Return an entry of an answer, in Codat's shape."""
    data_type = draw(st.sampled_from(DATA_TYPES))
    schedule = draw(schedules(shape, any_hours))
    optional = {
        "fetchOnFirstLink": st.booleans(),
        "syncOrder": st.integers(0, 9),
        "syncFromUtc": st.none() | times.map(lambda time: time.isoformat()),
        "syncFromWindow": st.none() | st.integers(0, 99),
        "monthsToSync": st.none() | st.integers(0, 99),
        "isLocked": st.none() | st.booleans(),
        "fieldOfTomorrow": st.none() | st.integers() | st.lists(st.text(max_size=3), max_size=2),
    }
    entry = draw(st.fixed_dictionaries({"dataType": st.just(data_type)}, optional=optional))
    wire = (
        schedule.hours if shape == "integer" else {"intervalHours": schedule.hours, "hourOfDay": schedule.hour_of_day}
    )
    return entry | {"syncSchedule": wire}


schedule_objects = st.fixed_dictionaries({"intervalHours": hours}, optional={"hourOfDay": st.integers(0, 23)})


def by_data_type(entries):
    return st.lists(entries, max_size=5, unique_by=lambda entry: entry["dataType"])


@st.composite
def desired_entries(draw, shape, data_type):
    start = draw(st.sampled_from(["syncFromUtc", "syncFromWindow", None]))
    entry = {
        "dataType": data_type,
        "syncSchedule": draw(hours if shape == "integer" else hours | schedule_objects),
    }
    optional = {
        "fetchOnFirstLink": st.booleans(),
        "syncOrder": st.integers(0, 9),
        "isLocked": st.booleans(),
        "monthsToSync": st.none() | (st.integers(0, 99) if data_type in REPORTS else st.nothing()),
    }
    if start == "syncFromUtc":
        entry |= {start: draw(times).isoformat()}
    elif start == "syncFromWindow":
        entry |= {start: draw(st.integers(0, 99))}
    else:
        optional |= {"syncFromUtc": st.none(), "syncFromWindow": st.none()}
    return entry | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def situations(draw):
    """Return (shape, the API's answer, what is wanted)."""
    shape = draw(shapes)
    answer = {
        "overridesDefaults": draw(st.booleans()),
        "settings": draw(by_data_type(current_entries(shape))),
    }
    named = draw(st.lists(st.sampled_from(DATA_TYPES), unique=True, max_size=4))
    wanted = [draw(desired_entries(shape, data_type)) for data_type in named]
    return shape, answer, wanted


def written(planned, shape):
    """Return what the API holds after the plan was written: what was sent."""
    request = sync_settings.update_company_sync_settings(
        "c", planned.target, overrides_defaults=planned.target.overrides_defaults, shape=shape
    )
    assert request.body["companyId"] == "c"
    return {name: value for name, value in request.body.items() if name != "companyId"}


def entries_of(answer):
    return {entry["dataType"]: entry for entry in answer["settings"]}


# -- plans -------------------------------------------------------------------------------------------------------------


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
        told = SyncSetting.from_answer(now[entry["dataType"]])
        for setting, name in [(told, "schedule"), (told, "sync_from_utc"), (told, "sync_from_window")]:
            asked = getattr(SyncSetting.from_json(entry), name)
            if name == "schedule":
                assert told.schedule.hours == asked.hours
                assert asked.hour_of_day in (None, told.schedule.hour_of_day)
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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
long_times = st.builds(
    "{:%Y-%m-%dT%H:%M:%S}.{:07}{}".format, times, st.integers(0, 9999999), st.sampled_from(["", "Z"])
)
schedules_of_tomorrow = st.fixed_dictionaries(
    {}, optional={"intervalHours": any_hours | JSON, "hourOfDay": st.integers(0, 23) | JSON, "minute": JSON}
)
FIELDS = {
    "syncSchedule": any_hours | any_hours.map(str) | schedules_of_tomorrow | JSON,
    "fetchOnFirstLink": st.booleans() | JSON,
    "syncOrder": st.integers(0, 9) | JSON,
    "syncFromUtc": long_times | JSON,
    "syncFromWindow": st.integers(0, 99) | st.just("12") | JSON,
    "monthsToSync": st.integers(0, 99) | JSON,
    "isLocked": st.booleans() | st.sampled_from(["True", "no"]) | JSON,
    "fieldOfTomorrow": JSON,
}
any_entries = st.fixed_dictionaries({"dataType": st.sampled_from(DATA_TYPES) | JSON}, optional=FIELDS) | JSON
any_answers = st.fixed_dictionaries({}, optional={"companyId": st.just("c"), "settings": st.lists(any_entries)}).filter(
    bool
)


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


def current(*entries, overrides_defaults=True):
    return SyncSettings.from_json({"overridesDefaults": overrides_defaults, "settings": list(entries)})


INVOICES = {"dataType": "invoices", "syncSchedule": 24, "fetchOnFirstLink": True, "syncOrder": 0}
INVOICES_AT_SIX = INVOICES | {"syncSchedule": {"intervalHours": 24, "hourOfDay": 6}}
FROM_UTC = {"syncFromUtc": "2020-01-01T12:00:00.000Z"}
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


# -- reading answers ---------------------------------------------------------------------------------------------------


def test_an_answer_may_hold_what_would_be_refused_to_a_user():
    settings = SyncSettings.from_json(OPENAPI_EXAMPLE)
    assert settings.to_json("integer") == {key: OPENAPI_EXAMPLE[key] for key in ("settings", "overridesDefaults")}
    assert plan(settings, read_desired([{"dataType": "invoices", "syncOrder": 0}]), merge=True).changes == ()


@pytest.mark.parametrize("hours", [12, 2, 9999])
def test_an_answer_may_hold_hours_nobody_may_ask_for(hours):
    told = current({"dataType": "invoices", "syncSchedule": hours})
    assert told.settings[0].schedule == SyncSchedule(hours)
    planned = plan(told, read_desired([{"dataType": "bills", "syncSchedule": 24}]), merge=True)
    assert planned.target.to_json("integer")["settings"][0]["syncSchedule"] == hours


def test_nulls_of_an_answer_read_as_left_out():
    nulls = dict.fromkeys(
        ["fetchOnFirstLink", "syncOrder", "syncFromUtc", "syncFromWindow", "monthsToSync", "isLocked"]
    )
    assert current({"dataType": "invoices", "syncSchedule": 24} | nulls) == current(
        {"dataType": "invoices", "syncSchedule": 24}
    )


@pytest.mark.parametrize(
    ("schedules", "shape"),
    [([24], "integer"), ([{"intervalHours": 24}], "object"), ([], None), ([24, {"intervalHours": 24}], "object")],
)
def test_the_shape_is_the_one_the_api_was_seen_to_speak(schedules, shape):
    entries = [{"dataType": f"type{n}", "syncSchedule": schedule} for n, schedule in enumerate(schedules)]
    assert current(*entries).shape == shape


UNREADABLE = {
    "null": None,
    "a list": [INVOICES],
    "an object of something else": {"error": "Please stand by"},
    "settings no list": {"settings": {}},
    "overridesDefaults in words": {"settings": [], "overridesDefaults": "perhaps"},
    "overridesDefaults a number": {"settings": [], "overridesDefaults": 1},
    "overridesDefaults a list": {"settings": [], "overridesDefaults": []},
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_an_answer_of_another_shape_is_a_response_error(body):
    with pytest.raises(CodatResponseError):
        SyncSettings.from_json(body)


@pytest.mark.parametrize("answer", [{"overridesDefaults": True}, {"overridesDefaults": True, "settings": None}])
def test_a_list_that_is_left_out_is_empty(answer):
    settings = SyncSettings.from_json(answer)
    assert (settings.settings, settings.unreadable, settings.shape) == ((), (), None)


FLAGS = {"true": True, "False": False, "false": False, " TRUE ": True, True: True, False: False, None: False}


@pytest.mark.parametrize(("told", "is_read_as"), FLAGS.items(), ids=map(repr, FLAGS))
def test_whether_a_company_overrides_the_default_may_come_as_text(told, is_read_as):
    assert SyncSettings.from_json({"settings": [], "overridesDefaults": told}).overrides_defaults is is_read_as


def test_whether_a_company_overrides_the_default_is_named_where_it_cannot_be_read():
    with pytest.raises(CodatResponseError, match=r"overridesDefaults is 'perhaps': give true or false"):
        SyncSettings.from_json({"settings": [], "overridesDefaults": "perhaps"})


def test_an_answer_without_a_word_on_the_default_is_of_a_company_that_has_it():
    assert SyncSettings.from_json({"settings": []}).overrides_defaults is False


READ_AS = {
    "a field nobody knows in the schedule": ({"syncSchedule": {"intervalHours": 24, "minute": 3}}, SyncSchedule(24)),
    "a schedule in words": ({"syncSchedule": "daily"}, UNSET),
    "a schedule that is a list": ({"syncSchedule": [24]}, UNSET),
    "a schedule without hours": ({"syncSchedule": {"hourOfDay": 6}}, UNSET),
    "hours in words": ({"syncSchedule": {"intervalHours": "many"}}, UNSET),
    "a number of too many digits": ({"syncSchedule": "9" * 5000}, UNSET),
}


@pytest.mark.parametrize(("told", "schedule"), READ_AS.values(), ids=READ_AS)
def test_what_cannot_be_read_in_an_entry_is_kept_and_the_rest_is_read(told, schedule):
    answer = [
        {"dataType": "invoices", "syncOrder": 3, **told},
        "nonsense",
        {"syncSchedule": 24},
        {"dataType": 7},
        {"dataType": " "},
    ]
    settings = current(*answer)
    assert settings.settings == (SyncSetting("invoices", schedule, sync_order=3),)
    assert settings.unreadable == ("nonsense", {"syncSchedule": 24}, {"dataType": 7}, {"dataType": " "})
    assert settings.to_json(None)["settings"] == answer
    planned = plan(settings, read_desired([{"dataType": "invoices", "syncOrder": 4}]), merge=True)
    assert planned.target.to_json(None)["settings"] == [answer[0] | {"syncOrder": 4}, *answer[1:]]


def test_a_start_that_cannot_be_read_can_be_cleared():
    planned = plan(
        current(INVOICES | {"syncFromUtc": "soon"}), read_desired([{**INVOICES, "syncFromUtc": None}]), merge=True
    )
    assert planned.target.to_json(None)["settings"] == [INVOICES]


def test_an_answer_about_another_company_is_no_answer():
    request = sync_settings.get_company_sync_settings("c")
    assert request.read({"companyId": "C", "settings": []}).settings == ()
    with pytest.raises(CodatResponseError, match="of company c were asked for, those of d came"):
        request.read({"companyId": "d", "settings": []})


@given(
    JSON
    | any_answers
    | st.fixed_dictionaries({}, optional={"settings": JSON, "overridesDefaults": JSON, "clientId": JSON})
)
def test_no_answer_raises_anything_else(body):
    try:
        read = sync_settings.get_company_sync_settings("c").read(body)
    except CodatResponseError:
        return
    assert len(read.settings) + len(read.unreadable) == len(body.get("settings") or [])


# -- reading what a user wants -----------------------------------------------------------------------------------------


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
        ["invoices", "syncFromUtc", "syncFromWindow", "one or the other"],
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


# -- what is sent ------------------------------------------------------------------------------------------------------


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
        ([SyncSetting("invoices", SyncSchedule(24, 6))], "hours alone"),
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
    told = current(INVOICES_AT_SIX, {**INVOICES, "dataType": "bills"})
    planned = plan(told, read_desired([{"dataType": "bills", "syncSchedule": 168}]), merge=True)
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
