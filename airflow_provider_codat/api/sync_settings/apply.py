"""Bring a company's sync settings to a wanted state, while others may write them too.

Codat's POST sets the whole list and supports no condition such as ``If-Match``. So a writer reads the list, changes its
own entries and sends everything back. If another writer changed an entry between the read and the write, the write
undoes that change, and nobody gets an error. A task detects this:

1. Read, and write at once. Each further attempt begins with a new read.
2. Wait ``READ_BACK_AFTER`` seconds. A writer that read before this write has written by then.
3. Read back. If a wanted change is missing, pause for a random time and start again, up to ``MOST_ATTEMPTS`` attempts.

Why a change is not lost after it was read back. Let L be the longest time from a read to the write that is based on it,
and let n tasks write to the company.

1. Suppose W is the first write after the read back that removes the change. W's read came less than L before W, and did
   not show the change. So it came before the read back, which showed it: one write had removed the change, and another
   had restored it in between.
2. Each of those writes is itself based on a read less than L before it. Followed back, they are a chain of writes that
   begins with the write of the change and ends with W. Each follows less than L after the one before it.
3. A task writes at most once in ``READ_BACK_AFTER`` seconds. So within that time the chain has at most n writes, and
   lasts less than (n - 1) L.
4. If ``READ_BACK_AFTER`` is at least (n - 1) L, the chain ends before the read back. So there is no W. Two tasks may
   take five seconds each from read to write, eleven tasks half a second.

Not covered:

- Tasks that take longer. Only a write that ends more than ``READ_BACK_AFTER`` seconds after its read is logged.
- Writers that do not read back. Such a writer does not notice that its own change was lost. If it read minutes ago, as
  a page in a browser may have, its write undoes all changes since then.

If nobody else writes, and Codat still shows other values than were written (a locked setting), more attempts are
useless: the task ends after ``MOST_ATTEMPTS_ALONE`` of them in a row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from airflow_provider_codat.api.errors import CodatError, CodatPlanLimitError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.retry import RetryPolicy, next_wait
from airflow_provider_codat.api.http.steps import Log, Sleep, Steps
from airflow_provider_codat.api.sync_settings import (
    Change,
    Plan,
    ScheduleShape,
    SyncSchedule,
    SyncSetting,
    SyncSettings,
    get_account_sync_settings,
    get_company_sync_settings,
    is_default,
    plan,
    plan_default,
    update_company_sync_settings,
)

T = TypeVar("T")

READ_BACK_AFTER = 5.0
"""Seconds from a write to the read that checks it. Ten tasks can write to one company at once, if a read and its write
take at most half a second together."""

MOST_ATTEMPTS = 8
"""How often the settings are written if others write them too."""

MOST_ATTEMPTS_ALONE = 2
"""How often in a row they are written if nobody else writes them."""

FIRST_PAUSE = 5.0
"""The longest pause after the first attempt in seconds; doubled after each further attempt."""

LONGEST_PAUSE = 60.0
"""The longest pause after any attempt in seconds."""


@dataclass(frozen=True)
class Goal:
    """The wanted sync settings of a company, as the arguments of :func:`plan`.

    :param overrides_defaults: ``False`` returns the company to the account's default; default ``True``.
    """

    desired: tuple[SyncSetting, ...]
    merge: bool = True
    overrides_defaults: bool = True
    default_shape: ScheduleShape = "integer"

    def plan(self, current: SyncSettings, account: SyncSettings | None = None) -> Plan:
        """Compare current settings with the wanted ones. Without ``merge``, the account's settings are needed too."""
        if not self.overrides_defaults:
            return plan_default(current, default_shape=self.default_shape)
        return plan(current, self.desired, merge=self.merge, default_shape=self.default_shape, account=account)

    def left(self, planned: Plan) -> tuple[Change, ...]:
        """Return a plan's changes to the data types that were named. The goal is reached if there are none."""
        named = {None, *(setting.data_type for setting in self.desired)}
        return tuple(change for change in planned.changes if change.data_type in named)

    def to_drop(self, current: SyncSettings) -> tuple[SyncSetting, ...]:
        """Return the settings of data types that were not named and are to be dropped."""
        if self.merge or not self.overrides_defaults:
            return ()
        named = {setting.data_type for setting in self.desired}
        return tuple(setting for setting in current.settings if setting.data_type not in named)


@dataclass(frozen=True)
class Applied:
    """The result of an :class:`Application`.

    :param planned: the plan that was made from the first read.
    :param left: the changes that Codat accepted, but did not show when read back; default none, which is success.
    :param attempts: how often the settings were written and read back; default 0.
    """

    planned: Plan
    current: SyncSettings
    left: tuple[Change, ...] = ()
    attempts: int = 0


@dataclass(frozen=True)
class _Reading:
    """The settings that were read, the plan made from them, and when the read was sent, in monotonic seconds."""

    current: SyncSettings
    plan: Plan
    at: float


@dataclass
class Application:
    """One update of a company's sync settings; ``clock`` gives monotonic seconds, ``jitter`` random numbers, 0 to 1."""

    company_id: str
    goal: Goal
    policy: RetryPolicy
    log: Log
    clock: Callable[[], float]
    jitter: Callable[[], float]
    _account: SyncSettings | None = field(default=None, init=False)

    def steps(self, *, dry_run: bool) -> Steps[Applied]:
        """Yield the requests to send, each once, and the pauses between them; return the result."""
        reading = yield from self._read()
        planned = reading.plan
        self._log_plan(planned, dry_run=dry_run)
        if not planned.changes:
            self._log_not_named(reading)
        if dry_run or not planned.changes:
            return Applied(planned, reading.current)
        attempts_alone = 0
        for attempt in itertools.count(1):
            written = yield from self._write(reading)
            yield Sleep(READ_BACK_AFTER)
            reading = yield from self._read()
            left = self.goal.left(reading.plan)
            if not left:
                break
            attempts_alone = 0 if self._others_wrote(written, reading) else attempts_alone + 1
            if attempt == MOST_ATTEMPTS or attempts_alone == MOST_ATTEMPTS_ALONE:
                return Applied(planned, reading.current, left, attempt)
            pause = self.jitter() * min(FIRST_PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE)
            self._log_left(left, attempt, pause, is_alone=attempts_alone > 0)
            yield Sleep(pause)
            reading = yield from self._read()
        self.log.info("The sync settings of company %s were written and read back.", self.company_id)
        self._log_not_named(reading)
        return Applied(planned, reading.current, attempts=attempt)

    def _read(self) -> Steps[_Reading]:
        current, at = yield from self._send(get_company_sync_settings(self.company_id))
        if self._account is None and self.goal.to_drop(current):
            self._account, _ = yield from self._send(get_account_sync_settings())
        return _Reading(current, self.goal.plan(current, self._account), at)

    def _send(self, request: Request[T]) -> Steps[tuple[T, float]]:
        """Return the answer, and when the request was sent."""
        attempt, began = 1, self.clock()
        at = began
        while True:
            try:
                answer: T = yield request
            except CodatError as error:
                pause = self._pause_after(error, attempt, began, request)
            else:
                return answer, at
            yield pause
            attempt, at = attempt + 1, self.clock()

    def _write(self, reading: _Reading) -> Steps[_Reading]:
        """Write what is planned, and return the reading that the last write was based on."""
        began = reading.at
        for attempt in itertools.count(1):
            if not reading.plan.changes:  # an attempt without an answer was carried out, or another task wrote the same
                break
            target = reading.plan.target
            overrides = target.overrides_defaults
            request = update_company_sync_settings(self.company_id, target, overrides_defaults=overrides)
            try:
                yield request
            except CodatError as error:
                self._warn_if_late(reading)
                if isinstance(error, CodatPlanLimitError):
                    error.hint = _plan_limit_hint(target)
                pause = self._pause_after(error, attempt, began, request)
            else:
                self._warn_if_late(reading)
                break
            # The write may have been carried out, so the pause is at least that after a successful write.
            yield Sleep(max(pause.seconds, READ_BACK_AFTER))
            reading = yield from self._read()
        return reading

    def _pause_after(self, error: CodatError, attempt: int, began: float, request: Request[Any]) -> Sleep:
        """Return the pause before a request is sent again, or raise the error."""
        seconds = next_wait(error, attempt, self.clock() - began, request, self.policy, self.jitter)
        if seconds is None:
            raise error
        self.log.warning("%s Trying again in %.1f s (attempt %d failed).", error, seconds, attempt)
        return Sleep(seconds)

    def _warn_if_late(self, reading: _Reading) -> None:
        took = self.clock() - reading.at
        if took > READ_BACK_AFTER:
            self.log.warning(
                "The write of company %s's sync settings ended %.1f s after the read that it is based on. If another"
                " writer changed them in that time, that change may be lost. This task does not restore it.",
                self.company_id,
                took,
            )

    def _others_wrote(self, written: _Reading, back: _Reading) -> bool:
        """Whether other settings than the wanted ones differ from what was written.

        A data type that was not written, but has the account's default, does not count: Codat may have added it.
        """
        sent = {each.data_type: each for each in written.plan.target.settings}
        came = {
            each.data_type: each
            for each in replace(self.goal, merge=True).plan(back.current).target.settings
            if each.data_type in sent or not is_default(each, self._account)
        }
        return sent.keys() != came.keys() or not all(sent[each].is_as(came[each]) for each in sent)

    def _log_plan(self, planned: Plan, *, dry_run: bool) -> None:
        if not planned.changes:
            self.log.info("The sync settings of company %s are as wanted; nothing is written.", self.company_id)
            return
        verb = "would change (dry run)" if dry_run else "change"
        self.log.info("Sync settings of company %s that %s:\n%s", self.company_id, verb, table(planned.changes))

    def _log_left(self, left: tuple[Change, ...], attempt: int, pause: float, *, is_alone: bool) -> None:
        others = "all others are as written" if is_alone else "others differ, too: another writer has changed them"
        self.log.warning(
            "Sync settings of company %s differ from what was written (attempt %d); %s. They are written again in"
            " %.1f s:\n%s",
            *(self.company_id, attempt, others, pause, table(left)),
        )

    def _log_not_named(self, reading: _Reading) -> None:
        shown = [
            f"{each.data_type} (syncSchedule {each.answered.get('syncSchedule')},"
            f" {'as' if is_default(each, self._account) else 'not as'} the account's default)"
            for each in self.goal.to_drop(reading.current)
        ]
        if shown:
            what = ", ".join(shown)
            self.log.info(
                "Codat shows sync settings of company %s that the task does not name: %s.", self.company_id, what
            )


def table(changes: tuple[Change, ...]) -> str:
    """Return changes as text, one per line."""
    rows = [("data type", "field", "from", "to")]
    rows += [(each.data_type or "(company)", each.field, _cell(each.before), _cell(each.after)) for each in changes]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)


def _plan_limit_hint(target: SyncSettings) -> str:
    hourly = [
        each.data_type
        for each in target.settings
        if isinstance(each.schedule, SyncSchedule) and each.schedule.hours == 1
    ]
    if not hourly:
        return "The Codat plan does not include what was requested"
    return (
        f"Hourly syncs need a paid Codat plan. They are wanted for {', '.join(hourly)}. On a free plan give 24 or more"
    )
