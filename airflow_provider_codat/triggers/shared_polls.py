"""The polls of a process. Triggers that wait on one company share a poll; those on one connection share a sender.

A trigger calls :func:`wait_for_end`. ``api.waiting.request_budget`` decides when a request may be sent.
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
    from airflow_provider_codat.api.waiting.pace import Pace
    from airflow_provider_codat.api.waiting.wait import OperationWait


async def wait_for_end(codat_conn_id: str, wait: OperationWait[OperationT], pace: Pace, deadline: float) -> OperationT:
    """Wait until an operation has ended, in the poll that all waits on its company share.

    :param deadline: when to stop, in epoch seconds.
    :raises CodatWaitTimeout: the deadline passed first; ``wait`` has the last status.
    :raises CodatError: an error that is not transient ended the wait.
    """
    _ = wait.request  # raises for an id that cannot be part of a URL, before any request
    by_connection = polls_of_this_loop()
    if codat_conn_id not in by_connection:
        by_connection[codat_conn_id] = SharedPolls(codat_conn_id)
    polls = by_connection[codat_conn_id]
    await polls.sender.open(deadline)
    operation: OperationT = await polls.poll_for(wait).wait(wait, pace, deadline)
    return operation


class SharedPolls:
    """The polls on one connection, one for each company and kind of operation, with their sender."""

    def __init__(self, codat_conn_id: str) -> None:
        self.sender = Sender(codat_conn_id)
        self._features: defaultdict[str, ListFeatures] = defaultdict(ListFeatures)
        self._usefulness: defaultdict[tuple[str, str], ListUsefulness] = defaultdict(ListUsefulness)
        self._polls: dict[tuple[str, str], CompanyPoll] = {}

    def poll_for(self, wait: OperationWait[OperationT]) -> CompanyPoll:
        """Return the running poll for a wait's company and kind, or a new one."""
        poll_key = wait.kind.name, wait.company_id
        if poll_key not in self._polls:
            self._polls[poll_key] = CompanyPoll(
                kind=wait.kind,
                company_id=wait.company_id,
                sender=self.sender,
                features=self._features[wait.kind.name],
                usefulness=self._usefulness[poll_key],
                when_over=self._forget,
            )
        return self._polls[poll_key]

    def _forget(self, poll: CompanyPoll) -> None:
        """Remove a poll that is over. The next wait on its company starts a new one."""
        poll_key = poll.kind.name, poll.company_id
        if self._polls.get(poll_key) is poll:
            del self._polls[poll_key]
            if self._usefulness[poll_key] == ListUsefulness():
                del self._usefulness[poll_key]


_polls: dict[asyncio.AbstractEventLoop, dict[str, SharedPolls]] = {}


def polls_of_this_loop() -> dict[str, SharedPolls]:
    """Return the polls of the running event loop, by the id of the connection."""
    loop = asyncio.get_running_loop()
    if loop not in _polls:
        for gone in [each for each in _polls if each.is_closed()]:
            del _polls[gone]
    return _polls.setdefault(loop, {})
