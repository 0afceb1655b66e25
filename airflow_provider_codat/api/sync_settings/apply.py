"""Bring a company's sync settings to a wanted state, while others may write them too.

Codat's POST sets the whole list and knows no condition such as ``If-Match``. Every writer sends back what others have
set, as of its last read; a write that rests on an old read takes back what was written in between, without an error.
So two tasks that name one data type each could both succeed, and one change be lost. A task detects that like this:

1. Read, and write at once. An attempt that is made again, for whatever reason, begins with a read of its own.
2. Wait ``SETTLE`` seconds. Whoever had read before this write has written by then.
3. Read back. If something wanted is not there, pause for a random time and begin again, ``MOST_ATTEMPTS`` times in all.

Why a change that was read back is not lost later. Let L be the longest time from a read to the write that rests on it,
and let n tasks write. A change can be lost after it was read back only to a write whose read, less than L before, did
not show it. So shortly before it was read back it was missing: a write had taken it away, and another, which had read
it earlier, had restored it. The same holds for these two, and so on, back to the write of the change itself. Each write
of this chain comes less than L after the one before it, and is by another task, since a task writes at most once in
``SETTLE`` seconds. So the chain ends before the read back if ``SETTLE`` is at least (n - 1) L: two tasks may take five
seconds from read to write, eleven tasks half a second each.

What is left: a write that comes later than that, which is reported; and writers that do not read back. Such a writer
does not learn that its own change was lost, and one that read minutes ago, such as a page in a browser, takes back what
was written since.

Where nobody else writes, and Codat still shows something else than what it took (a locked setting), more attempts are
no use: after ``MOST_ATTEMPTS_ALONE`` in a row the task ends.
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

SETTLE = 5.0
"""Seconds from a write to the read that checks it: a read and a write take well under a second each, and ten tasks may
write to one company at once."""

MOST_ATTEMPTS = 8
"""How often the settings are written while others write them too."""

MOST_ATTEMPTS_ALONE = 2
"""How often in a row they are written while nobody else does."""

FIRST_PAUSE = 5.0
"""Seconds that the pause after the first attempt takes at most; the bound doubles with each attempt."""

LONGEST_PAUSE = 60.0
"""Seconds beyond which the bound does not grow."""


@dataclass(frozen=True)
class Goal:
    """What a company's sync settings are to be, in the terms of :func:`plan`.

    :param overrides_defaults: ``False`` returns the company to the account's default; default ``True``.
    """

    desired: tuple[SyncSetting, ...]
    merge: bool = True
    overrides_defaults: bool = True
    default_shape: ScheduleShape = "integer"

    def plan(self, current: SyncSettings, account: SyncSettings | None = None) -> Plan:
        """Compare current settings with the wanted ones. The account's settings matter without ``merge``."""
        if not self.overrides_defaults:
            return plan_default(current, default_shape=self.default_shape)
        return plan(current, self.desired, merge=self.merge, default_shape=self.default_shape, account=account)

    def left(self, planned: Plan) -> tuple[Change, ...]:
        """Return the changes of a plan to what was named, which decide whether the goal is reached."""
        named = {None, *(setting.data_type for setting in self.desired)}
        return tuple(change for change in planned.changes if change.data_type in named)

    def to_drop(self, current: SyncSettings) -> tuple[SyncSetting, ...]:
        """Return the settings that are not wanted."""
        if self.merge or not self.overrides_defaults:
            return ()
        named = {setting.data_type for setting in self.desired}
        return tuple(setting for setting in current.settings if setting.data_type not in named)


@dataclass(frozen=True)
class Applied:
    """How it ended.

    :param planned: the plan over what was there at first.
    :param left: what Codat took and did not show afterwards; default nothing, which is success.
    :param attempts: how often the settings were written and read back; default 0.
    """

    planned: Plan
    current: SyncSettings
    left: tuple[Change, ...] = ()
    attempts: int = 0


@dataclass(frozen=True)
class _Reading:
    """The settings as they were read, the plan over them, and when they were asked for, in monotonic seconds."""

    current: SyncSettings
    plan: Plan
    at: float


@dataclass
class Application:
    """One change of a company's sync settings; ``clock`` gives monotonic seconds, ``jitter`` numbers in 0 to 1."""

    company_id: str
    goal: Goal
    policy: RetryPolicy
    log: Log
    clock: Callable[[], float]
    jitter: Callable[[], float]
    _account: SyncSettings | None = field(default=None, init=False)

    def steps(self, *, dry_run: bool) -> Steps[Applied]:
        """Yield the requests to send, each once, and the pauses between them; return how it ended."""
        reading = yield from self._read()
        planned = reading.plan
        self._log_plan(planned, dry_run=dry_run)
        if not planned.changes:
            self._log_not_named(reading)
        if dry_run or not planned.changes:
            return Applied(planned, reading.current)
        alone = 0
        for attempt in itertools.count(1):
            written = yield from self._write(reading)
            yield Sleep(SETTLE)
            reading = yield from self._read()
            left = self.goal.left(reading.plan)
            if not left:
                break
            alone = 0 if self._others_wrote(written, reading) else alone + 1
            if attempt == MOST_ATTEMPTS or alone == MOST_ATTEMPTS_ALONE:
                return Applied(planned, reading.current, left, attempt)
            pause = self.jitter() * min(FIRST_PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE)
            self.log.warning(
                "Sync settings of company %s that are not as they were written (attempt %d); %s. They are written again"
                " in %.1f s:\n%s",
                self.company_id,
                attempt,
                "nothing else differs" if alone else "others differ too, so another writer has overwritten them",
                pause,
                table(left),
            )
            yield Sleep(pause)
            reading = yield from self._read()
        self.log.info("Codat has taken the sync settings of company %s.", self.company_id)
        self._log_not_named(reading)
        return Applied(planned, reading.current, attempts=attempt)

    def _read(self) -> Steps[_Reading]:
        current, at = yield from self._ask(get_company_sync_settings(self.company_id))
        if self._account is None and self.goal.to_drop(current):
            self._account, _ = yield from self._ask(get_account_sync_settings())
        return _Reading(current, self.goal.plan(current, self._account), at)

    def _ask(self, request: Request[T]) -> Steps[tuple[T, float]]:
        """Return the answer, and when it was asked for."""
        attempt = 0
        while True:
            attempt += 1
            at = self.clock()
            try:
                answer: T = yield request
            except CodatError as error:
                pause = self._pause_after(error, attempt, request)
            else:
                return answer, at
            yield pause

    def _write(self, reading: _Reading) -> Steps[_Reading]:
        """Write what is planned, and return the reading that it rests on."""
        for attempt in itertools.count(1):
            if not reading.plan.changes:  # an attempt without an answer has done it, or others have restored it
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
                pause = self._pause_after(error, attempt, request)
            else:
                self._warn_if_late(reading)
                break
            # It may have been carried out all the same: then the next write comes no sooner than after any other.
            yield Sleep(max(pause.seconds, SETTLE))
            reading = yield from self._read()
        return reading

    def _pause_after(self, error: CodatError, attempt: int, request: Request[Any]) -> Sleep:
        """Return the pause before a request is sent again, or raise the error."""
        seconds = next_wait(error, attempt, request, self.policy, self.jitter)
        if seconds is None:
            raise error
        self.log.warning(
            "%s Trying again in %.1f s (attempt %d of %d failed).", error, seconds, attempt, self.policy.max_attempts
        )
        return Sleep(seconds)

    def _warn_if_late(self, reading: _Reading) -> None:
        took = self.clock() - reading.at
        if took > SETTLE:
            self.log.warning(
                "The sync settings of company %s were written on the strength of what was read %.1f s before. A change"
                " that somebody else made in that time may be lost, and is not made again by this task.",
                self.company_id,
                took,
            )

    def _others_wrote(self, written: _Reading, back: _Reading) -> bool:
        """Whether what was read back differs from what was written in more than what is wanted.

        A data type that was left out and has the account's default says nothing: Codat may fill it in.
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

    def _log_not_named(self, reading: _Reading) -> None:
        shown = [
            f"{each.data_type} (syncSchedule {each.answered.get('syncSchedule')},"
            f" {'as' if is_default(each, self._account) else 'not as'} the account's default)"
            for each in self.goal.to_drop(reading.current)
        ]
        if shown:
            what = ", ".join(shown)
            self.log.info("Codat shows settings of company %s that were not named: %s.", self.company_id, what)


def table(changes: tuple[Change, ...]) -> str:
    """Return changes as text, one a line."""
    rows = [("data type", "field", "from", "to")]
    rows += [(each.data_type or "(company)", each.field, _cell(each.before), _cell(each.after)) for each in changes]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)


def _plan_limit_hint(target: SyncSettings) -> str:
    schedules = {each.data_type: each.schedule for each in target.settings}
    hourly = [name for name, each in schedules.items() if isinstance(each, SyncSchedule) and each.hours == 1]
    if not hourly:
        return "The Codat plan does not include what was asked for"
    return f"Hourly syncs need a paid Codat plan; asked for by {', '.join(hourly)}. On a free plan 24 is the shortest"
