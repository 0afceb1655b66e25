"""No order of mishaps writes twice: the decisions of ``api/writing.py``, played try after try against a model of Codat.

Codat is as unkind here as it may be. A request is in progress for up to ten minutes; another one under its key gets a
409 meanwhile, or for another content the same or a 422. What it became is listed up to a minute later. The first answer
is replayed for 90 minutes to the second, then the key is as good as new. Answers get lost, processes die before and
after sending, proxies refuse what Codat never sees, and other tasks push the same kind of record.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.records import create_record
from airflow_provider_codat.api.request import Request
from airflow_provider_codat.api.trace import Past, Target, Trace, fingerprint, first_key
from airflow_provider_codat.api.waiting import Sleep
from airflow_provider_codat.api.writing import Write

MINUTE = 60.0
START = 1_800_000_000.0
REPLAYED = 90 * MINUTE
BUSY = 10 * MINUTE
UNLISTED = MINUTE
PATIENCE = 7
"""Tries of one task instance, clears included."""

TARGET = Target("create", "company", "connection", "bills")
ROOT = first_key("dag", "run", "task", -1)
LOG = logging.getLogger(__name__)

FAULTS = [None, None, None, "lost", "lost", "reset", "unsent", "killed before", "killed after", 429]
OF_A_PROXY = [400, 401, 403, 404, 503]
"""Refusals of what Codat never sees, with its own word for it or not."""


class Killed(Exception):
    """The process has died."""


@dataclass
class Operation:
    """A push operation: when it is seen to end and in the list, in epoch seconds, and how it ends."""

    key: str
    is_ours: bool
    requested_on: float
    ends_on: float
    listed_on: float
    status: str


@dataclass
class Kept:
    """What Codat keeps for an idempotency key, and from when on it has an answer."""

    since: float
    content: str
    ready_on: float
    answer: Operation | int


@dataclass
class Fate:
    """What becomes of a request: on its way, and at Codat."""

    fault: str | int | None
    is_codats: bool
    busy: float
    unlisted: float
    takes: float
    status: str
    refusal: int | None


def error_of(status: int, *, is_codats: bool = True) -> errors.CodatApiError:
    error = errors.error_class(status)(status, "no", correlation_id="cid" if is_codats else None)
    error.may_have_landed = status >= 500 or status == 409
    return error


def lost(*, was_sent: bool = True) -> errors.CodatConnectionError:
    error = errors.CodatConnectionError("no answer", was_sent=was_sent)
    error.may_have_landed = was_sent
    return error


@dataclass
class Codat:
    """The model.

    :param otherwise: the status for another content under a key whose request is in progress.
    """

    otherwise: int
    now: float = START
    operations: list[Operation] = field(default_factory=list)
    kept: dict[str, Kept] = field(default_factory=dict)

    def add(self, is_ours: bool, requested_on: float, ends_on: float, listed_on: float, status: str) -> Operation:
        key = f"{'ours' if is_ours else 'another'}-{len(self.operations)}"
        self.operations.append(Operation(key, is_ours, requested_on, ends_on, listed_on, status))
        return self.operations[-1]

    def post(self, key: str, content: str, fate: Fate) -> dict[str, Any]:
        kept = self.kept.get(key)
        if kept is None or self.now - kept.since >= REPLAYED:
            return self._handle(key, content, fate)
        is_in_progress = self.now < kept.ready_on
        if kept.content != content:
            raise error_of(self.otherwise if is_in_progress else 422)
        if is_in_progress:
            raise error_of(409)
        return self._first_answer(kept)

    def _handle(self, key: str, content: str, fate: Fate) -> dict[str, Any]:
        ready_on = self.now + fate.busy
        answer = fate.refusal or self.add(True, self.now, ready_on + fate.takes, ready_on + fate.unlisted, fate.status)
        self.kept[key] = Kept(self.now, content, ready_on, answer)
        if fate.busy:
            raise lost()
        return self._first_answer(self.kept[key])

    def _first_answer(self, kept: Kept) -> dict[str, Any]:
        if isinstance(kept.answer, int):
            raise error_of(kept.answer)
        return self._wire(kept.answer) | {"status": "Pending"}

    def get(self, key: str) -> dict[str, Any]:
        return next(self._wire(each) for each in self.operations if each.key == key)

    def listed(self) -> dict[str, Any]:
        shown = [self._wire(each) for each in self.operations if self.now >= max(each.listed_on, each.requested_on)]
        newest_first = sorted(shown, key=lambda each: each["requestedOnUtc"], reverse=True)
        return {"results": newest_first, "pageNumber": 1, "pageSize": 500, "totalResults": len(shown)}

    def _wire(self, operation: Operation) -> dict[str, Any]:
        return {
            "pushOperationKey": operation.key,
            "companyId": "company",
            "dataConnectionKey": "connection",
            "dataType": "bills",
            "status": operation.status if self.now >= operation.ends_on else "Pending",
            "requestedOnUtc": datetime.fromtimestamp(operation.requested_on, UTC).replace(tzinfo=None).isoformat(),
        }

    def written(self) -> list[str]:
        return [each.key for each in self.operations if each.is_ours and each.status != "Failed"]


@dataclass
class Task:
    """One task instance, from try to try.

    :param codat: what it writes to.
    :param has_store: whether its tries remember.
    """

    codat: Codat
    has_store: bool
    trace: Trace | None = None
    tries: int = 0
    story: list[str] = field(default_factory=list)

    def attempt(self, content: str, fates: list[Fate], *, is_last_try: bool) -> None:
        """Do one try, in which the fates are those of its writes, the last one for all that follow."""
        is_forgotten = self.tries and not self.has_store
        past = Past(self.trace, START if is_forgotten else None, tries=self.tries, is_last_try=is_last_try)
        self.tries += 1
        self.story.append(f"{(self.codat.now - START) / MINUTE:.1f} min, try {self.tries} of content {content}:")
        write = Write(
            request=lambda key: create_record("company", "connection", "bills", {"memo": content}, idempotency_key=key),
            root=ROOT,
            target=TARGET,
            max_tries=3,
            past=past,
            log=LOG,
            keep=self._keep,
            clock=lambda: self.codat.now,
            fingerprint=fingerprint(ROOT, {"memo": content}),
        )
        try:
            self._drive(write.steps(), content, fates)
        except (errors.CodatError, Killed) as end:
            self.story.append(f"  {type(end).__name__} {str(end).splitlines()[:1]}")

    def _keep(self, trace: Trace) -> None:
        if self.has_store:
            self.trace = trace

    def _drive(self, steps: Generator[Any, Any, Any], content: str, fates: list[Fate]) -> None:
        fates = list(fates)
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._do(step, content, fates)
                except errors.CodatError as error:
                    self.story.append(f"  {type(error).__name__} {getattr(error, 'status_code', error)}")
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            self.story.append(f"  comes to {done.value.key}, {done.value.status}")

    def _do(self, step: Request[Any] | Sleep, content: str, fates: list[Fate]) -> Any:
        if isinstance(step, Sleep):
            self.codat.now += step.seconds
            return None
        self.codat.now += 0.2
        self.story.append(f"  {step.method} {step.path} {step.idempotency_key}")
        if step.method == "POST":
            fate = fates.pop(0) if len(fates) > 1 else fates[0]
            return step.read(self._post(step.idempotency_key, content, fate))
        key = step.path.rpartition("/")[2]
        return step.read(self.codat.listed() if key == "push" else self.codat.get(key))

    def _post(self, key: str, content: str, fate: Fate) -> dict[str, Any]:
        if fate.fault == "killed before":
            raise Killed
        if fate.fault in ("reset", "unsent"):
            raise lost(was_sent=fate.fault == "reset")
        if isinstance(fate.fault, int):
            raise error_of(fate.fault, is_codats=fate.is_codats)
        try:
            answer = self.codat.post(key, content, fate)
        except errors.CodatError:
            if fate.fault == "killed after":
                raise Killed from None
            raise
        if fate.fault == "killed after":
            raise Killed
        if fate.fault == "lost":
            raise lost()
        return answer


def some_fate(dice: random.Random) -> Fate:
    return Fate(
        fault=dice.choice(FAULTS + OF_A_PROXY),
        is_codats=dice.random() < 0.5,
        busy=dice.choice([0.0, dice.uniform(0, BUSY)]),
        unlisted=dice.uniform(0, UNLISTED),
        takes=dice.choice([0, 0, 30, 300, 4000]),
        status=dice.choice(["Failed", "Failed", "Success"]),
        refusal=dice.choice([None] * 6 + [400, 403, 500, 503]),
    )


def others_push(codat: Codat, dice: random.Random) -> None:
    at, busy = codat.now + dice.uniform(-4, 4) * MINUTE, dice.choice([0.0, dice.uniform(0, BUSY)])
    ended = [at + busy + dice.uniform(0, UNLISTED) for _ in range(2)]
    codat.add(False, at, *ended, dice.choice(["Failed", "Failed", "Failed", "Success"]))


def play(seed: int, *, has_store: bool, otherwise: int, contents: str) -> Task:
    dice = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    task = Task(Codat(otherwise), has_store)
    others = dice.choice([0, 0, 1, 3])
    task.codat.now += dice.choice([0, 0, 0, dice.uniform(0, 200)]) * MINUTE
    for _ in range(PATIENCE):
        for _ in range(others):
            if dice.random() < 0.5:
                others_push(task.codat, dice)
        fates = [some_fate(dice) for _ in range(dice.choice([1, 2, 3]))]
        task.attempt(dice.choice(contents), fates, is_last_try=dice.random() < 0.25)
        task.codat.now += dice.choice([0.02, 1, 5, 10, 30, dice.uniform(0, 100), dice.uniform(60, 95)]) * MINUTE
    return task


@pytest.mark.parametrize("contents", ["A", "AAB"], ids=["one content", "corrected"])
@pytest.mark.parametrize("otherwise", [409, 422])
@pytest.mark.parametrize("has_store", [True, False], ids=["store", "without"])
def test_no_order_of_mishaps_writes_twice(has_store, otherwise, contents):
    endings = set()
    for seed in range(600):
        task = play(seed, has_store=has_store, otherwise=otherwise, contents=contents)
        assert len(task.codat.written()) <= 1, "\n".join([f"seed {seed}", *task.story, *task.codat.written()])
        endings.add(task.story[-1].split()[0])
        endings.add(len(task.codat.written()))
    # The stories are not all of one kind.
    assert {"comes", "OutcomeUnknown", "Killed", "CodatConnectionError", 0, 1} <= endings
