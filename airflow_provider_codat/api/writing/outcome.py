from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.api.writing.stored import WriteTarget


@dataclass(eq=False, repr=False)
class OutcomeUnknown(CodatError):
    """Nobody can say whether a record was written, and sending it again might write it twice.

    :param since: when the write may have begun, in epoch seconds.
    :param candidates: the push operations since then that it may have become; default none.
    :param history_gap: why the candidates may not be all, or ``None``.
    :param asks_until: until when, in epoch seconds, another try would ask again under the same key and be answered;
        ``None`` if it would not.
    """

    reason: str
    target: WriteTarget
    idempotency_key: str
    since: float
    candidates: tuple[PushOperation, ...] = ()
    history_gap: str | None = None
    asks_until: float | None = None

    def __str__(self) -> str:
        lines = [
            f"Nobody can say whether {self.target} was written, and nothing is sent again: {self.reason}",
            f"Idempotency key: {self.idempotency_key}",
            f"What the company's push history has of this kind since {_clock_time(self.since)}:",
            *(f"  push operation {each.key}, {each.status}, requested {each.requested_on}" for each in self.candidates),
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


def _clock_time(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")
