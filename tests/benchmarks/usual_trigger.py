"""The baseline: a trigger as most providers have it, with one request for each operation and interval."""

from __future__ import annotations

import asyncio
import base64
import functools
from collections.abc import AsyncIterator
from typing import Any

import httpx
from airflow.providers.common.compat.sdk import BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

TERMINAL_STATUSES = ("Success", "Failed", "TimedOut")


class UsualTrigger(BaseTrigger):
    """Checks, sleeps, and checks again.

    It is better than usual in two respects, so that only the requests are compared: all triggers share one client, and
    it closes a connection before the server does.
    """

    def __init__(self, company_id: str, push_operation_key: str, codat_conn_id: str, poke_interval: float) -> None:
        super().__init__()
        self.company_id = company_id
        self.push_operation_key = push_operation_key
        self.codat_conn_id = codat_conn_id
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        names = ("company_id", "push_operation_key", "codat_conn_id", "poke_interval")
        return f"{__name__}.UsualTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        try:
            operation = await self._operation()
            while operation["status"] not in TERMINAL_STATUSES:
                await asyncio.sleep(self.poke_interval)
                operation = await self._operation()
        except Exception as error:
            yield TriggerEvent({"outcome": "failed", "error": {"message": repr(error)}})
        else:
            yield TriggerEvent({"outcome": "ended", "operation": operation})

    async def _operation(self) -> dict[str, Any]:
        path = f"/companies/{self.company_id}/push/{self.push_operation_key}"
        response = await _client(self.codat_conn_id).get(path)
        return response.raise_for_status().json()


@functools.cache
def _client(conn_id: str) -> httpx.AsyncClient:
    connection = BaseHook.get_connection(conn_id)
    return httpx.AsyncClient(
        base_url=connection.host,
        headers={"Authorization": "Basic " + base64.b64encode(connection.password.encode()).decode()},
        timeout=httpx.Timeout(60, pool=None),
        # The server closes a connection after 5 s. A check on a connection that closes would raise and end its wait,
        # which would then send fewer requests than the wait that it is compared with.
        limits=httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=4),
        trust_env=False,
    )
