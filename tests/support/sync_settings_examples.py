"""Sync settings as Codat answers them and as users want them: examples, and strategies of Hypothesis."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from airflow_provider_codat.api.sync_settings import SCHEDULE_HOURS, SyncSchedule, SyncSettings

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
    sent = (
        schedule.hours if shape == "integer" else {"intervalHours": schedule.hours, "hourOfDay": schedule.hour_of_day}
    )
    return entry | {"syncSchedule": sent}


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
