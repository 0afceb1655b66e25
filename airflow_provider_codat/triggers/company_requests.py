"""Requests about one company that belong to no shared poll, one at a time for each trigger that asks.

Triggers of one company ask the same at the same time. Equal requests are sent once, as long as the first of them waits
in the queue. A request that is already sent is not shared.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.retry import can_be_waited_out, retry_after
from airflow_provider_codat.triggers.sender import Place, Sender

if TYPE_CHECKING:
    from airflow_provider_codat.api.http.steps import Steps

T = TypeVar("T")

COLLECT = 0.1
"""Seconds for which a request waits for others that ask the same."""

AGAIN_AFTER = (2.0, 10.0, 30.0)
"""Seconds after which a request of steps is sent again that is not their first."""

LONGEST_RETRY_AFTER = 60.0
"""The longest ``Retry-After`` in seconds after which it is sent again."""


@dataclass(eq=False)
class _Question:
    request: Request[Any]
    due: float
    answer: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def is_same(self, request: Request[Any]) -> bool:
        return (self.request.method, self.request.path, self.request.params) == (
            request.method,
            request.path,
            request.params,
        )


class CompanyRequests:
    """A company in the sender's queue whose requests come from single triggers, such as watchers."""

    def __init__(self, sender: Sender) -> None:
        self.place = Place()
        self._sender = sender
        self._queue: deque[_Question] = deque()
        self._under_way: set[_Question] = set()

    async def ask(self, request: Request[T]) -> T:
        """Send a request and return its answer. The connection must be open.

        :raises CodatError: the request failed.
        """
        question = next((each for each in self._queue if each.is_same(request)), None)
        if question is None:
            question = _Question(request, time.monotonic() + COLLECT)
            self._queue.append(question)
            self._sender.wake(self)
        answer: T = await asyncio.shield(question.answer)
        return answer

    async def run(self, steps: Steps[T]) -> T:
        """Run steps that only send requests, and return their result. The connection must be open.

        An error of the first request goes to the steps at once. A later request is sent again after transient errors,
        so that a list of many pages does not begin anew because of one of them. Once this was of no use, it is not done
        any more: steps that pass over what cannot be read do not pause for each.
        """
        answer: Any = None
        error: CodatError | None = None
        pauses: Sequence[float] = ()  # of the next request
        later: Sequence[float] = AGAIN_AFTER
        while True:
            try:
                step = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = error = None
            if isinstance(step, Request):
                try:
                    answer = await self._ask_again(step, pauses)
                except CodatError as failure:
                    error = failure
                    later = () if pauses else later
                pauses = later

    async def _ask_again(self, request: Request[T], pauses: Sequence[float]) -> T:
        for pause in pauses:
            try:
                return await self.ask(request)
            except CodatError as error:
                at_least = retry_after(error) or 0.0
                if not can_be_waited_out(error) or at_least > LONGEST_RETRY_AFTER:
                    raise
                await asyncio.sleep(max(pause, at_least))
        return await self.ask(request)

    # -- what the sender calls ---------------------------------------------------------------------------------------

    def next_at(self) -> float:
        """Return when to send the next request, in monotonic seconds; infinity without one."""
        return self._queue[0].due if self._queue else math.inf

    def take(self, now: float) -> _Question | None:
        """Return the question to send now, or ``None`` if none is due."""
        if self.next_at() > now:
            return None
        question = self._queue.popleft()
        self._under_way.add(question)
        return question

    def request(self, question: _Question) -> Request[Any]:
        """Return the request of a question."""
        return question.request

    async def answered(self, question: _Question, answer: Any) -> None:
        """Hand an answer to all who asked."""
        self._under_way.discard(question)
        question.answer.set_result(answer)

    async def failed(self, question: _Question, error: CodatError) -> None:
        """Hand an error to all who asked."""
        self._under_way.discard(question)
        _fail(question, error)

    def is_slow(self, question: _Question) -> None:
        """Go on without the answer to a question that takes long."""

    def again(self, question: _Question) -> None:
        """Send a question again, because the connection has changed."""
        self._under_way.discard(question)
        self._queue.appendleft(question)

    def break_off(self, error: Exception) -> None:
        """Fail all questions after an unexpected error."""
        for question in (*self._queue, *self._under_way):
            _fail(question, CodatError(f"The triggerer's request to Codat broke off: {error!r}"))
        self._queue.clear()
        self._under_way.clear()


def _fail(question: _Question, error: CodatError) -> None:
    question.answer.set_exception(error)
    question.answer.exception()  # or else asyncio logs an error that nobody waits for any more
