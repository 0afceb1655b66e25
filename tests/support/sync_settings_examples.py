"""Sync settings as Codat answers them and as users want them: examples, and strategies of Hypothesis."""

import functools
from datetime import UTC, datetime

from hypothesis import strategies as st
from json_values import JSON

from airflow_provider_codat.api.sync_settings import SCHEDULE_HOURS, SyncSettings

INVOICES = {"dataType": "invoices", "syncSchedule": 24, "fetchOnFirstLink": True, "syncOrder": 0}
INVOICES_AT_SIX = INVOICES | {"syncSchedule": {"intervalHours": 24, "hourOfDay": 6}}
FROM_UTC = {"syncFromUtc": "2020-01-01T12:00:00.000Z"}


def current(*entries, overrides_defaults=True):
    return SyncSettings.from_json({"overridesDefaults": overrides_defaults, "settings": list(entries)})


DATA_TYPES = ["invoices", "bills", "company", "balanceSheet", "profitAndLoss", "somethingNew"]
REPORTS = {"balanceSheet", "profitAndLoss"}
hours = st.sampled_from(sorted(SCHEDULE_HOURS))
any_hours = hours | st.integers(0, 9999)  # an answer may hold what nobody may ask for
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)
shapes = st.sampled_from(["integer", "object"])


# Hypothesis takes longer to build a strategy than to draw from it, so each is built once.


@functools.cache
def current_settings(shape):
    """Return settings of an answer, in Codat's shape, each of another data type."""
    fields = {"intervalHours": any_hours, "hourOfDay": st.integers(0, 23)}
    entries = st.fixed_dictionaries(
        {
            "dataType": st.sampled_from(DATA_TYPES),
            "syncSchedule": any_hours if shape == "integer" else st.fixed_dictionaries(fields),
        },
        optional={
            "fetchOnFirstLink": st.booleans(),
            "syncOrder": st.integers(0, 9),
            "syncFromUtc": st.none() | times.map(lambda time: time.isoformat()),
            "syncFromWindow": st.none() | st.integers(0, 99),
            "monthsToSync": st.none() | st.integers(0, 99),
            "isLocked": st.none() | st.booleans(),
            "fieldOfTomorrow": st.none() | st.integers() | st.lists(st.text(max_size=3), max_size=2),
        },
    )
    return st.lists(entries, max_size=5, unique_by=lambda entry: entry["dataType"])


schedule_objects = st.fixed_dictionaries({"intervalHours": hours}, optional={"hourOfDay": st.integers(0, 23)})


@functools.cache
def desired_entries(shape, data_type):
    """Return what is wanted for a data type: with a time to begin at, a window, or none of them."""
    required = {
        "dataType": st.just(data_type),
        "syncSchedule": hours if shape == "integer" else hours | schedule_objects,
    }
    optional = {
        "fetchOnFirstLink": st.booleans(),
        "syncOrder": st.integers(0, 9),
        "isLocked": st.booleans(),
        "monthsToSync": st.none() | (st.integers(0, 99) if data_type in REPORTS else st.nothing()),
    }
    at_a_time = {"syncFromUtc": times.map(lambda time: time.isoformat())}
    in_a_window = {"syncFromWindow": st.integers(0, 99)}
    neither = {"syncFromUtc": st.none(), "syncFromWindow": st.none()}
    return (
        st.fixed_dictionaries(required | at_a_time, optional=optional)
        | st.fixed_dictionaries(required | in_a_window, optional=optional)
        | st.fixed_dictionaries(required, optional=optional | neither)
    )


NAMED = st.lists(st.sampled_from(DATA_TYPES), unique=True, max_size=4)


@st.composite
def situations(draw):
    """Return (shape, the API's answer, what is wanted)."""
    shape = draw(shapes)
    answer = {
        "overridesDefaults": draw(st.booleans()),
        "settings": draw(current_settings(shape)),
    }
    wanted = [draw(desired_entries(shape, data_type)) for data_type in draw(NAMED)]
    return shape, answer, wanted


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
