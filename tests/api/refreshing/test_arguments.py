"""Arguments that say which data is meant, as literals and as the text of templates."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as some

from airflow_provider_codat.api.data_types import KNOWN_DATA_TYPES
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.refreshing.arguments import read_data_types, read_named_data_types, read_since


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (None, None),
        ("null", None),
        ("Bills", ("bills",)),
        ('"bills"', ("bills",)),
        (' ["bills", "accounts"]', ("bills", "chartOfAccounts")),
        (["bills", "Bills", "mine"], ("bills", "mine")),
        (("bills",), ("bills",)),
        ({"bills"}, ("bills",)),
        ({"Bills": 1}.keys(), ("bills",)),
        ((each for each in ["bills"]), ("bills",)),
    ],
)
def test_data_types_are_read(value, read):
    assert read_data_types(value) == read


@given(some.lists(some.sampled_from(sorted(KNOWN_DATA_TYPES)), min_size=1, unique=True))
def test_the_json_of_data_types_is_read_as_they_are(names):
    assert read_data_types(json.dumps(names)) == read_data_types(names) == tuple(names)
    assert read_data_types(json.dumps(names[0])) == (names[0],)
    # The output of a task that is JSON text, as the triggerer reads it.
    assert read_data_types(json.dumps(json.dumps(names))) == tuple(names)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "data_types is empty"),
        ("[]", "data_types is empty"),
        ("['bills']", "text that is not JSON: append | tojson"),
        ('"bills', "text that is not JSON"),
        ("None", "data_types is 'None'"),
        ("", "data_types is empty"),
        ("[null]", "data_types must be a string"),
        ("[1]", "data_types must be a string"),
        (5, "data_types is 5: give a data type such as 'invoices', or a list of them"),
        (True, "data_types is True: give a data type"),
        ({"bills": "invoices"}, "data_types is {'bills': 'invoices'}: give a data type"),
        ({}, "data_types is {}: give a data type"),
    ],
)
def test_what_are_no_data_types_is_an_error(value, says):
    with pytest.raises(CodatInputError) as raised:
        read_data_types(value)
    assert says in str(raised.value)


@pytest.mark.parametrize("value", [None, "null"])
def test_some_arguments_have_to_name_them(value):
    with pytest.raises(CodatInputError, match="data_types is None: give a data type, or a list of them"):
        read_named_data_types(value)
    assert read_named_data_types("bills") == ("bills",)


@given(
    some.datetimes(
        datetime(1900, 1, 1),
        datetime(2900, 1, 1),
        timezones=some.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
    )
)
def test_a_time_and_its_texts_are_one_time(moment):
    assert read_since(moment) == read_since(moment.isoformat()) == read_since(str(moment)) == moment.timestamp()
    as_utc = moment.astimezone(UTC).replace(tzinfo=None)
    assert read_since(as_utc) == read_since(as_utc.isoformat()) == moment.timestamp()


@pytest.mark.parametrize("value", [None, "null"])
def test_no_time_is_none(value):
    assert read_since(value) is None


@pytest.mark.parametrize("value", ["", "None", "yesterday", 5, ["2027-01-01"]])
def test_what_is_no_time_is_an_error(value):
    with pytest.raises(CodatInputError, match=r"since is .*: give a datetime, or ISO 8601 text"):
        read_since(value)
