from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.writing.target import WriteTarget


class OutcomeUnknown(CodatError):
    """Nobody can say whether a record was written, and sending it again might write it twice.

    :param reason: how it came to that, one sentence.
    :param target: where it was to be written.
    :param idempotency_key: the key it was sent under.
    :param since: when the write may have begun, in epoch seconds.
    :param candidates: the push operations since then that it may have become; default none.
    :param history_gap: why the candidates may not be all, or ``None``.
    :param asks_until: until when, in epoch seconds, another try would ask again under the same key and be answered;
        ``None`` if it would not.
    """

    def __init__(
        self,
        reason: str,
        target: WriteTarget,
        idempotency_key: str,
        since: float,
        candidates: Sequence[PushOperation] = (),
        history_gap: str | None = None,
        asks_until: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.target = target
        self.idempotency_key = idempotency_key
        self.since = since
        self.candidates = tuple(candidates)
        self.history_gap = history_gap
        self.asks_until = asks_until

    def __str__(self) -> str:
        lines = [
            f"Nobody can say whether {self.target} was written, and nothing is sent again: {self.reason}",
            f"Idempotency key: {self.idempotency_key}",
            f"What the company's push history has of this kind since {_clock_time(self.since)}:",
            *(f"  {_in_a_line(candidate)}" for candidate in self.candidates),
        ]
        lines += [] if self.candidates or self.history_gap else ["  nothing"]
        lines += [f"  (not all of it: {self.history_gap})"] if self.history_gap else []
        if self.asks_until is not None:
            until = _clock_time(self.asks_until)
            lines.append(f"Until {until} you can clear the task: it asks again under the same key. After that:")
        lines.append(
            "Look into the company's books. If the record is there, mark the task as a success; if it is not, set"
            " resubmit=True and clear the task."
        )
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        told = self.reason, self.target, self.idempotency_key, self.since
        return type(self), (*told, self.candidates, self.history_gap, self.asks_until)


def _clock_time(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")


def _in_a_line(operation: PushOperation) -> str:
    return f"push operation {operation.key}, {operation.status}, requested {operation.requested_on}"
