"""``CodatEventTrigger``: reports to an asset what has ended at Codat, for an ``AssetWatcher``."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Hashable, Iterable, Sequence, Set
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_codat.api.data_types import did_you_mean
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.watching.watch import READ, Subject

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError:  # Airflow 2
    BaseEventTrigger = None  # type: ignore[assignment, misc]  # mypy sees one Airflow

try:
    from airflow.triggers.shared_stream import SharedStreamProducer
except ImportError:  # before Airflow 3.3
    SharedStreamProducer = object  # type: ignore[assignment, misc]  # likewise

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import AdvanceItem

    Base = BaseEventTrigger
else:
    Base = BaseEventTrigger or BaseTrigger

LONGEST_INTERVAL = 86_400
"""The longest ``poll_interval`` in seconds. A larger number is most likely one of milliseconds."""


class _InputError(CodatInputError, TypeError):
    """Of an argument of a watcher. It is a ``TypeError``, so that Airflow 3.1 to 3.3 fail this watcher alone.

    Any other error of a trigger's constructor ends their triggerer, with all tasks that wait in it.
    """


@dataclass(eq=False, repr=False, kw_only=True)
class CodatEventTrigger(Base):
    """Watches a company for an ``AssetWatcher``: an asset event for each poll that finds what has ended.

    It polls for what Codat's webhooks report, so it also works where no webhook can come in. An event has the payload
    ``{"changes": [...], "cursor": ...}``, and ``airflow_provider_codat.assets.codat_changes`` reads the changes. A
    change is ``{eventType, companyId, connectionId, dataType, status, codatConnId}``, with ``pullOperationId`` for a
    refresh, and ``pushOperationKey`` and ``recordId`` for a push operation: ids and names, never records. What Codat
    does not say is missing. ``cursor`` is the UTC time of the latest request for an operation that the poll has seen,
    ISO 8601.

    An event has at most 500 changes. More come in several events, of which only the last has the new ``cursor``.

    Transient errors never end it. It polls again later, and logs each kind of error once.

    From Airflow 3.3 on, it loses nothing while the triggerer is down or restarts; changes can then come twice. Airflow
    3.1 and 3.2 have no place for its cursor: after a restart it reports what ends from then on. A new
    watcher reports only what ends after its first poll. It needs Airflow 3.1.

    :param asset_name: the name of the watched asset, below which Airflow 3.3 stores the cursor.
    :param company_id: the company. For several companies, give the asset a watcher for each.
    :param events: what to watch, by the names of Codat's webhooks: ``read.completed`` (the default) for refreshes, and
        ``invoices.write.successful`` or ``invoices.write.unsuccessful`` for push operations. The text ``{dataType}`` in
        place of ``invoices`` stands for any data type. An unknown data type causes a warning.
    :param data_types: only these data types count for ``read.completed`` and for events of any data type; default
        ``None``, all.
    :param failed_reads: whether ``read.completed`` also reports refreshes that ended otherwise than as ``Complete``,
        such as ``FetchError`` or ``AuthError``; default ``False``, because they have changed no records.
    :param codat_conn_id: the id of the Airflow connection; default ``codat_default``.
    :param poll_interval: seconds between two polls, default 300. A poll is one request for push operations and one for
        refreshes, if ``events`` has them.
    :raises CodatInputError: an argument is wrong, or Airflow is older than 3.1.

    A watcher whose other arguments than ``poll_interval`` change is another one, with a cursor of its own.

    Source: https://docs.codat.io/using-the-api/webhooks/event-types and
    https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/event-scheduling.html.
    """

    class_path: ClassVar[str] = "airflow_provider_codat.triggers.codat.CodatEventTrigger"

    asset_name: str
    company_id: str
    events: Sequence[str] = field(default_factory=lambda: [READ])
    data_types: Sequence[str] | None = None
    failed_reads: bool = False
    codat_conn_id: str = "codat_default"
    poll_interval: float = 300.0

    def __post_init__(self) -> None:
        if BaseEventTrigger is None:
            raise CodatInputError("CodatEventTrigger needs Airflow 3.1 or later: earlier versions have no AssetWatcher")
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow left it without types
        self.events = _as_list(self.events)
        self.data_types = _as_list(self.data_types)
        try:
            self._check()
            self._subject = Subject.of(self.company_id, self.events, self.data_types, self.failed_reads)
        except CodatInputError as error:
            raise _InputError(str(error)) from None
        for name in self._subject.unknown_data_types:
            message = f"data type {name!r} is unknown to this version: check its spelling.{did_you_mean(name)}"
            warnings.warn(message, stacklevel=3)

    def _check(self) -> None:
        for name in ("asset_name", "codat_conn_id"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise CodatInputError(f"{name} is {value!r}: give a name")
        interval = self.poll_interval
        if not isinstance(interval, int | float) or isinstance(interval, bool) or not 0 < interval <= LONGEST_INTERVAL:
            raise CodatInputError(
                f"poll_interval is {interval!r}: it is in seconds, give a number above 0 and up to {LONGEST_INTERVAL:,}"
            )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments. Airflow stores them, and makes the trigger again from them."""
        return self.class_path, asdict(self)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield events for ever. Airflow 3.1 and 3.2 call this."""
        async for payload, _ in self._polls(cursor=None):
            if payload["changes"]:
                yield TriggerEvent(payload)

    # -- Airflow 3.3: a stream that learns which events are stored, and stores the cursor after them ------------------

    def shared_stream_key(self) -> Hashable:
        """Return what tells this watcher apart from others.

        It has the ``poll_interval``, because a stream goes on with the arguments of the watcher that began it.
        """
        return "codat", self.asset_name, self._cursor_key, self.poll_interval

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return the stream of the polls."""
        return _Polls(cls(**kwargs))

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each poll with changes."""
        async for payload in shared_stream:
            if payload["changes"]:
                yield TriggerEvent(payload)

    @property
    def _cursor_key(self) -> str:
        return f"codat_watcher_{self._subject.key(self.codat_conn_id)}"

    async def _polls(self, cursor: Any) -> AsyncIterator[tuple[dict[str, Any], dict[str, Any]]]:
        from airflow_provider_codat.triggers.watching import polls

        async for payload, after in polls(self._subject, self.codat_conn_id, self.poll_interval, cursor):
            yield payload, after


def _as_list(names: Any) -> Any:
    """Return names as a list that is the same at each parse. What is no list of names stays as it is."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        return names
    return sorted(names, key=str) if isinstance(names, Set) else list(names)


class _Polls(SharedStreamProducer):
    """The polls of one watcher. The cursor is stored once Airflow has stored the events before it."""

    def __init__(self, trigger: CodatEventTrigger) -> None:
        from airflow_provider_codat.triggers.watching import StoredCursor

        self._trigger = trigger
        self._cursor = StoredCursor(trigger.asset_name, trigger._cursor_key)

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield the payload of each poll, and the cursor after it."""
        async for payload, cursor in self._trigger._polls(await self._cursor.read()):
            yield payload, cursor

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Store the cursor after the last event of a batch.

        :raises RuntimeError: Airflow has not stored an event. The watcher then goes on from the stored cursor.
        """
        if not all(item.outcome.is_clean for item in batch):
            raise RuntimeError(
                f"Airflow has not stored an event of asset {self._trigger.asset_name!r}: the watcher goes on from its"
                " stored cursor, and reports the changes since then again"
            )
        await self._cursor.write(batch[-1].broker_payload)
