"""What a try of the push operator knows of the tries before it."""

import logging
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from push_runs import (
    GUID,
    NOTHING_SENT,
    SOMEBODY,
    TASK_INSTANCE,
    context,
    push,
    pushes,
    root,
    run,
    stored_write_of,
    target_of,
)
from virtual_clock import START

from airflow_provider_codat.api.writing.keys import resubmission_key
from airflow_provider_codat.api.writing.stored import EarlierTries
from airflow_provider_codat.exceptions import (
    CodatError,
)
from airflow_provider_codat.simulator import Fault
from airflow_provider_codat.tasks.earlier_tries import STORED_AS, WriteState


def write_state(*how, resubmit=False, dag_run=None, **more):
    """Return the write state of a task with two retries."""
    given = context(push(SOMEBODY), *how, **more)
    return WriteState(given | ({} if dag_run is None else {"dag_run": dag_run}), logging.getLogger(), resubmit=resubmit)


EARLIER_TRIES = {
    "the first try": ({}, EarlierTries()),
    "a retry": ({"try_number": 2}, EarlierTries(forgotten_since=START, tries=1)),
    "the last try": ({"try_number": 3}, EarlierTries(forgotten_since=START, tries=2, is_last_try=True)),
    "the only try": ({"max_tries": 0}, EarlierTries(is_last_try=True)),
}


@pytest.mark.parametrize(("how", "earlier_tries"), EARLIER_TRIES.values(), ids=EARLIER_TRIES)
def test_without_a_store_a_retry_reckons_with_all_since_the_run_began(how, earlier_tries):
    assert write_state(**how).begin() == earlier_tries


def test_a_store_that_is_empty_at_a_later_try_has_forgotten_the_earlier_ones(store):
    assert write_state(store, try_number=2).begin() == EarlierTries(forgotten_since=START, tries=1)


def test_each_try_stores_its_number_before_it_does_anything(store):
    assert write_state(store).begin() == EarlierTries()
    assert store.values == NOTHING_SENT
    assert write_state(store, try_number=2).begin() == EarlierTries(tries=1)
    assert write_state(store, try_number=4).begin() == EarlierTries(forgotten_since=START, tries=3, is_last_try=True)
    assert write_state(store, try_number=5).begin().forgotten_since == START  # the third try stays missing


def test_a_try_that_is_missing_stays_so_whatever_is_stored_after_it(store):
    write = stored_write_of(SOMEBODY, "key-1")
    third = write_state(store, try_number=3, max_tries=9)
    third.begin()
    third.keep(write)
    assert write_state(store, try_number=4, max_tries=9).begin() == EarlierTries(write, forgotten_since=START, tries=3)


def test_what_version_0_1_0_stored_is_read_and_no_try_before_it_is_missing(store):
    write = stored_write_of(SOMEBODY)
    store.values = {STORED_AS: write.to_json()}
    assert write_state(store, try_number=3).begin() == EarlierTries(write, tries=2, is_last_try=True)


@pytest.mark.parametrize(
    ("try_number", "max_tries", "is_repeated", "forgotten_since"),
    [
        (1, 2, False, None),  # not cleared yet: there is nothing to repeat
        (2, 2, False, START),
        (2, 3, True, None),  # cleared after the first try
        (3, 3, True, START),
        (4, 5, True, None),  # and after the third
    ],
)
def test_with_resubmit_each_clear_begins_anew_and_its_tries_share_a_key(
    try_number, max_tries, is_repeated, forgotten_since
):
    resubmitting = write_state(resubmit=True, try_number=try_number, max_tries=max_tries)
    target, first = target_of(SOMEBODY), root(SOMEBODY)
    key = resubmission_key(first, max_tries) if is_repeated else first
    assert (resubmitting.root(None, target), resubmitting.begin().forgotten_since) == (key, forgotten_since)
    assert resubmitting.identity == TASK_INSTANCE
    plain = write_state(try_number=try_number, max_tries=max_tries)
    assert (plain.root(None, target), plain.root(GUID, target)) == (first, GUID)


@pytest.mark.parametrize(
    ("how", "is_repeated"),
    [
        ({"try_number": 2, "max_tries": 3}, True),
        ({"try_number": 2, "max_tries": 4}, False),  # retries were lowered: after a clear, three tries came before
        ({"try_number": 2, "max_tries": 3, "clear_number": 0}, False),  # likewise, and the run was never cleared
        ({"try_number": 4, "max_tries": 3, "clear_number": 0}, False),
        ({"try_number": 2, "max_tries": 2, "clear_number": 1}, False),  # another task was cleared
    ],
)
def test_retries_that_are_lowered_are_not_taken_for_a_clear(how, is_repeated, logged):
    clear_number = how.pop("clear_number", 1)
    dag_run = moments(start_date=START)
    dag_run.clear_number = clear_number
    resubmitting = write_state(resubmit=True, dag_run=dag_run, **how)
    target = target_of(SOMEBODY)
    assert (resubmitting.root(None, target) != root(SOMEBODY)) is is_repeated
    is_told = "Airflow does not report a clear" in logged()
    assert is_told is (not is_repeated and how["max_tries"] > 2)


@pytest.mark.parametrize("has_store", [True, False])
def test_resubmit_left_set_while_retries_are_lowered_writes_one_record(has_store, codat, company, store):
    arguments = {"resubmit": True, "wait_for_completion": False}
    codat.fault(Fault("reset_after", times=None, method="POST"))
    with pytest.raises(CodatError):
        run(push(company, retries=3, **arguments), store if has_store else None, max_tries=3)
    codat.clear_faults()
    last = push(company, retries=1, **arguments)
    given = context(last, store if has_store else None, try_number=2, max_tries=3)
    given["dag_run"].clear_number = 0
    last.execute(given)
    assert len(pushes(codat, company)) == 1


@pytest.mark.parametrize(("max_tries", "is_set_aside"), [(2, False), (3, True)])
def test_with_resubmit_what_was_stored_before_the_clear_is_set_aside(max_tries, is_set_aside, store, logged):
    write = stored_write_of(SOMEBODY, "key-1")
    store.values = {STORED_AS: write.to_json()}
    earlier_tries = write_state(store, resubmit=True, try_number=2, max_tries=max_tries).begin()
    assert earlier_tries == EarlierTries(None if is_set_aside else write, tries=1)
    assert write_state(store, try_number=2, max_tries=max_tries).begin().stored == write


@pytest.mark.parametrize(("max_tries", "is_set_aside"), [(2, False), (3, True)])
def test_with_resubmit_a_clear_sets_aside_what_cannot_be_read(max_tries, is_set_aside, store):
    store.values = {STORED_AS: {"odd": True}}
    cleared = write_state(store, resubmit=True, try_number=2, max_tries=max_tries)
    if is_set_aside:
        assert cleared.begin() == EarlierTries(tries=1)
    else:
        with pytest.raises(CodatError, match="nothing is sent"):
            cleared.begin()


def moments(**seconds):
    times = {name: None if each is None else datetime.fromtimestamp(each, UTC) for name, each in seconds.items()}
    return SimpleNamespace(**times)


@pytest.mark.parametrize("dag_run", [{}, {"dag_run": None}])
def test_without_a_dag_run_a_later_try_reckons_with_all_time(dag_run):
    given = {name: value for name, value in context(push(SOMEBODY), try_number=2).items() if name != "dag_run"}
    assert WriteState(given | dag_run, logging.getLogger()).begin() == EarlierTries(forgotten_since=0.0, tries=1)


DAG_RUNS = [
    (moments(start_date=START, run_after=START - 9, logical_date=START - 99), START - 9),
    (moments(start_date=START, run_after=START - 9, logical_date=None), START - 9),
    (moments(start_date=START, run_after=START + 9, logical_date=START + 99), START),
    (moments(start_date=START, logical_date=START - 99), START - 99),
    (moments(start_date=START), START),
    (moments(start_date=None), 0.0),
]


@pytest.mark.parametrize(("dag_run", "since"), DAG_RUNS, ids=str)
@pytest.mark.parametrize("clear_number", [None, 1])
def test_a_run_began_no_earlier_than_the_time_that_no_clear_moves(clear_number, dag_run, since):
    dag_run = SimpleNamespace(**vars(dag_run) | ({} if clear_number is None else {"clear_number": clear_number}))
    assert write_state(try_number=2, dag_run=dag_run).begin().forgotten_since == since


@pytest.mark.parametrize(("dag_run", "since"), DAG_RUNS, ids=str)
def test_a_run_that_was_never_cleared_began_at_its_start_date(dag_run, since):
    never_cleared = SimpleNamespace(**vars(dag_run), clear_number=0)
    expected = START if dag_run.start_date else since
    assert write_state(try_number=2, dag_run=never_cleared).begin().forgotten_since == expected
    # A task that was cleared itself may have been so before Airflow counted it.
    assert write_state(try_number=2, max_tries=3, dag_run=never_cleared).begin().forgotten_since == since
