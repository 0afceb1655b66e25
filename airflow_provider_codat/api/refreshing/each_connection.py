"""Whether data is fresh on each connection of a company, if several connections have a data type.

The data status does not say which connection it shows. So for data that it shows as fresh, the company's list of pull
operations is read, too:

=============================================================  =======================================================
the list shows of a connection                                 the data type
=============================================================  =======================================================
a successful operation since the earliest time that counts     is fresh there
none, and the newest operation of all ended as                 is left out there: the platform does not have it
``NotSupported``
none                                                           is stale
=============================================================  =======================================================

The earliest time that counts follows from ``max_age``, ``since`` and ``max_spread``. Without any of them there is none.
Then the list is not read, because Codat does not say how far back it reaches, and a line in the log says so.

Source: https://docs.codat.io/platform-api#/operations/list-pull-operations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from airflow_provider_codat.api.endpoints.pull_history import is_of, read_newest, requested_at
from airflow_provider_codat.api.endpoints.pull_operations import NOT_SUPPORTED, PullOperation
from airflow_provider_codat.api.http.response import parse_datetime
from airflow_provider_codat.api.http.steps import Log, Steps
from airflow_provider_codat.api.refreshing.decision import Target
from airflow_provider_codat.api.refreshing.targets import choose_targets


class EachConnection:
    """The connections of a company that share a data type with others. They are read once."""

    def __init__(self, company_id: str, log: Log) -> None:
        self._company_id = company_id
        self._log = log
        self._several: list[Target] | None = None

    def find_stale(self, data_types: Sequence[str], earliest: float | None) -> Steps[dict[str, str]]:
        """Return which data types are stale on one of several connections, each with the reason.

        :param earliest: the earliest time that counts in epoch seconds; ``None`` for none.
        :raises CodatError: the connections or the list cannot be read.
        """
        if self._several is None:
            targets = yield from choose_targets(self._company_id, data_types, self._log)
            count = Counter(each.data_type for each in targets)
            self._several = [each for each in targets if count[each.data_type] > 1]
            if self._several and earliest is None:
                self._log.warning(
                    "Company %s has several connections with %s. Codat does not say which of them it has refreshed, so"
                    " the data of another one may be older. With max_age, since or max_spread, each of them counts.",
                    *(self._company_id, ", ".join(dict.fromkeys(each.data_type for each in self._several))),
                )
        several = [each for each in self._several if each.data_type in data_types]
        if not several or earliest is None:
            return {}
        listed = yield from read_newest(self._company_id, lambda found: _reaches_back_to(earliest, found))
        return stale_targets(several, listed, earliest)


def stale_targets(targets: Iterable[Target], listed: Sequence[PullOperation], earliest: float) -> dict[str, str]:
    """Return which data types are stale on one of their connections, each with the reason.

    :param listed: the company's pull operations, oldest first.
    :param earliest: the earliest time that counts, in epoch seconds.
    """
    since = datetime.fromtimestamp(earliest, UTC).isoformat()
    stale: dict[str, str] = {}
    for each in targets:
        own = [operation for operation in listed if is_of(operation, each.data_type, each.connection_id)]
        if any(operation.is_success and _ended_at(operation) >= earliest for operation in own):
            continue
        if own and own[-1].status == NOT_SUPPORTED:
            continue
        now = f" (now {own[-1].status})" if own and not own[-1].is_success else ""
        stale.setdefault(each.data_type, f"was not refreshed on connection {each.connection_id} since {since}{now}")
    return stale


def _reaches_back_to(earliest: float, found: Sequence[PullOperation]) -> bool:
    return any(requested_at(each) < earliest for each in found)


def _ended_at(operation: PullOperation) -> float:
    ended = parse_datetime(operation.completed_on)
    return requested_at(operation) if ended is None else ended.timestamp()
