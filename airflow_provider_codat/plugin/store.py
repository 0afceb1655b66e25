"""Stores what a webhook means, in one transaction of Airflow's database.

A webhook may come twice, and to two API servers at once. So the transaction locks the assets first, in the order of
their ids, and then looks for the webhook among the latest events of each asset: the ids are in the events' extra. It
looks only at events that are younger than what the webhook is about. The time of that is signed, and a replay has the
same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.assets.manager import asset_manager
from airflow.models.asset import AssetEvent, AssetModel
from airflow.utils.session import create_session
from sqlalchemy import JSON, or_, select, text, type_coerce

from airflow_provider_codat.api.webhook_hints import LONGEST_TEXT, MAILBOX_KEY, WebhookHint, add_hint, read_hints
from airflow_provider_codat.assets import HOST
from airflow_provider_codat.plugin.events import EVENT_ID, MESSAGE_ID, Delivery

try:
    from airflow.state import AssetScope, get_state_backend  # from which the triggers read, too
except ImportError:  # before Airflow 3.3
    HAS_HINTS = False
else:
    HAS_HINTS = True

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

DUPLICATES = timedelta(days=14)
"""How long a webhook is known. Codat repeats an attempt for 28 hours, and replays webhooks of two weeks on request."""

CLOCKS = timedelta(hours=1)
"""By how much Codat's clock may be ahead of this machine's."""

LOCK_TIMEOUT = 8
"""Seconds for which a transaction waits for a row that another has locked, on PostgreSQL."""


@dataclass(frozen=True)
class Stored:
    """What a webhook has led to.

    :param events: how many asset events were written.
    :param hints: how many hints were written, 0 or 1.
    :param known: how many of both were due, but were written before.
    """

    events: int
    hints: int
    known: int

    @property
    def is_known(self) -> bool:
        """Whether all that is due was written before."""
        return self.known > 0 and not self.events and not self.hints


def store(delivery: Delivery) -> Stored:
    """Write the asset events and the hint of a webhook that are missing, and commit. This blocks."""
    hint = delivery.hint if HAS_HINTS else None
    changed = {uri for uri, _ in delivery.changes}
    uris = changed if hint is None else {*changed, delivery.mailbox}
    if not uris:
        return Stored(0, 0, known=0)
    after_commit: list[Callable[[], None]] = []
    with create_session(scoped=False) as session:
        assets = {asset.uri: asset for asset in _locked(session, uris)}
        known = {uri for uri in changed & assets.keys() if _is_known(session, assets[uri].id, delivery)}
        due = [(assets[uri], extra) for uri, extra in delivery.changes if uri in assets]
        new = [(asset, extra) for asset, extra in due if asset.uri not in known]
        for asset, extra in new:
            # Each Airflow passes over the arguments that it does not know.
            asset_manager.register_asset_change(asset=asset, extra=extra, session=session, callback_sink=after_commit)
        hints_due = hints = 0
        if hint is not None and (mailbox := assets.get(delivery.mailbox)) is not None:
            hints_due, hints = 1, int(_has_put_hint(session, mailbox.id, hint))
    for callback in after_commit:
        callback()
    return Stored(len(new), hints, known=len(due) - len(new) + hints_due - hints)


def has_data_assets() -> bool:
    """Return whether a DAG names an asset of Codat's data. This reads the database, and blocks."""
    of_data = AssetModel.uri.like(f"codat://{HOST}/%data/%")
    with create_session(scoped=False) as session:
        return session.scalar(select(AssetModel.id).where(of_data, AssetModel.active.has()).limit(1)) is not None


def active_assets(uris: Collection[str]) -> set[str]:
    """Return those of the assets that a DAG names. This reads the database, and blocks."""
    with create_session(scoped=False) as session:
        return set(session.scalars(select(AssetModel.uri).where(AssetModel.uri.in_(uris), AssetModel.active.has())))


def _locked(session: Session, uris: Collection[str]) -> list[AssetModel]:
    """Return the assets that a DAG names, each locked until the end of the transaction."""
    match session.get_bind().dialect.name:
        case "postgresql":
            session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'"))
        case "sqlite":  # which has no locks of rows
            session.execute(text("BEGIN IMMEDIATE"))
    query = select(AssetModel).where(AssetModel.uri.in_(uris), AssetModel.active.has()).order_by(AssetModel.id)
    # For PostgreSQL FOR NO KEY UPDATE, which lets others refer to the row.
    return list(session.scalars(query.with_for_update(key_share=True)))


def _is_known(session: Session, asset_id: int, delivery: Delivery) -> bool:
    extra = type_coerce(AssetEvent.extra, JSON)  # which Airflow 3.1 does not declare it as
    same = [extra[MESSAGE_ID].as_string() == delivery.message_id]
    if delivery.event_id is not None:
        same.append(extra[EVENT_ID].as_string() == delivery.event_id)
    since = _earliest(delivery.generated_at, datetime.now(UTC))
    query = select(AssetEvent.id).where(AssetEvent.asset_id == asset_id, AssetEvent.timestamp > since, or_(*same))
    return session.scalar(query.limit(1)) is not None


def _earliest(generated_at: datetime | None, now: datetime) -> datetime:
    """Return the time before which no asset event of a webhook was written, or is looked for."""
    oldest = now - DUPLICATES
    if generated_at is None or not oldest < generated_at <= now + CLOCKS:
        return oldest
    return generated_at - CLOCKS


def _has_put_hint(session: Session, asset_id: int, hint: WebhookHint) -> bool:
    """Put the hint into the mailbox, unless that of the webhook is there, and return whether it was put there."""
    backend, scope = get_state_backend(), AssetScope(asset_id=asset_id)
    mailbox = _parsed(backend.get(scope, MAILBOX_KEY, session=session))
    if any(each.id == hint.id[:LONGEST_TEXT] for each in read_hints(mailbox)):
        return False
    backend.set(scope, MAILBOX_KEY, json.dumps(add_hint(mailbox, hint)), session=session)
    return True


def _parsed(value: str | None) -> Any:
    try:
        return json.loads(value or "null")
    except ValueError:
        return None
