"""A stage for writes that go wrong: a simulated Codat, a task that writes, steps that happen to them, and what is seen.

``fault_cases.py`` explains the words for what is seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import requests
from task_driver import TaskDriver, Trap

from airflow_provider_codat.exceptions import CodatWriteOutcomeUnknown
from airflow_provider_codat.operators.codat import CodatPushOperator
from airflow_provider_codat.simulator import Fault, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from task_driver import FileStore, Try
    from virtual_clock import VirtualClock

    from airflow_provider_codat.simulator import CodatSimulator, LoggedRequest

MINUTES = 60.0
METHODS = {"create": "POST", "update": "PUT", "delete": "DELETE"}
RECORD_ID = "bill-17"


@dataclass
class Stage:
    """A company at a simulated Codat, a task that writes to it, and what is seen of it.

    ``wanted`` is how often the user wants the record written, ``others`` the push operations of others.

    :param operation: the task's.
    :param store: the task's state store, or ``None``.
    """

    codat: CodatSimulator
    clock: VirtualClock
    connect: Callable[..., object]
    monkeypatch: pytest.MonkeyPatch
    operation: str
    store: FileStore | None
    seen: list[str] = field(default_factory=list)
    wanted: int = 1
    others: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.connect()
        self.company = self.codat.add_company()
        self.arguments: dict[str, Any] = {"operation": self.operation}
        if self.operation != "create":
            self.arguments["record_id"] = RECORD_ID
            self.write_as_another("water", self.clock.time() - 24 * 60 * MINUTES, record_id=RECORD_ID)
        if self.operation != "delete":
            self.arguments["record"] = {"memo": "coffee"}
        self.task = TaskDriver(self.make, self.clock, self.store)

    @property
    def method(self) -> str:
        return METHODS[self.operation]

    def make(self) -> CodatPushOperator:
        where = {"company_id": self.company.id, "connection_id": self.company.connection_id, "data_type": "bills"}
        return CodatPushOperator(task_id="push_bill", retries=2, **where, **self.arguments)

    def write_as_another(self, memo: str, at: float | None = None, **outcome: Any) -> None:
        ends = Outcome(**outcome)
        key = self.codat.add_push(self.company.id, "bills", ends.status, {"memo": memo}, ends, requested_on=at)
        self.others.add(key)

    def watch(self, act: Callable[..., Try], **how: Any) -> None:
        """Let something happen to the task, and note what is seen of it."""
        before = len(self.codat.requests)
        ended = act(**how)
        arrived = self.codat.requests[before:]
        self.seen.append(f"{in_short(map(in_words, arrived))} → {how_it_ended(ended)}")
        if ended.state == "success":
            self.check_success(self.task.xcom)
        if isinstance(ended.error, CodatWriteOutcomeUnknown):
            self.check_unknown(ended.error)

    def check_success(self, xcom: dict[str, Any]) -> None:
        """Check that the XCom is of the operation that wrote the record."""
        assert xcom["status"] == "Success"
        assert (xcom["recordId"] in self.records) == (self.operation != "delete")

    def check_unknown(self, error: CodatWriteOutcomeUnknown) -> None:
        """Check that the error says what to look for and what to do."""
        arrived = {request.headers.get("idempotency-key") for request in self.codat.requests} - {None}
        if arrived and not any(each.is_killed for each in self.task.history):  # one that is killed may not have sent it
            assert error.idempotency_key in arrived
        text = str(error)
        assert f"Idempotency key: {error.idempotency_key}\n" in text
        for candidate in error.candidates:
            assert f"push operation {candidate.key}, {candidate.status}, requested 20" in text
        assert "mark the task as a success" in text
        assert "resubmit=True" in text

    def written(self) -> int:
        """Return how many push operations of the task may have written the record, or may yet."""
        url = f"{self.codat.url}/companies/{self.company.id}/push"
        pushes = requests.get(url, headers=self.codat.auth_headers, timeout=30).json()["results"]
        return sum(push["status"] != "Failed" and push["pushOperationKey"] not in self.others for push in pushes)

    @property
    def records(self) -> dict[str, Any]:
        return self.codat.records.get((self.company.id, "bills"), {})

    @property
    def books(self) -> str:
        """The memos of the records in the books."""
        return ", ".join(record["memo"] for record in self.records.values())


RESULTS = {"reset": "reset", "reset_after": "lost", "truncated": "cut", "hold": "held", "hang": "stuck", "html": "page"}
STATES = {"up_for_retry": "retry"}


def in_words(request: LoggedRequest) -> str:
    method = "LIST" if request.method == "GET" and request.path.endswith("/push") else request.method
    answer = "" if request.status == 200 else str(request.status)
    result = RESULTS.get(request.fault or "", answer)
    return " ".join(filter(None, [method, result, "again" if request.replayed else ""]))


def in_short(words: Iterator[str]) -> str:
    runs = [(word, len(list(run))) for word, run in itertools.groupby(words)]
    return ", ".join(word if count == 1 or word == "GET" else f"{count}x {word}" for word, count in runs) or "nothing"


def how_it_ended(ended: Try) -> str:
    if isinstance(ended.error, CodatWriteOutcomeUnknown):
        found = [each.status for each in ended.error.candidates]
        found += ["a gap"] if ended.error.unknown.history_gap else []
        return f"unknown, found {' and '.join(found) or 'nothing'}"
    cause = "killed" if ended.is_killed else ended.error and type(ended.error).__name__
    return ", ".join(filter(None, [cause, STATES.get(ended.state, ended.state)]))


# -- steps -------------------------------------------------------------------------------------------------------------

Step = Callable[[Stage], object]


def run(stage: Stage) -> None:
    """Airflow runs the task, over all tries it has left."""
    while not stage.task.is_over:
        one_try(stage)


def one_try(stage: Stage) -> None:
    """Airflow runs one try, to its end or until it is deferred."""
    stage.watch(stage.task.run_try)


def lose_trigger(stage: Stage) -> None:
    stage.watch(stage.task.break_trigger)


def clear(stage: Stage) -> None:
    stage.task.clear()


def given(**arguments: Any) -> Step:
    """Change the operator's arguments in the DAG file."""
    return lambda stage: stage.arguments.update(arguments)


correct = given(record={"memo": "tea"})
deferrable = given(deferrable=True)


def clear_to_resubmit(stage: Stage) -> None:
    stage.arguments["resubmit"] = True
    stage.wanted += 1
    clear(stage)


def later(minutes: float) -> Step:
    return lambda stage: stage.clock.let_pass(minutes * MINUTES)


def meanwhile(step: Step) -> Step:
    """Do a step as soon as somebody waits."""
    return lambda stage: stage.clock.after(0, lambda: step(stage))


def plays(kind: str, times: int | None = 1, **more: Any) -> Step:
    """Let a fault hit the next writes, ``None`` for all of them."""
    return lambda stage: stage.codat.fault(Fault(kind, times, method=stage.method, **more))


def replayed(status: int) -> Step:
    """Let Codat answer with a status, which it goes on to give to the same key."""
    return plays("status", status=status)


def ends(status: str, **more: Any) -> Step:
    """Let the next push end like this."""
    return lambda stage: stage.codat.outcomes([Outcome(status, **more)])


slow = ends("Success", latency=20 * MINUTES)


def down(stage: Stage) -> None:
    stage.codat.stop()


def up(stage: Stage) -> None:
    stage.codat.start()


def short_of_patience(stage: Stage) -> None:
    """Let the connection's read timeout be a second, of the real clock."""
    stage.connect(read_timeout=1)


def release(stage: Stage) -> None:
    """Send what is held."""
    stage.codat.wait_until_held()
    stage.codat.release()


def hide_history(stage: Stage) -> None:
    """Refuse to show the push history, once."""
    stage.codat.fault(Fault("status", method="GET", path="/companies/[^/]+/push", status=403))


def revoke(stage: Stage) -> None:
    stage.codat.rotate_api_key("another key")


def restore(stage: Stage) -> None:
    stage.codat.rotate_api_key("the-key-of-all-tests")


def another_writes(stage: Stage) -> None:
    stage.write_as_another("juice")


def another_wrote(minutes: float) -> Step:
    """Let another have written some minutes ago."""
    return lambda stage: stage.write_as_another("juice", stage.clock.time() - minutes * MINUTES)


def another_fails(stage: Stage) -> None:
    stage.write_as_another("juice", status="Failed")


def forget_on_success(stage: Stage) -> None:
    """Let Airflow empty the store when the task succeeds."""
    stage.monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")


def without_store(stage: Stage) -> None:
    """Take the store away, with what it holds."""
    stage.task.store = None


def with_store(stage: Stage) -> None:
    """Give the store back."""
    stage.task.store = stage.store


def delete_stored(stage: Stage) -> None:
    """Delete what the store holds, as a user can in the interface."""
    assert stage.store is not None
    stage.store.clear()


def daily(stage: Stage) -> None:
    """Let the DAG run be one for the day before."""
    stage.task.dag_run.logical_date -= timedelta(days=1)


def killed_storing(count: int) -> Step:
    """Kill the process as it is about to store something, for the ``count``-th time."""

    def step(stage: Stage) -> None:
        def is_the_store(_: object, path: object, *__: object) -> bool:
            return str(path) == str(stage.store.path)

        stage.watch(stage.task.lose_try, dies_at=Trap("os.rename", is_the_store, spare=count - 1))

    return step


def killed_before_sending(stage: Stage) -> None:
    stage.watch(stage.task.lose_try, dies_at=Trap("socket.connect"))


def killed_once_handled(stage: Stage) -> None:
    """Kill the process when Codat has done the write, while its answer is kept back."""
    plays("hold")(stage)
    stage.watch(stage.task.lose_try, killed_after=stage.codat.wait_until_held)


def killed_waiting(stage: Stage) -> None:
    """Kill the process as it checks the pending operation."""
    stage.codat.fault(Fault("hold", method="GET"))
    stage.watch(stage.task.lose_try, killed_after=stage.codat.wait_until_held)
