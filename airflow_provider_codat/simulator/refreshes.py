"""``codat.refreshes``: with this, tests control how refreshes go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_codat.simulator.data_types import DATA_TYPES
from airflow_provider_codat.simulator.outcomes import RefreshOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_codat.simulator.account import Account


class Refreshes:
    """The refreshes of a simulated account, and how they end.

    :param account: the state of the account.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._pulls = account.pulls

    def outcome(
        self,
        outcome: RefreshOutcome,
        *,
        company_id: str | None = None,
        connection_id: str | None = None,
        data_type: str | None = None,
        id: str | None = None,
    ) -> None:
        """Set how later refreshes end, or a running one.

        The most specific setting wins: one for a company before one for a connection before one for a data type.

        :param outcome: how they end.
        :param company_id: only refreshes of this company; default all.
        :param connection_id: only refreshes of this connection; default all.
        :param data_type: only refreshes of this data type; default all.
        :param id: only this running refresh, whatever the others are; default later refreshes.
        :raises KeyError: for an unknown id.
        :raises ValueError: if that refresh has ended, or for an unknown data type.
        """
        if data_type is not None:
            check_data_type(data_type)
        with self._account.at_present():
            if id is None:
                self._pulls.rules.set(outcome, company_id, connection_id, data_type)
            else:
                self._pulls.decide(self._pulls.find_pending(id), outcome)

    def outcomes(
        self, outcomes: Sequence[RefreshOutcome], *, weights: Sequence[float] | None = None, seed: int = 0
    ) -> None:
        """Set how the next refreshes end, one by one, or the outcomes that refreshes draw at random.

        :param outcomes: without ``weights``, the next refreshes take each once, in order, before any rule of
            :meth:`outcome`. With ``weights``, every refresh that no rule decides draws one of them.
        :param weights: relative probabilities, one for each outcome; default ``None``.
        :param seed: seed of the draw; default 0.
        """
        with self._account.at_present():
            if weights is None:
                self._pulls.rules.queue.extend(outcomes)
            else:
                self._pulls.rules.distribute(outcomes, weights, seed)

    def add(
        self,
        company_id: str,
        data_type: str,
        connection_id: str | None = None,
        outcome: RefreshOutcome | None = None,
        *,
        requested_on: float | None = None,
    ) -> str:
        """Add a refresh as if Codat's schedule or another client had requested it, and return its id.

        :param company_id: the company.
        :param data_type: what is refreshed.
        :param connection_id: the connection; default the oldest of the company.
        :param outcome: how it ends; default as set by :meth:`outcome` or :meth:`outcomes`.
        :param requested_on: when it was requested, in epoch seconds; default now.
        :raises ApiError: for an unknown company or connection, and if such a refresh is running.
        :raises ValueError: for an unknown data type.
        """
        check_data_type(data_type)
        with self._account.at_present():
            company = self._account.books.company(company_id)
            connection = company.connection(connection_id or company.connection_id)
            return self._pulls.queue(company_id, connection, data_type, outcome, requested_on).key

    def finish(self, id: str, outcome: RefreshOutcome | None = None) -> None:
        """End a running refresh now.

        :param id: its id.
        :param outcome: how it ends, default as a success; its ``latency`` and ``polls`` are ignored.
        :raises KeyError: for an unknown id.
        :raises ValueError: if it has already ended.
        """
        with self._account.at_present():
            self._pulls.end(self._pulls.find_pending(id), outcome or RefreshOutcome(), self._account.clock())

    def get(self, id: str) -> dict[str, Any]:
        """Return a pull operation as Codat would answer it. This does not count as a read for ``polls``.

        :param id: its id.
        :raises KeyError: for an unknown id.
        """
        with self._account.at_present():
            return self._pulls.to_json(self._pulls.find(id))

    def of_company(self, company_id: str, data_type: str | None = None) -> list[dict[str, Any]]:
        """Return a company's pull operations as :meth:`get` does, oldest first.

        :param company_id: the company.
        :param data_type: only those of this data type; default all.
        """
        with self._account.at_present():
            found = self._pulls.of_company(company_id)
            return [self._pulls.to_json(each) for each in found if data_type in (None, each.data_type)]


def check_data_type(data_type: str) -> None:
    """Refuse a data type that Codat does not have.

    :param data_type: its name.
    :raises ValueError: if Codat does not have it.
    """
    if data_type not in DATA_TYPES:
        raise ValueError(f"data_type is {data_type!r}, but Codat has {', '.join(sorted(DATA_TYPES))}")
