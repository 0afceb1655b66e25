"""No order of mishaps writes twice: what ``CodatPushOperator`` decides, played try after try against a model of Codat.

Codat is as unkind here as it may be. A request is in progress for up to ten minutes; another one under its key gets a
409 meanwhile, or for another content the same or a 422. What it became is listed up to a minute later. The first answer
is replayed for 90 minutes to the second, then the key is as good as new. Whether a key counts for the account or for
one company, and whether the same content for another path is the same request, Codat does not say: it may be either.
Answers get lost, processes die before and after sending, proxies refuse what Codat never sees, and other tasks push the
same kind of record.

Airflow is no kinder. The task state store is there, is not, comes and goes, or forgets; tries die before they begin;
tasks are cleared, with ``resubmit`` or without, and retries lowered; the same run is under way in a second deployment;
the company is linked anew between two tries; the provider is upgraded from version 0.1.0. What is left open is not
played, and a comment says why.
"""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.endpoints.records import create_record, update_record
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.steps import Sleep
from airflow_provider_codat.api.writing.keys import task_instance_key
from airflow_provider_codat.api.writing.stored import WriteTarget, fingerprint
from airflow_provider_codat.api.writing.write import Write
from airflow_provider_codat.tasks.earlier_tries import STORED_AS, WriteState

MINUTE = 60.0
START = 1_800_000_000.0
REPLAYED = 90 * MINUTE
BUSY = 10 * MINUTE
UNLISTED = MINUTE
STORIES = int(os.environ.get("CODAT_TEST_STORIES", "600"))
"""How many are played in each test."""
PATIENCE = 7
"""Tries of one task instance, clears included."""

TASK_INSTANCE = task_instance_key("dag", "run", "task", -1)
NEW_IN_THE_STORE = {"lastTry", "triesAreMissing"}


class Unseen(logging.Handler):
    """Formats messages as every handler does, and shows them to nobody: there are tens of thousands."""

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()


LOG = logging.Logger(__name__)
LOG.addHandler(Unseen())

FAULTS = [None, None, None, "lost", "lost", "reset", "unsent", "killed before", "killed after", 429]
OF_A_PROXY = [400, 401, 403, 404, 503]
"""Refusals of what Codat never sees, with its own word for it or not."""
STORES = ["stays", "missing", "comes and goes", "forgets"]

Where = tuple[str, str]
"""A company and a data connection."""


class Killed(Exception):
    """The process has died."""


@dataclass
class Operation:
    """A push operation: whose it is, when it is seen to end and in the list, in epoch seconds, and how it ends."""

    key: str
    owner: str
    where: Where
    requested_on: float
    ends_on: float
    listed_on: float
    status: str


@dataclass
class Kept:
    """What Codat keeps for an idempotency key, and from when on it has an answer."""

    since: float
    content: tuple[str, ...]
    ready_on: float
    answer: Operation | errors.CodatApiError


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


def error_of(status: int, correlation_id: str | None) -> errors.CodatApiError:
    error = errors.error_class(status)(status, "no", correlation_id=correlation_id)
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
    :param keys_are_a_companys: whether a key counts for a company; else for the account.
    :param compares_paths: whether the same content for another path is another request.
    """

    otherwise: int
    keys_are_a_companys: bool
    compares_paths: bool
    now: float = START
    operations: list[Operation] = field(default_factory=list)
    kept: dict[tuple[str, str], Kept] = field(default_factory=dict)
    ids: int = 0

    def new_id(self) -> str:
        self.ids += 1
        return f"correlation-{self.ids}"

    def add(self, owner: str, where: Where, requested_on: float, fate: Fate) -> Operation:
        ready_on = requested_on + fate.busy
        key = f"{owner}-{len(self.operations)}"
        times = requested_on, ready_on + fate.takes, ready_on + fate.unlisted
        self.operations.append(Operation(key, owner, where, *times, fate.status))
        return self.operations[-1]

    def write(self, owner: str, where: Where, key: str | None, text: str, fate: Fate) -> dict[str, Any]:
        content = (text, *where) if self.compares_paths else (text,)
        name = (where[0] if self.keys_are_a_companys else "account", key or f"request {len(self.kept)}")
        kept = self.kept.get(name)
        if kept is None or self.now - kept.since >= REPLAYED:
            refusal = error_of(fate.refusal, self.new_id()) if fate.refusal else None
            answer = refusal or self.add(owner, where, self.now, fate)
            self.kept[name] = Kept(self.now, content, self.now + fate.busy, answer)
            if fate.busy:
                raise lost()
            return self._first_answer(self.kept[name])
        is_in_progress = self.now < kept.ready_on
        if kept.content != content:
            raise error_of(self.otherwise if is_in_progress else 422, self.new_id())
        if is_in_progress:
            raise error_of(409, self.new_id())
        return self._first_answer(kept)

    def _first_answer(self, kept: Kept) -> dict[str, Any]:
        if isinstance(kept.answer, errors.CodatApiError):
            raise error_of(kept.answer.status_code, kept.answer.correlation_id)
        return self._body(kept.answer) | {"status": "Pending"}

    def get(self, key: str) -> dict[str, Any]:
        return next(self._body(each) for each in self.operations if each.key == key)

    def listed(self, company: str) -> dict[str, Any]:
        listed = [each for each in self.operations if self.now >= max(each.listed_on, each.requested_on)]
        shown = [self._body(each) for each in listed if each.where[0] == company]
        newest_first = sorted(shown, key=lambda each: each["requestedOnUtc"], reverse=True)
        return {"results": newest_first, "pageNumber": 1, "pageSize": 500, "totalResults": len(shown)}

    def _body(self, operation: Operation) -> dict[str, Any]:
        company, connection = operation.where
        return {
            "pushOperationKey": operation.key,
            "companyId": company,
            "dataConnectionKey": connection,
            "dataType": "bills",
            "status": operation.status if self.now >= operation.ends_on else "Pending",
            "requestedOnUtc": datetime.fromtimestamp(operation.requested_on, UTC).replace(tzinfo=None).isoformat(),
        }

    def written(self, owner: str) -> list[str]:
        return [each.key for each in self.operations if each.owner == owner and each.status != "Failed"]


class Store(dict[str, Any]):
    """Stands in for the task state store of Airflow 3.3."""

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        self[key] = value


@dataclass
class Task:
    """One task instance, from try to try.

    :param codat: what it writes to.
    :param store: how the task state store fares, one of ``STORES``.
    :param name: whose operations it makes.
    :param company: the company written to.
    :param operation: ``create`` or ``update``.
    :param deployment: the deployment's name; default none.
    :param old_tries: how many tries are of version 0.1.0; default none.
    :param keeps_old_keys: whether the run is due before ``scoped_keys_since``.
    :param may_move: whether the company may be linked anew.
    :param counts_all_clears: whether Airflow counts the clears of a run that is still running: 3.2 and later do.
    :param due: how long before its start the run was due, in seconds.

    ``wanted`` is how often the user wants the record written, ``taken`` the operations that tries came to.
    """

    codat: Codat = field(repr=False)
    store: str
    name: str = "ours"
    company: str = "company-1"
    operation: str = "create"
    deployment: str = ""
    old_tries: int = 0
    keeps_old_keys: bool = False
    may_move: bool = False
    counts_all_clears: bool = True
    due: float = 0.0
    connection: str = "connection-1"
    retries: int = 2
    resubmit: bool = False
    wanted: int = 1
    values: Store = field(default_factory=Store)
    taken: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.tries, self.max_tries = 0, self.retries
        start, due = (datetime.fromtimestamp(each, UTC) for each in (START, START - self.due))
        self.dag_run = SimpleNamespace(start_date=start, run_after=due, clear_number=0)

    def log(self, line: str) -> None:
        self.story.append(f"{(self.codat.now - START) / MINUTE:6.1f} min, {self.name}: {line}")

    def clear(self, *, has_ended: bool) -> None:
        self.max_tries = self.tries + self.retries
        if has_ended:
            self.dag_run.start_date = datetime.fromtimestamp(self.codat.now, UTC)
        if has_ended or self.counts_all_clears:
            self.dag_run.clear_number += 1
        self.wanted += self.resubmit
        self.log(f"cleared{', to resubmit' if self.resubmit else ''}")

    def attempt(self, content: str, fates: list[Fate], dice: random.Random) -> None:
        """Do one try, in which the fates are those of its writes, the last one for all that follow."""
        self.tries += 1
        if self.store == "forgets" and dice.random() < 0.4:
            self.values.clear()
        has_store = self.store in ("stays", "forgets") or (self.store == "comes and goes" and dice.random() < 0.5)
        self.log(f"try {self.tries} of {self.max_tries + 1}, {content}, {self.connection}, store {has_store}")
        if dice.random() < 0.1:
            self.log("dies before it begins")
            return
        is_old = self.tries <= self.old_tries
        try:
            self._drive(self._write(content, has_store=has_store, is_old=is_old).steps(), content, fates)
        except (errors.CodatError, Killed) as end:
            self.log(f"{type(end).__name__} {str(end).splitlines()[:1]}")
        if is_old and has_store:
            self._leave_what_version_0_1_0_stores()

    def _write(self, content: str, *, has_store: bool, is_old: bool) -> Write:
        target = WriteTarget(self.operation, self.company, self.connection, "bills")
        ids = {"dag_id": "dag", "run_id": "run", "task_id": "task", "map_index": -1}
        task = SimpleNamespace(retries=self.retries)
        ti = SimpleNamespace(**ids, try_number=self.tries, max_tries=self.max_tries, task=task)
        context: Any = {"ti": ti, "dag_run": self.dag_run} | ({"task_state_store": self.values} if has_store else {})
        write_state = WriteState(context, LOG, resubmit=self.resubmit)
        earlier_tries = write_state.begin()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIRFLOW__CODAT__DEPLOYMENT", self.deployment)
            root = write_state.root(TASK_INSTANCE if is_old or self.keeps_old_keys else None, target)
        return Write(
            request=lambda key: self._request(key, content),
            root=root,
            target=target,
            max_tries=write_state.max_tries,
            earlier_tries=earlier_tries,
            log=LOG,
            keep=write_state.keep,
            clock=lambda: self.codat.now,
            fingerprint=fingerprint(TASK_INSTANCE, {"memo": content}),
        )

    def _request(self, key: str, content: str) -> Request[Any]:
        if self.operation == "create":
            return create_record(self.company, self.connection, "bills", {"memo": content}, idempotency_key=key)
        return update_record(self.company, self.connection, "bills", "bill", {"memo": content})

    def _leave_what_version_0_1_0_stores(self) -> None:
        stored = self.values.pop(STORED_AS, {})
        if old := {name: value for name, value in stored.items() if name not in NEW_IN_THE_STORE}:
            self.values[STORED_AS] = old

    def _drive(self, steps: Generator[Any, Any, Any], content: str, fates: list[Fate]) -> None:
        fates = list(fates)
        try:
            step = next(steps)
            while True:
                try:
                    answer = self._do(step, content, fates)
                except errors.CodatError as error:
                    self.log(f"  {type(error).__name__} {getattr(error, 'status_code', error)}")
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as done:
            self.log(f"comes to {done.value.key}, {done.value.status}")
            self.taken.append(done.value.key)

    def _do(self, step: Request[Any] | Sleep, content: str, fates: list[Fate]) -> Any:
        if isinstance(step, Sleep):
            self.codat.now += step.seconds
            return None
        self.codat.now += 0.2
        self.log(f"  {step.method} {step.path} {step.idempotency_key}")
        if step.method != "GET":
            fate = fates.pop(0) if len(fates) > 1 else fates[0]
            return step.read(self._send(step.idempotency_key, content, fate))
        key = step.path.rpartition("/")[2]
        return step.read(self.codat.listed(self.company) if key == "push" else self.codat.get(key))

    def _send(self, key: str | None, content: str, fate: Fate) -> dict[str, Any]:
        if fate.fault == "killed before":
            raise Killed
        if fate.fault in ("reset", "unsent"):
            raise lost(was_sent=fate.fault == "reset")
        if isinstance(fate.fault, int):
            raise error_of(fate.fault, self.codat.new_id() if fate.is_codats else None)
        try:
            answer = self.codat.write(self.name, (self.company, self.connection), key, content, fate)
        except errors.CodatError:
            if fate.fault == "killed after":
                raise Killed from None
            raise
        if fate.fault == "killed after":
            raise Killed
        if fate.fault == "lost":
            raise lost()
        return answer


def some_fate(dice: random.Random, **given: Any) -> Fate:
    some = {
        "fault": dice.choice(FAULTS + OF_A_PROXY),
        "is_codats": dice.random() < 0.5,
        "busy": dice.choice([0.0, dice.uniform(0, BUSY)]),
        "unlisted": dice.uniform(0, UNLISTED),
        "takes": dice.choice([0, 0, 30, 300, 4000]),
        "status": dice.choice(["Failed", "Failed", "Success"]),
        "refusal": dice.choice([None] * 6 + [400, 403, 500, 503]),
    }
    return Fate(**some | given)


def another_pushes(codat: Codat, dice: random.Random) -> None:
    where = dice.choice(["company-1", "company-2"]), dice.choice(["connection-1", "connection-2"])
    fate = some_fate(dice, takes=0, status=dice.choice(["Failed", "Failed", "Failed", "Success"]))
    codat.add("another", where, codat.now + dice.uniform(-4, 4) * MINUTE, fate)


def some_task(codat: Codat, dice: random.Random, **given: Any) -> Task:
    some = {
        "store": dice.choice(STORES),
        "operation": dice.choice(["create", "create", "update"]),
        "keeps_old_keys": dice.random() < 0.2,
        "may_move": dice.random() < 0.3,
        "counts_all_clears": dice.random() < 0.5,
        "due": dice.choice([0, 0, 24 * 60 * MINUTE]),
    }
    task = Task(codat, **some | given)
    # A write that version 0.1.0 has begun is found by what that has stored, or without a store by scoped_keys_since. It
    # stored no number of its tries, so a store that came and went under it does not show which are missing.
    if dice.random() < 0.3 and (task.store == "stays" or (task.store == "missing" and task.keeps_old_keys)):
        task.old_tries = dice.choice([1, 2])
    return task


def one_task(codat: Codat, dice: random.Random, **given: Any) -> list[Task]:
    return [some_task(codat, dice, **given)]


def two_deployments(codat: Codat, dice: random.Random) -> list[Task]:
    """Return the same task instance in two deployments, which have names or write to two companies."""
    ours, theirs = {"name": "ours"}, {"name": "theirs"}
    if dice.random() < 0.5:
        theirs["company"] = "company-2"
    else:
        # The keys of version 0.1.0 have no place for a name.
        ours |= {"deployment": "staging", "keeps_old_keys": False, "store": "stays"}
        theirs |= {"deployment": "production", "keeps_old_keys": False, "store": "missing"}
    return [some_task(codat, dice, **each) for each in (ours, theirs)]


def something_happens(task: Task, contents: str, dice: random.Random) -> None:
    """Let something happen to the task, and a try of it."""
    if task.tries > task.max_tries or (task.tries and dice.random() < 0.2):
        # Version 0.1.0 took retries that are lowered for a clear.
        task.resubmit = task.tries >= task.old_tries and dice.random() < 0.3
        task.clear(has_ended=dice.random() < 0.7)
    elif dice.random() < 0.2 and (task.dag_run.clear_number == 0 or not task.resubmit):
        # Without a store, and once the run was cleared, retries that are lowered can look like another clear.
        task.retries = dice.choice([0, 1, 2, 3])
    if task.may_move and dice.random() < 0.2:
        task.connection = dice.choice(["connection-1", "connection-2"])
    fates = [some_fate(dice) for _ in range(dice.choice([1, 2, 3]))]
    task.attempt(dice.choice(contents), fates, dice)


def play(seed: int, make: Callable[..., list[Task]], *, contents: str, **given: Any) -> list[Task]:
    dice = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    codat = Codat(dice.choice([409, 422]), dice.random() < 0.5, dice.random() < 0.5)
    tasks = make(codat, dice, **given)
    others = dice.choice([0, 0, 1, 3])
    codat.now += dice.choice([0, 0, 0, dice.uniform(0, 200)]) * MINUTE
    for _ in range(PATIENCE * len(tasks)):
        for _ in range(others):
            if dice.random() < 0.5:
                another_pushes(codat, dice)
        task = dice.choice(tasks)
        something_happens(task, contents, dice)
        codat.now += dice.choice([0.02, 1, 5, 10, 30, dice.uniform(0, 100), dice.uniform(60, 95)]) * MINUTE
    for task in tasks:
        written = codat.written(task.name)
        story = "\n".join([f"seed {seed}: {written}", str(task), *task.story])
        assert len(written) <= task.wanted, story
        assert all(key.startswith(task.name) for key in task.taken), story
    return tasks


@pytest.fixture(autouse=True, scope="module")
def _a_store_on_every_airflow():
    """Let what the store is used with stand in for it before Airflow 3.3."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            from airflow.sdk.execution_time.context import NEVER_EXPIRE  # noqa: F401 - asks whether it is there
        except ImportError:
            patch.setitem(sys.modules, "airflow.sdk.execution_time.context", SimpleNamespace(NEVER_EXPIRE=None))
        yield


@pytest.mark.parametrize("contents", ["A", "AAB"], ids=["one content", "corrected"])
@pytest.mark.parametrize("store", STORES)
def test_no_order_of_mishaps_writes_twice(store, contents):
    endings = set()
    for seed in range(STORIES):
        (task,) = play(seed, one_task, contents=contents, store=store)
        endings |= {line.split(": ")[1].split()[0] for line in task.story}
        endings.add(len(task.codat.written("ours")))
    # The stories are not all of one kind.
    assert {"comes", "OutcomeUnknown", "Killed", "CodatConnectionError", "cleared", "dies", 0, 1, 2} <= endings


def test_two_deployments_neither_write_twice_nor_take_each_others_operations():
    for seed in range(STORIES):
        play(seed, two_deployments, contents="AAB")
