"""What an asset event says, and what a consumer reads from any of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import TRIGGERS, first_column, names

from airflow_provider_codat.api.changes import Change, change, changes_in

KNOWN = {name: st.none() | (st.integers() if name == "records" else st.text()) for name in Change.__annotations__}
CHANGES = st.fixed_dictionaries(KNOWN | {"dataType": st.text()}).map(lambda given: change(**given))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
EXTRAS = st.fixed_dictionaries({}, optional=dict.fromkeys(("payload", "changes", "dataType"), JSON))


def test_the_guide_has_a_row_for_each_entry():
    assert names(first_column(TRIGGERS, "entry")) == set(Change.__annotations__)


def test_what_is_not_known_is_left_out():
    assert change(companyId="c", dataType="bills", status=None, records=0) == {
        "companyId": "c",
        "dataType": "bills",
        "records": 0,
    }


@given(st.lists(CHANGES))
def test_a_consumer_reads_the_same_from_the_event_of_a_watcher_and_of_others(changes):
    of_watcher = {"from_trigger": True, "payload": {"changes": changes, "cursor": None}}
    assert changes_in(json.loads(json.dumps(of_watcher))) == changes
    assert [read for each in changes for read in changes_in(json.loads(json.dumps(each)))] == changes


@given(JSON | EXTRAS | EXTRAS.map(lambda payload: {"payload": payload}))
def test_any_extra_can_be_read(extra):
    assert all(isinstance(each, dict) for each in changes_in(extra))


@pytest.mark.parametrize(
    "extra",
    [None, {}, {"from_trigger": True, "payload": "a file"}, {"payload": {"changes": None}}, {"dataType": None}],
    ids=str,
)
def test_the_events_of_others_have_no_changes(extra):
    assert changes_in(extra) == []
