"""A task's keys, and what its tries leave behind for one another."""

import json
import subprocess
import sys
import uuid
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.writing.keys import next_key, resubmission_key, task_instance_key
from airflow_provider_codat.api.writing.stored import StoredWrite, WriteTarget, changed_fields, fingerprint

NOW = 1_800_000_000.0
ROOT = task_instance_key("dag", "run", "task", -1)
SECOND = next_key(ROOT)
BILLS = WriteTarget("create", "company-1", "connection-1", "bills")
RECORD = {"reference": "INV-7", "totalAmount": 120.5}


# -- keys --------------------------------------------------------------------------------------------------------------

ODD_TEXTS = st.text("\"'\\,.:;/|[]{}()_- \n\t\0éß中😀", max_size=6)
TEXTS = st.text(max_size=4) | ODD_TEXTS | st.sampled_from(["a", "b", "-1"])
INSTANCES = st.tuples(TEXTS, TEXTS, TEXTS, st.integers(-1, 20))
GUIDS = st.uuids().map(str)


@given(INSTANCES, INSTANCES)
def test_two_task_instances_have_two_keys_and_one_has_one(one, other):
    assert (task_instance_key(*one) == task_instance_key(*other)) == (one == other)


@given(INSTANCES, TEXTS, TEXTS)
def test_text_that_moves_from_one_id_to_the_next_makes_another_key(instance, head, tail):
    dag_id, run_id, task_id, map_index = instance
    moved = [
        (dag_id + head + tail, run_id, task_id, map_index),
        (dag_id + head, tail + run_id, task_id, map_index),
        (dag_id, head + tail + run_id, task_id, map_index),
        (dag_id, run_id, head + tail + task_id, map_index),
    ]
    assert len({task_instance_key(*each) for each in moved}) == len(set(moved))


@given(INSTANCES)
def test_every_key_is_a_guid_of_version_5(instance):
    key = task_instance_key(*instance)
    for each in (key, next_key(key), resubmission_key(key, 3)):
        assert str(uuid.UUID(each)) == each
        assert uuid.UUID(each).version == 5


@given(GUIDS, st.lists(st.integers(0, 5), max_size=3, unique=True))
def test_each_step_of_a_chain_has_a_key_of_its_own_and_so_has_each_resubmission(root, clears):
    keys = []
    for start in (root, *(resubmission_key(root, each) for each in clears)):
        keys += [start, next_key(start), next_key(next_key(start))]
    assert len(set(keys)) == len(keys) == 3 * (1 + len(clears))


def test_the_keys_are_the_same_in_every_process():
    ids = [
        ["dag", "run", "task", -1],
        ["dag", "scheduled__2026-11-21T00:00:00+00:00", 'a"b,c', 7],
        ["ü", "中", "😀", 0],
    ]
    code = (
        "import json, sys\n"
        "from airflow_provider_codat.api.writing.keys import next_key, task_instance_key\n"
        "from airflow_provider_codat.api.writing.stored import fingerprint\n"
        "keys = [task_instance_key(*each) for each in json.load(sys.stdin)]\n"
        "print(json.dumps([[key, next_key(key), fingerprint(key, {'b': {'d': 1, 'c': 2}})] for key in keys]))\n"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], input=json.dumps(ids), capture_output=True, text=True, check=True
    )
    keys = [task_instance_key(*each) for each in ids]
    here = [[key, next_key(key), fingerprint(key, {"b": {"c": 2, "d": 1}})] for key in keys]
    assert json.loads(done.stdout) == here


def test_the_keys_are_those_of_earlier_releases():
    """A retry after an upgrade must ask for the write that the try before it has sent."""
    assert ROOT == "c0f9e805-5704-541c-811d-9ebcb8fcce87"
    assert SECOND == "bdc8e153-5758-5ce2-9ff1-8458797da57e"


# -- what is stored ---------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=6,
)
TARGETS = st.builds(WriteTarget, *[st.text()] * 4, st.none() | st.text())
TRACES = st.builds(
    StoredWrite,
    key=GUIDS,
    target=TARGETS,
    max_tries=st.integers(0, 99),
    sent_on=st.none() | st.floats(0, 4e9) | st.integers(0, 4 * 10**9),
    operation_key=st.none() | st.text(),
    refused=st.booleans(),
    fingerprint=st.dictionaries(st.text(), st.text()),
)


@given(TRACES)
def test_a_stored_write_comes_back_from_the_store_as_it_was(write):
    assert StoredWrite.from_json(json.loads(json.dumps(write.to_json(), allow_nan=False))) == write


READABLE = StoredWrite(ROOT, BILLS, 2, NOW).to_json()
UNREADABLE = {
    "nothing in it": {},
    "text": "codat",
    "a number": 7,
    "a list": [READABLE],
    "no key": {name: value for name, value in READABLE.items() if name != "idempotencyKey"},
    "a key that is no text": READABLE | {"idempotencyKey": None},
    "a key that is no GUID": READABLE | {"idempotencyKey": "bill-7"},
    "no target": READABLE | {"target": None},
    "half a target": READABLE | {"target": {"operation": "create"}},
    **{f"a target with an odd {name}": READABLE | {"target": asdict(BILLS) | {name: 7}} for name in asdict(BILLS)},
    "an odd number of tries": READABLE | {"maxTries": "2"},
    "a time in words": READABLE | {"sentOn": "yesterday"},
    "an operation that is no text": READABLE | {"pushOperationKey": 7},
    "a flag in words": READABLE | {"refused": "no"},
    "a fingerprint that is none": READABLE | {"fingerprint": "abc"},
}


@pytest.mark.parametrize("stored", UNREADABLE.values(), ids=UNREADABLE)
def test_a_stored_write_that_cannot_be_read_is_refused_with_a_way_on(stored):
    with pytest.raises(CodatError, match=r"nothing is sent(.|\n)*resubmit=True"):
        StoredWrite.from_json(stored)


@given(VALUES)
def test_anything_but_a_stored_write_is_refused(value):
    with pytest.raises(CodatError):
        StoredWrite.from_json(value)


def test_a_field_that_a_later_release_added_to_a_stored_write_does_not_hinder_reading_it():
    assert StoredWrite.from_json(READABLE | {"later": 1}) == StoredWrite(ROOT, BILLS, 2, NOW)


RECORDS = st.dictionaries(st.text(), VALUES, max_size=4)
LONG_TEXTS = st.text(st.characters(codec="ascii", categories=["Lu"]), min_size=5)  # no hash is in upper case
TELLING = LONG_TEXTS | st.lists(LONG_TEXTS) | st.floats(1e6)


@given(GUIDS, st.dictionaries(st.text("abc", min_size=1), TELLING, max_size=4))
def test_a_fingerprint_has_each_field_by_name_and_no_value(root, record):
    hashes = fingerprint(root, record)
    assert hashes.keys() == record.keys()
    for value in record.values():
        for each in value if isinstance(value, list) else [value]:
            assert str(each) not in str(hashes.values())


@given(GUIDS, RECORDS, st.text(), VALUES, VALUES)
def test_a_fingerprint_differs_in_the_field_that_differs_and_in_no_other(root, record, name, before, after):
    one, other = fingerprint(root, record | {name: before}), fingerprint(root, record | {name: after})
    differing = {each for each in one if one[each] != other[each]}
    is_other = json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True)
    assert differing == ({name} if is_other else set())


def test_a_fingerprint_is_of_the_content_and_salted():
    assert fingerprint(ROOT, {"a": {"b": 1, "c": 2}}) == fingerprint(ROOT, {"a": {"c": 2, "b": 1}})
    assert set(fingerprint(ROOT, RECORD).values()).isdisjoint(fingerprint(SECOND, RECORD).values())


def test_a_fingerprint_takes_what_json_takes():
    assert fingerprint(ROOT, {7: {1: "a", "b": 2}}) == fingerprint(ROOT, {"7": {"1": "a", "b": 2}})


@given(GUIDS, RECORDS, RECORDS)
def test_the_fields_that_changed_are_named(salt, before, now):
    changed = changed_fields(fingerprint(salt, before), fingerprint(salt, now))
    if not before or not now:
        assert changed == []
        return
    texts = [{name: json.dumps(value, sort_keys=True) for name, value in each.items()} for each in (before, now)]
    assert changed == sorted(name for name in before | now if texts[0].get(name) != texts[1].get(name))


def test_what_changed_of_a_target_is_reported_with_both_values():
    elsewhere = replace(BILLS, company_id="company-2", record_id="bill-7")
    assert BILLS.changed_since(BILLS) == []
    assert elsewhere.changed_since(BILLS) == [
        "company_id was 'company-1' and is 'company-2'",
        "record_id was None and is 'bill-7'",
    ]
    assert str(BILLS) == "bills of company company-1"
