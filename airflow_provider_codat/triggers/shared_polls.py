"""The polls of a process: all triggers that wait on one company share one, and all on one connection share a sender.

A trigger calls :func:`wait_for_end`. What is asked when is decided in ``api.waiting.schedule`` and
``api.waiting.listing``, what an answer means to a wait in ``api.waiting.wait``, and when a request may be sent in
``api.waiting.budget``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from airflow_provider_codat.api.endpoints.operation import OperationT
from airflow_provider_codat.api.waiting.listing import ListFeatures, ListUsefulness
from airflow_provider_codat.triggers.company_poll import CompanyPoll
from airflow_provider_codat.triggers.sender import Sender

if TYPE_CHECKING:
    from airflow_provider_codat.api.waiting.wait import OperationWait, Pace


async def wait_for_end(codat_conn_id: str, wait: OperationWait[OperationT], pace: Pace, deadline: float) -> OperationT:
    """Wait until an operation has ended, together with all who wait on the same company.

    :param wait: what is waited for; it logs where the caller logs, and knows the last status afterwards.
    :param deadline: when to stop, in epoch seconds.
    :raises CodatWaitTimeout: the deadline passed.
    :raises CodatError: waiting cannot help.
    """
    _ = wait.request  # an id that no URL can hold is refused before anything is asked
    polls = polls_of_this_loop()[codat_conn_id]
    await polls.sender.open()
    operation: OperationT = await polls.poll_for(wait).wait(wait, pace, deadline)
    return operation


class SharedPolls:
    """The polls on one connection, one for each company and kind of operation, and what they share."""

    def __init__(self, codat_conn_id: str) -> None:
        self.sender = Sender(codat_conn_id)
        self._features: defaultdict[str, ListFeatures] = defaultdict(ListFeatures)
        self._usefulness: defaultdict[tuple[str, str], ListUsefulness] = defaultdict(ListUsefulness)
        self._polls: dict[tuple[str, str], CompanyPoll] = {}

    def poll_for(self, wait: OperationWait[OperationT]) -> CompanyPoll:
        """Return the poll for a wait's company and kind, a new one if none is running."""
        of = wait.kind.name, wait.company_id
        if of not in self._polls:
            self._polls[of] = CompanyPoll(
                kind=wait.kind,
                company_id=wait.company_id,
                sender=self.sender,
                features=self._features[wait.kind.name],
                usefulness=self._usefulness[of],
                when_over=self._forget,
            )
        return self._polls[of]

    @property
    def are_idle(self) -> bool:
        """Whether no poll is running."""
        return not self._polls

    def _forget(self, poll: CompanyPoll) -> None:
        """Let the next wait of a poll's company begin a new one."""
        of = poll.kind.name, poll.company_id
        if self._polls.get(of) is poll:
            del self._polls[of]
            if self._usefulness[of] == ListUsefulness():
                del self._usefulness[of]


class _PollsByConnection(dict[str, SharedPolls]):
    def __missing__(self, codat_conn_id: str) -> SharedPolls:
        return self.setdefault(codat_conn_id, SharedPolls(codat_conn_id))


_polls: dict[asyncio.AbstractEventLoop, _PollsByConnection] = {}


def polls_of_this_loop() -> dict[str, SharedPolls]:
    """Return the polls of the running event loop, by the id of the connection."""
    loop = asyncio.get_running_loop()
    if loop not in _polls:
        for gone in [each for each in _polls if each.is_closed()]:
            del _polls[gone]
    return _polls.setdefault(loop, _PollsByConnection())
