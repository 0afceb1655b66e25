"""The stream of a watcher on Airflow 3.3: its cursor is stored once Airflow has stored the events before it."""

import threading
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time import comms, task_runner
from trigger_runner import from_row
from watcher_runs import ids, until

from airflow_provider_codat.simulator import Outcome
from airflow_provider_codat.triggers import watching

WRITES = ["{dataType}.write.successful"]


class Store:
    """Airflow's supervisor, as far as the asset state store goes. ``fails`` answers so many times with an error."""

    refuses_writes = False

    def __init__(self):
        self.values = {}
        self.fails = 0
        self.writes = 0

    async def asend(self, message):
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the database is down")
        if isinstance(message, comms.SetAssetStateStoreByName):
            if self.refuses_writes:
                raise LookupError("no such asset")
            self.values[message.name, message.key] = message.value
            self.writes += 1
            return None
        if (message.name, message.key) not in self.values:
            return comms.ErrorResponse(error=task_runner.ErrorType.ASSET_STORE_NOT_FOUND)
        return comms.AssetStateStoreResult(value=self.values[message.name, message.key])


@pytest.fixture
def store(monkeypatch):
    store = Store()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", store, raising=False)
    return store


@pytest.fixture
def stream(clock, store):
    """Return a function that runs the stream as a triggerer does, and returns the changes that Airflow has stored.

    ``is_killed`` and ``is_stored`` say of a payload whether the triggerer is killed before the event is stored, and
    whether Airflow stores it.
    """

    def stream(trigger, seconds, is_killed=lambda _: False, is_stored=lambda _: True):
        stored, errors = [], []
        class_path, kwargs = trigger.serialize()

        async def play():
            trigger = from_row((class_path, kwargs))
            producer = type(trigger).create_shared_stream_producer(kwargs)
            async for payload, cursor in producer.open_stream():
                events = [event.payload async for event in trigger.filter_shared_stream(only(payload))]
                if any(map(is_killed, events)):
                    return
                is_clean = all(map(is_stored, events))
                stored.extend(events if is_clean else [])
                item = SimpleNamespace(outcome=SimpleNamespace(is_clean=is_clean), broker_payload=cursor)
                try:
                    await producer.advance([item])
                except RuntimeError as error:
                    errors.append(str(error))
                    return

        clock.run(until(seconds, play()))
        assert all(event["changes"] for event in stored)
        return ids(stored), errors

    return stream


async def only(payload):
    yield payload


@pytest.fixture
def pushes(codat_simulator, company):
    """Return a function that adds push operations that end after these seconds, and returns their keys."""
    return lambda *ends: [
        codat_simulator.add_push(company.id, "bills", outcome=Outcome(latency=latency)) for latency in ends
    ]


def test_what_ends_while_no_triggerer_runs_is_reported_by_the_next(trigger, stream, pushes):
    keys = pushes(100, 1_000, 2_000)
    assert stream(trigger(events=WRITES), 600) == (keys[:1], [])
    assert stream(trigger(events=WRITES), 2_000) == (keys[1:], [])


def test_the_first_poll_is_stored_so_that_a_kill_before_the_first_event_loses_nothing(trigger, stream, pushes):
    keys = pushes(100)
    assert stream(trigger(events=WRITES), 600, is_killed=bool) == ([], [])
    assert stream(trigger(events=WRITES), 600) == (keys, [])


def test_an_event_that_airflow_has_not_stored_comes_again(trigger, stream, pushes):
    keys = pushes(100)
    changes, [error] = stream(trigger(events=WRITES), 600, is_stored=lambda _: False)
    assert changes == []
    assert "Airflow has not stored an event of asset 'an-asset'" in error
    assert stream(trigger(events=WRITES), 600) == (keys, [])


def test_polls_that_find_nothing_new_store_nothing(trigger, stream, store, pushes):
    pushes(100)
    stream(trigger(events=WRITES), 1_000)
    before = store.writes
    stream(trigger(events=WRITES), 10_000)
    assert store.writes == before


def test_a_watcher_with_other_arguments_has_a_cursor_of_its_own(trigger, stream, store, pushes):
    pushes(100)
    stream(trigger(events=WRITES), 600)
    assert stream(trigger(events=[*WRITES, "read.completed"]), 600) == ([], [])
    assert len(store.values) == 2
    stream(trigger(events=WRITES, poll_interval=5), 60)
    assert len(store.values) == 2


def test_a_store_that_cannot_be_read_is_read_again(trigger, stream, store, pushes, logged):
    keys = pushes(100, 1_000)
    stream(trigger(events=WRITES), 600)
    store.fails = 5
    assert stream(trigger(events=WRITES), 2_000) == (keys[1:], [])
    assert logged().count("The cursor of the watcher of asset 'an-asset' could not be read") == 1


def test_a_cursor_that_cannot_be_stored_holds_up_no_event(trigger, stream, store, pushes, clock, logged):
    keys = pushes(100, 1_000)
    clock.after(90, lambda: setattr(store, "fails", 1_000))
    assert stream(trigger(events=WRITES), 2_000) == (keys, [])
    assert logged().count("The cursor of the watcher of asset 'an-asset' could not be stored") == 1
    store.fails = 0
    assert stream(trigger(events=WRITES), 600) == (keys, [])  # again, from the cursor that was stored last


def test_that_no_cursor_can_be_stored_is_said_also_after_none_could_be_read(trigger, stream, store, pushes, logged):
    pushes(100)
    store.fails, store.refuses_writes = 5, True
    stream(trigger(events=WRITES), 2_000)
    assert logged().count("The cursor of the watcher of asset 'an-asset' could not be stored") == 1


def test_before_3_3_2_the_store_is_read_and_written_in_a_thread(trigger, stream, store, pushes, monkeypatch):
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor

    values, threads = {}, []

    def get(accessor, key, default=None):
        threads.append(threading.get_ident())
        return values.get(key, default)

    def set_(accessor, key, value):
        threads.append(threading.get_ident())
        values[key] = value

    monkeypatch.delattr(AssetStateStoreAccessor, "aget")
    monkeypatch.delattr(AssetStateStoreAccessor, "aset")
    monkeypatch.setattr(AssetStateStoreAccessor, "get", get)
    monkeypatch.setattr(AssetStateStoreAccessor, "set", set_)
    keys = pushes(100, 1_000)
    assert stream(trigger(events=WRITES), 600) == (keys[:1], [])
    assert stream(trigger(events=WRITES), 2_000) == (keys[1:], [])
    assert len(threads) > 2
    assert threading.get_ident() not in threads


def test_without_any_stored_cursor_a_restart_is_a_new_beginning_which_the_log_says(
    trigger, stream, store, pushes, clock, logged
):
    """As with a wrong asset_name: Airflow has nothing for it, and refuses each write."""
    keys = pushes(100, 700)
    store.refuses_writes = True
    assert stream(trigger(events=WRITES), 600) == (keys[:1], [])
    assert "Without one, it begins with what ends from then on." in logged()
    clock.let_pass(200)
    assert stream(trigger(events=WRITES), 600) == ([], [])


@pytest.mark.parametrize("missing", [[""], [".aget", ".get"]])
def test_a_watcher_without_a_store_goes_on_without_a_cursor(trigger, stream, pushes, monkeypatch, logged, missing):
    for name in missing:
        monkeypatch.delattr(f"airflow.sdk.execution_time.context.AssetStateStoreAccessor{name}")
    keys = pushes(100, 1_000)
    assert stream(trigger(events=WRITES), 2_000) == (keys, [])
    lines = logged()
    assert lines.count("This Airflow has no store for the cursor of the watcher of asset 'an-asset'") == 1
    assert "could not be" not in lines


def test_a_kill_between_the_events_of_one_poll_loses_nothing(trigger, stream, pushes, monkeypatch):
    monkeypatch.setattr(watching, "MOST_CHANGES", 2)
    keys = pushes(100, 100, 100, 100, 100)
    killed_at_the_third = iter([False, False, True])
    first, _ = stream(trigger(events=WRITES), 600, is_killed=lambda _: next(killed_at_the_third))
    assert len(first) == 4
    again, _ = stream(trigger(events=WRITES), 600)
    assert sorted(again) == sorted(keys)


def test_a_changed_interval_is_another_stream_with_the_same_cursor(trigger, stream, store, pushes):
    keys = pushes(100, 1_000)
    assert stream(trigger(events=WRITES), 600) == (keys[:1], [])
    changed = trigger(events=WRITES, poll_interval=20)
    assert changed.shared_stream_key() != trigger(events=WRITES).shared_stream_key()
    assert changed.shared_stream_key() == trigger(events=WRITES, poll_interval=20.0).shared_stream_key()
    assert stream(changed, 2_000) == (keys[1:], [])


def test_watchers_of_different_assets_have_different_streams(trigger):
    keys = {
        trigger(asset_name=name, events=events).shared_stream_key()
        for name in "ab"
        for events in (WRITES, ["read.completed"])
    }
    assert len(keys) == 4
