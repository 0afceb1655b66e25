"""Reading sync settings from an answer: what cannot be read is kept as it came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON
from sync_settings_examples import INVOICES, any_answers, current

from airflow_provider_codat.api import sync_settings
from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.sync_settings import UNSET, SyncSchedule, SyncSetting, SyncSettings, plan, read_desired

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


def test_an_answer_may_hold_what_would_be_refused_to_a_user():
    settings = SyncSettings.from_json(OPENAPI_EXAMPLE)
    assert settings.to_json("integer") == {key: OPENAPI_EXAMPLE[key] for key in ("settings", "overridesDefaults")}
    assert plan(settings, read_desired([{"dataType": "invoices", "syncOrder": 0}]), merge=True).changes == ()


@pytest.mark.parametrize("hours", [12, 2, 9999])
def test_an_answer_may_hold_hours_nobody_may_ask_for(hours):
    read = current({"dataType": "invoices", "syncSchedule": hours})
    assert read.settings[0].schedule == SyncSchedule(hours)
    planned = plan(read, read_desired([{"dataType": "bills", "syncSchedule": 24}]), merge=True)
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


@pytest.mark.parametrize(("answer", "is_read_as"), FLAGS.items(), ids=map(repr, FLAGS))
def test_whether_a_company_overrides_the_default_may_come_as_text(answer, is_read_as):
    assert SyncSettings.from_json({"settings": [], "overridesDefaults": answer}).overrides_defaults is is_read_as


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


@pytest.mark.parametrize(("fields", "schedule"), READ_AS.values(), ids=READ_AS)
def test_what_cannot_be_read_in_an_entry_is_kept_and_the_rest_is_read(fields, schedule):
    answer = [
        {"dataType": "invoices", "syncOrder": 3, **fields},
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
    with pytest.raises(CodatResponseError, match="of company c were requested, those of d came"):
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
