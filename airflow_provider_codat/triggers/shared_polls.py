"""The polls of a process. Triggers that wait on one company share a poll; those on one connection share a sender.

A trigger calls :func:`wait_for_end`. ``api.limits`` decides when a request may be sent.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.api.waiting.company_list import ListOrder
from airflow_provider_codat.api.waiting.pace import WEBHOOK_PAUSE
from airflow_provider_codat.api.waiting.webhooks import ENOUGH, Hints, Trust
from airflow_provider_codat.api.webhook_hints import read_hints
from airflow_provider_codat.triggers.company_poll import CompanyPoll
from airflow_provider_codat.triggers.company_requests import CompanyRequests
from airflow_provider_codat.triggers.sender import Sender
from airflow_provider_codat.triggers.slices import in_slices
from airflow_provider_codat.triggers.thread_log import ThreadLog
from airflow_provider_codat.triggers.webhook_mailbox import MailboxReader, has_mailbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_codat.api.waiting.pace import Pace
    from airflow_provider_codat.api.waiting.wait import Wait

LOG_EVERY = 3600.0
"""Seconds in which each line about one kind of operation is logged at most once."""

_RELIED_ON = (
    "Webhooks of connection %r have announced the last %d ends (%s). Waits that no webhook wakes are checked every"
    " %.0f s from now on."
)
_NOT_RELIED_ON = "Webhooks of connection %r are not relied on (%s): %s. All waits go on at the usual pace."

log = ThreadLog(logging.getLogger(__name__))


async def wait_for_end(codat_conn_id: str, wait: Wait, pace: Pace, deadline: float, began: float | None = None) -> Any:
    """Wait until a wait has ended, in the poll that all waits on its company share, and return the last state.

    :param deadline: when to stop, in epoch seconds.
    :param began: when the wait began, perhaps in an earlier process, in epoch seconds; default now.
    :raises CodatWaitTimeout: the deadline passed first; ``wait`` has the last status.
    :raises CodatError: an error that is not transient ended the wait.
    """
    wait.kind.get(wait.company_id, wait.key)  # raises for an id that cannot be part of a URL, before any request
    polls = polls_on(codat_conn_id)
    await polls.sender.open(deadline)
    # The poll counts in monotonic seconds, so that a clock that is set back or forward neither stops nor hurries it.
    to_monotonic = time.monotonic() - time.time()
    wait.not_before += to_monotonic
    began = time.monotonic() if began is None else began + to_monotonic
    return await polls.poll_for(wait).wait(wait, pace, began, deadline + to_monotonic)


class SharedPolls:
    """The polls on one connection, one for each company and kind, with their sender."""

    def __init__(self, codat_conn_id: str) -> None:
        self.sender = Sender(codat_conn_id)
        self._name = codat_conn_id
        self._orders: defaultdict[str, ListOrder] = defaultdict(ListOrder)
        self._trusts: defaultdict[str, Trust] = defaultdict(Trust)
        self._polls: dict[tuple[str, str], CompanyPoll] = {}
        self._trusted: set[str] = set()  # the kinds whose webhooks were trusted after the last read
        self._logged_at: dict[tuple[str, str], float] = {}  # by message and kind
        self._hints = Hints()
        self._mailbox = MailboxReader(codat_conn_id, self) if has_mailbox(codat_conn_id) else None
        self._requests: dict[str, CompanyRequests] = {}

    def poll_for(self, wait: Wait) -> CompanyPoll:
        """Return the running poll for a wait's company and kind, or a new one."""
        poll_key = wait.kind.name, wait.company_id
        if poll_key not in self._polls:
            order, trust = self._orders[wait.kind.name], self._trusts[wait.kind.name]
            self._polls[poll_key] = CompanyPoll(wait.kind, wait.company_id, self.sender, order, trust, self._forget)
            if self._mailbox is not None:
                self._mailbox.start()
        return self._polls[poll_key]

    def requests_about(self, company_id: str) -> CompanyRequests:
        """Return the requests about a company that belong to no poll, such as those of watchers."""
        if company_id not in self._requests:
            self._requests[company_id] = CompanyRequests(self.sender)
        return self._requests[company_id]

    def _forget(self, poll: CompanyPoll) -> None:
        """Remove a poll that is over. The next wait on its company starts a new one."""
        poll_key = poll.kind.name, poll.company_id
        if self._polls.get(poll_key) is poll:
            del self._polls[poll_key]

    # -- what the reader of the mailbox calls ------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """Whether there are waits, or ends that a hint may still announce."""
        return bool(self._polls) or any(trust.has_open_ends for trust in self._trusts.values())

    async def hear(self, mailbox: Any) -> None:
        """Check the operations at once that the hints of webhooks name."""
        self._hints.read(read_hints(mailbox))
        async for poll in in_slices(list(self._polls.values())):
            await poll.hear(self._hints)
        for kind, trust in list(self._trusts.items()):
            missed = trust.heard(self._hints, time.monotonic())
            if missed:
                await self._hurry(kind, f"none has announced an end at company {missed[0].company_id}")
            if trust.is_earned and kind not in self._trusted:
                self._trusted.add(kind)
                self._log_rarely(log.info, _RELIED_ON, kind, ENOUGH, kind, WEBHOOK_PAUSE)

    async def cannot_hear(self) -> None:
        """Go on at the usual pace, because the mailbox cannot be read."""
        for kind, trust in list(self._trusts.items()):
            if trust.cannot_hear():
                await self._hurry(kind, "they cannot be read")

    async def _hurry(self, kind: str, reason: str) -> None:
        self._trusted.discard(kind)
        self._log_rarely(log.warning, _NOT_RELIED_ON, kind, kind, reason)
        async for poll in in_slices([each for each in self._polls.values() if each.kind.name == kind]):
            await poll.hurry()

    def _log_rarely(self, write: Callable[..., None], message: str, kind: str, *values: Any) -> None:
        now = time.monotonic()
        if now - self._logged_at.get((message, kind), -math.inf) >= LOG_EVERY:
            self._logged_at[message, kind] = now
            write(message, self._name, *values)


_polls: dict[asyncio.AbstractEventLoop, dict[str, SharedPolls]] = {}


def polls_on(codat_conn_id: str) -> SharedPolls:
    """Return the polls of the running event loop on a connection."""
    by_connection = polls_of_this_loop()
    if codat_conn_id not in by_connection:
        by_connection[codat_conn_id] = SharedPolls(codat_conn_id)
    return by_connection[codat_conn_id]


def polls_of_this_loop() -> dict[str, SharedPolls]:
    """Return the polls of the running event loop, by the id of the connection."""
    loop = asyncio.get_running_loop()
    if loop not in _polls:
        for gone in [each for each in _polls if each.is_closed()]:
            del _polls[gone]
    return _polls.setdefault(loop, {})
