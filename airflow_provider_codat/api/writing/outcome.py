from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.writing.stored import WriteTarget


@dataclass(eq=False, repr=False)
class OutcomeUnknown(CodatError):
    """It is not known whether a record was written, and sending it again could write it twice.

    :param since: the earliest time at which the write can have begun, in epoch seconds.
    :param candidates: the push operations since then that the write may have created; default none.
    :param history_gap: why candidates may be missing; default ``None``.
    :param asks_until: until this time, in epoch seconds, another try can send the request again under the same
        idempotency key, and Codat replays its answer; default ``None`` if it cannot.
    """

    reason: str
    target: WriteTarget
    idempotency_key: str
    since: float
    candidates: tuple[PushOperation, ...] = ()
    history_gap: str | None = None
    asks_until: float | None = None

    def __post_init__(self) -> None:
        # Only this: repr shows an exception's arguments, and operations can quote a record.
        super().__init__(self.reason)
        self.candidates = tuple(self.candidates)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.target, self.idempotency_key, self.since), vars(self)

    def __str__(self) -> str:
        lines = [
            f"It is not known whether {self.target} was written, and nothing is sent again: {self.reason}",
            f"Idempotency key: {self.idempotency_key}",
            f"Push operations of this kind in the company's push history since {_clock_time(self.since)}:",
            *(f"  push operation {each.key}, {each.status}, requested {each.requested_on}" for each in self.candidates),
        ]
        lines += [] if self.candidates or self.history_gap else ["  none"]
        lines += [f"  (some may be missing: {self.history_gap})"] if self.history_gap else []
        if self.asks_until is not None:
            until = _clock_time(self.asks_until)
            lines.append(
                f"Until {until} you can clear the task: it repeats the request under the same key. After that:"
            )
        lines.append(
            "Check the company's books. If the record is there, mark the task as a success; if it is not, set"
            " resubmit=True and clear the task."
        )
        return "\n".join(lines)


def _clock_time(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
