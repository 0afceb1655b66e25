"""The methods of the simulator with which tests control how pushes go."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.simulator.data_types import WRITES
from airflow_provider_codat.simulator.outcomes import TERMINAL_STATUSES, UNDECIDED, Outcome
from airflow_provider_codat.simulator.push import PushOperation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_codat.simulator.account import Account
    from airflow_provider_codat.simulator.cache import Record


class PushCalls:
    """The part of :class:`CodatSimulator` that is about pushes."""

    _account: Account

    def outcome(
        self, outcome: Outcome, *, data_type: str | None = None, key: str | None = None, company_id: str | None = None
    ) -> None:
        """Set how later pushes end, or a pending one.

        The most specific setting wins: company and data type, company, data type, all.

        :param outcome: how they end.
        :param data_type: only pushes of this data type; default all.
        :param key: only this pending push, whatever ``data_type`` and ``company_id`` are; default later pushes.
        :param company_id: only pushes of this company; default all.
        :raises KeyError: for an unknown key.
        :raises ValueError: if that push has already ended, or if this data type cannot be written.
        """
        if data_type is not None:
            _check_written(data_type)
        with self._account.at_present():
            if key is None:
                self._account.pushes.rules.set(outcome, company_id, data_type)
            else:
                self._account.pushes.decide(self._account.pushes.find_pending(key), outcome)

    def outcomes(self, outcomes: Sequence[Outcome], *, weights: Sequence[float] | None = None, seed: int = 0) -> None:
        """Set how the next pushes end, one by one, or the outcomes that pushes draw at random.

        :param outcomes: without ``weights``, the next pushes take each once, in order, before any rule of
            :meth:`outcome`. With ``weights``, every push that no rule decides draws one of them.
        :param weights: relative probabilities, one for each outcome; default ``None``.
        :param seed: seed of the draw; default 0.
        """
        with self._account.at_present():
            if weights is None:
                self._account.pushes.rules.queue.extend(outcomes)
            else:
                self._account.pushes.rules.distribute(outcomes, weights, seed)

    def add_push(
        self,
        company_id: str,
        data_type: str = "bills",
        status: str = "Pending",
        record: Record | None = None,
        outcome: Outcome | None = None,
        *,
        requested_on: float | None = None,
    ) -> str:
        """Add a push as if another client had made it, and return its key.

        :param company_id: the company.
        :param data_type: the data type of its record; default ``bills``.
        :param status: a terminal status ends it at once; any other, such as ``Pending``, the default, is its status
            until it ends.
        :param record: the record that it writes; default an empty one.
        :param outcome: how it ends; default as set by :meth:`outcome` or :meth:`outcomes`, else not before
            :meth:`finish`.
        :param requested_on: when it was made, in epoch seconds, default now; a terminal ``status`` ends it then, too.
        :raises ApiError: for an unknown company.
        :raises ValueError: if this data type cannot be written.
        """
        _check_written(data_type)
        with self._account.at_present():
            company = self._account.books.company(company_id)
            ended = status in TERMINAL_STATUSES
            if outcome is None:
                outcome = Outcome() if ended else self._account.pushes.rules.next(company_id, data_type) or UNDECIDED
            requested_on = self._account.clock() if requested_on is None else requested_on
            push = PushOperation(company_id, company.connection_id, data_type, requested_on, outcome)
            push.record = record or {}
            self._account.pushes.add(push)
            if ended:
                self._account.pushes.end(push, replace(outcome, status=status), push.requested_on)
            else:
                push.status = status
            return push.key

    def finish(self, key: str, outcome: Outcome | None = None) -> None:
        """End a pending push now.

        :param key: its key.
        :param outcome: how it ends, default as a success; its ``latency`` and ``polls`` are ignored.
        :raises KeyError: for an unknown key.
        :raises ValueError: if it has already ended.
        """
        with self._account.at_present():
            self._account.pushes.end(
                self._account.pushes.find_pending(key), outcome or Outcome(), self._account.clock()
            )

    def push(self, key: str) -> dict[str, Any]:
        """Return a push as Codat would answer it. This does not count as a read for ``Outcome.polls``.

        :param key: its key.
        :raises KeyError: for an unknown key.
        """
        with self._account.at_present():
            return self._account.pushes.to_json(self._account.pushes.find(key))


def _check_written(data_type: str) -> None:
    if data_type not in WRITES:
        raise ValueError(f"data_type is {data_type!r}, but records are written to {', '.join(WRITES)}")
