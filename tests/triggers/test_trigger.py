"""The trigger: its row, its deadline, its manners towards a Codat in trouble, and its event."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from trigger_runner import from_row, run_trigger, through_the_database
from virtual_clock import START

from airflow_provider_codat.simulator import Fault, Outcome
from airflow_provider_codat.simulator.faults import KINDS
from airflow_provider_codat.triggers import operation
from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger

INTERVAL = 30.0
SOON = 0.5
"""How late a check may come, in virtual seconds."""
GOLDEN = json.loads(Path(__file__).with_name("golden_trigger_kwargs.json").read_text())


@pytest.fixture
def push(codat_simulator, codat_connection):
    """Return a function that adds a push and returns a trigger that waits for it."""

    def push(outcome=None, **arguments):
        company = codat_simulator.add_company()
        key = codat_simulator.add_push(company.id, outcome=outcome)
        defaults = {"deadline": START + 300, "poke_interval": INTERVAL, "exponential_backoff": False}
        return CodatPushOperationTrigger(company.id, key, **defaults | arguments)

    return push


# -- the row -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def triggerer(monkeypatch):
    """Tell triggers the limit that Airflow has set, as a triggerer does, and have none end its task."""

    async def refuse(*_):
        raise ConnectionError

    monkeypatch.setattr(CodatPushOperationTrigger, "timeout_after", datetime.fromtimestamp(START + 3600, UTC))
    monkeypatch.setattr(operation, "task_success", refuse)


@pytest.mark.parametrize("kwargs", GOLDEN)
def test_every_row_ever_written_still_builds_and_runs(kwargs, push, clock, triggerer):
    here = push(Outcome(record_id="record-1"))
    row = CodatPushOperationTrigger(
        **kwargs | {"company_id": here.company_id, "push_operation_key": here.push_operation_key}
    )
    event = run_trigger(row, clock)
    assert (event["outcome"], event["operation"]["recordId"]) == ("ended", "record-1")


@pytest.mark.parametrize("kwargs", GOLDEN)
def test_a_row_survives_being_written_again(kwargs):
    row = through_the_database(CodatPushOperationTrigger(**kwargs).serialize())
    assert kwargs.items() <= row[1].items()
    assert through_the_database(from_row(row).serialize()) == row


def test_the_golden_file_holds_the_arguments_of_today():
    """Whoever adds an argument gives it a default, keeps the old entries, and adds one."""
    written_today = CodatPushOperationTrigger("c", "k").serialize()[1].keys()
    assert written_today == GOLDEN[-1].keys()


# -- the deadline ------------------------------------------------------------------------------------------------------


def test_a_restart_does_not_move_the_deadline(push, clock, codat_simulator):
    trigger = push()
    for _ in range(3):
        clock.let_pass(90)
        trigger = from_row(trigger.serialize())
        assert trigger.deadline == START + 300
    event = {"outcome": "timed_out", "lastStatus": "Pending", "trouble": None}
    event["pushOperationKey"] = trigger.push_operation_key
    assert run_trigger(trigger, clock) == event
    assert 300 <= clock.passed < 301


def test_a_restart_does_not_shorten_the_pauses(push, clock):
    trigger = push(deadline=START + 100, exponential_backoff=None, waiting_since=START - 600)
    run_trigger(from_row(trigger.serialize()), clock)
    assert clock.requested_at() == pytest.approx([0, 60, 100], abs=SOON)


def test_the_last_check_comes_at_the_deadline(push, clock):
    run_trigger(push(deadline=START + 2 * INTERVAL + 2), clock)
    assert clock.requested_at() == pytest.approx([0, INTERVAL, 2 * INTERVAL, 2 * INTERVAL + 2], abs=SOON)


@pytest.mark.parametrize(
    ("outcome", "event"), [(Outcome(), "ended"), (Outcome("Failed"), "ended"), (None, "timed_out")]
)
def test_after_the_deadline_the_status_still_counts_before_the_clock(outcome, event, push, clock, codat_simulator):
    trigger = push(outcome, deadline=START - 1000)
    assert run_trigger(trigger, clock)["outcome"] == event
    assert codat_simulator.count() == 1
    assert clock.passed < SOON


def test_the_first_check_waits_for_its_time_but_not_beyond_the_deadline(push, clock, codat_simulator):
    run_trigger(push(Outcome(), not_before=START + 120), clock)
    run_trigger(push(not_before=START + 9999, deadline=START + 150), clock)
    assert clock.requested_at() == pytest.approx([120, 150], abs=SOON)
    assert codat_simulator.count() == 2


# -- trouble -----------------------------------------------------------------------------------------------------------

FAULTS = {
    "status": {"status": 500},
    "gateway": {"status": 503},
    "not_found": {},
    "html": {},
    "reset": {},
    "reset_after": {},
    "truncated": {},
    "latency": {"seconds": 0.05},
    "hang": {},
    "hold": {},
    "unknown_status": {},
}


def test_the_table_of_faults_is_complete():
    assert FAULTS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", FAULTS)
def test_each_kind_of_fault_is_survived(kind, push, connect, clock, codat_simulator):
    trigger = push(Outcome(record_id="record-1"), poke_interval=10.0)
    connect(read_timeout=0.3 if kind in ("hang", "hold") else 60)
    codat_simulator.fault(Fault(kind, times=3, **FAULTS[kind]))
    event = run_trigger(trigger, clock)
    assert (event["outcome"], event["operation"]["status"]) == ("ended", "Success")
    checks = 1 if kind == "latency" else 4
    assert codat_simulator.count() == len(clock.sent) == checks
    # a check that hangs takes the read timeout
    assert clock.pauses() == pytest.approx([10.0] * (checks - 1), abs=0.4)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize(
    ("retry_after", "most"), [(None, 11), (0, 11), (2, 11), ("soon", 11), (100, 1 + 300 / 100), (86400, 2)]
)
def test_an_outage_is_asked_about_once_an_interval(status, retry_after, most, push, clock, codat_simulator):
    codat_simulator.fault(Fault("status", status=status, retry_after=retry_after, times=None))
    event = run_trigger(push(), clock)
    assert (event["outcome"], event["lastStatus"]) == ("timed_out", None)
    assert f"Codat answered {status} to GET" in event["trouble"]
    # a 429 holds for the whole connection: if it outlasts the deadline, there is no last check
    is_silenced = (status, retry_after) == (429, 86400)
    assert 2 - is_silenced <= codat_simulator.count() <= most
    assert codat_simulator.count() == len(clock.sent)
    # the last pause is cut short by the deadline
    assert all(
        pause >= max(INTERVAL, retry_after if isinstance(retry_after, int) else 0) for pause in clock.pauses()[:-1]
    )
    assert is_silenced or clock.requested_at()[-1] == pytest.approx(300, abs=SOON)
    assert 300 <= clock.passed < 320


def test_a_network_that_is_gone_is_asked_at_growing_pauses(push, clock, codat_simulator):
    codat_simulator.fault(Fault("reset", times=None))
    assert run_trigger(push(), clock)["outcome"] == "timed_out"
    assert codat_simulator.count() <= 12
    assert max(clock.pauses()) == pytest.approx(60, abs=SOON)
    assert 300 <= clock.passed < 320


@pytest.mark.parametrize("kind", ["truncated", "html"])
def test_a_broken_answer_is_asked_for_again_once_an_interval(kind, push, clock, codat_simulator):
    codat_simulator.fault(Fault(kind, times=None))
    assert run_trigger(push(), clock)["outcome"] == "timed_out"
    assert codat_simulator.count() <= 1 + 300 / INTERVAL
    assert min(clock.pauses()) >= INTERVAL - SOON
    assert max(clock.pauses()) <= 60 + INTERVAL


def test_a_codat_that_is_not_there_is_waited_for(push, clock, codat_simulator):
    trigger = push(Outcome())
    codat_simulator.stop()
    clock.after(60, codat_simulator.start)
    assert run_trigger(trigger, clock)["outcome"] == "ended"
    assert clock.requested_at() == pytest.approx([0, INTERVAL, 2 * INTERVAL], abs=SOON)


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 409, 418])
def test_an_error_that_waiting_cannot_help_ends_the_wait_at_once(status, push, clock, codat_simulator):
    codat_simulator.fault(Fault("status", status=status, times=None))
    event = run_trigger(push(), clock)
    assert (event["outcome"], event["error"]["statusCode"]) == ("failed", status)
    assert codat_simulator.count() == 1
    assert clock.passed < SOON


def test_a_wrong_key_ends_the_wait_at_once(push, connect, clock, codat_simulator):
    connect(password="another-key")
    event = run_trigger(push(), clock)
    assert event["error"]["statusCode"] == 401
    assert codat_simulator.count() == 1
    assert clock.passed < SOON


@pytest.mark.parametrize(
    ("connection", "says", "seconds"),
    [
        (None, "The conn_id `books` isn't defined", 60),  # Airflow says the same while a secrets backend is down
        ('{"conn_type": "codat"}', "password", 0),
        ('{"conn_type": "codat", "password": "k", "extra": {"max_attempts": "x"}}', "max_attempts", 0),
    ],
)
def test_a_connection_that_cannot_be_used_becomes_an_event_too(connection, says, seconds, push, clock, monkeypatch):
    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_BOOKS", connection)
    event = run_trigger(push(codat_conn_id="books"), clock)
    assert event["outcome"] == "failed"
    assert says in event["error"]["message"]
    assert clock.passed == pytest.approx(seconds, abs=SOON)


# -- the key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [None, Fault("status", status=401), Fault("reset"), Fault("status", status=500), Fault("html")]
)
def test_the_key_is_in_no_row_event_log_or_repr(fault, push, clock, codat_simulator, logged):
    if fault is not None:
        codat_simulator.fault(fault)
    trigger = push(Outcome("Failed", polls=2))
    shown = f"{trigger!r} {trigger} {vars(trigger)} {trigger.serialize()} {run_trigger(trigger, clock)} {logged()}"
    key = codat_simulator.api_key
    assert codat_simulator.count() > 0
    for secret in (key, base64.b64encode(key.encode()).decode()):
        assert secret not in shown
