"""Sends webhooks to the receiver of the API server, over a real database of Airflow."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import httpx
from airflow.models.asset import AssetActive, AssetEvent, AssetModel
from airflow.utils.session import create_session
from sqlalchemy import delete, select
from starlette.applications import Starlette
from starlette.routing import Mount
from webhook_messages import MAILBOX, PATH, signed

from airflow_provider_codat.api.webhook_hints import MAILBOX_KEY, WebhookHint, read_hints
from airflow_provider_codat.plugin import store
from airflow_provider_codat.plugin.app import PREFIX, receiver

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Engine

# -- the receiver ------------------------------------------------------------------------------------------------------


class Receiver:
    """The receiver of some connections, mounted as the API server does, and called without a socket."""

    def __init__(self, conn_ids: Iterable[str]) -> None:
        self.app = Starlette(routes=[Mount(PREFIX, receiver(list(conn_ids)))])

    async def asend(self, method: str = "POST", path: str = PATH, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
            return await client.request(method, path, **options)

    def send(self, method: str = "POST", path: str = PATH, **options: Any) -> httpx.Response:
        return asyncio.run(self.asend(method, path, **options))

    def take(self, body: bytes, message_id: str = "msg_1", **options: Any) -> httpx.Response:
        """Send a message with a signature."""
        return self.send(content=body, headers=signed(body, message_id, **options))


# -- the database ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Database:
    """Airflow's database, and what webhooks have left in it."""

    engine: Engine

    @classmethod
    def create(cls) -> Self:
        """Make the tables of this process's Airflow."""
        from airflow import settings
        from airflow.models import import_all_models
        from airflow.models.base import Base

        import_all_models()
        engine = settings.engine
        assert engine is not None
        Base.metadata.create_all(engine)
        return cls(engine)

    def clear(self) -> None:
        with create_session(scoped=False) as session:
            for model in (AssetEvent, AssetActive, AssetModel):
                session.execute(delete(model))
            if store.HAS_HINTS:
                from airflow.models.asset_state_store import AssetStateStoreModel

                session.execute(delete(AssetStateStoreModel))

    def add(self, *uris: str, is_active: bool = True) -> None:
        """Add assets, as if a DAG named them, or had named them before."""
        with create_session(scoped=False) as session:
            for uri in uris:
                asset = AssetModel(name=uri, uri=uri, group="asset", extra={})
                session.add(asset)
                session.flush()
                if is_active:
                    session.add(AssetActive(name=uri, uri=uri))

    def events(self) -> dict[str, list[dict[str, Any]]]:
        """Return the extras of all asset events, by the URI of the asset."""
        query = select(AssetModel.uri, AssetEvent.extra).join(AssetEvent, AssetEvent.asset_id == AssetModel.id)
        found: dict[str, list[dict[str, Any]]] = {}
        with create_session(scoped=False) as session:
            for uri, extra in session.execute(query.order_by(AssetEvent.id)):
                found.setdefault(uri, []).append(extra)
        return found

    def counts(self) -> dict[str, int]:
        """Return how many asset events there are, by the URI of the asset."""
        return {uri: len(extras) for uri, extras in self.events().items()}

    def hints(self) -> list[WebhookHint]:
        """Return the hints in the mailbox of ``codat_default``; none before Airflow 3.3."""
        if not store.HAS_HINTS:
            return []
        from airflow.models.asset_state_store import AssetStateStoreModel as Stored

        query = select(Stored.value).join(AssetModel, AssetModel.id == Stored.asset_id)
        with create_session(scoped=False) as session:
            value = session.scalar(query.where(AssetModel.uri == MAILBOX, Stored.key == MAILBOX_KEY))
        return read_hints(json.loads(value or "null"))
