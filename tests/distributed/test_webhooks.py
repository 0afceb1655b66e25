"""Two API servers that get the same message at the same time store it once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from webhook_messages import BILLS, PATH, signed, write

from airflow_provider_codat.demo.airflow_stack import _free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backends import Backends
    from distributed_airflow import DistributedAirflow

MESSAGES = 100
SECOND = "api-server-2"


@pytest.fixture
def servers(airflow: DistributedAirflow) -> Iterator[list[str]]:
    """Start a second API server, and return the URLs of both."""
    port = _free_port()
    # Without the API of the tasks, which nobody calls there.
    airflow.services[SECOND] = f"api-server --host 127.0.0.1 --port {port} --workers 1 --apps core"
    airflow.start(SECOND)
    yield [airflow.url, f"http://127.0.0.1:{port}"]
    airflow.kill(SECOND)
    del airflow.services[SECOND]


def is_healthy(server: str) -> bool:
    try:
        return bool(httpx.get(f"{server}/codat/health", trust_env=False, timeout=60).json()["status"] == "healthy")
    except (httpx.TransportError, ValueError):
        return False  # not listening yet


def test_a_message_that_two_api_servers_get_at_once_is_one_event(
    airflow: DistributedAirflow, backends: Backends, servers: list[str]
) -> None:
    for server in servers:
        airflow.wait_until(f"the receiver of {server}", lambda server=server: is_healthy(server), timeout=600)
    messages = {f"msg_{number}": write(key=f"push-{number}") for number in range(MESSAGES)}

    async def send_all() -> list[list[str]]:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:

            async def send(server: str, name: str, body: bytes) -> httpx.Response:
                """Send a message until it is taken, as Codat does."""
                while True:
                    answer = await client.post(server + PATH, content=body, headers=signed(body, name))
                    if answer.status_code not in {429, 503}:
                        return answer

            async def send_to_both(name: str, body: bytes) -> list[str]:
                answers = await asyncio.gather(*(send(server, name, body) for server in servers))
                return [answer.json()["status"] for answer in answers]

            began = time.monotonic()
            statuses = [await send_to_both(name, body) for name, body in messages.items()]
            print(f"{MESSAGES} messages to two API servers in {time.monotonic() - began:.1f} s", flush=True)
            return statuses

    for statuses in asyncio.run(send_all()):
        # Both are known if the answer that it was stored came too late, and the message was sent again.
        assert sorted(statuses) in [["known", "stored"], ["known", "known"]]
    query = """
        SELECT event.extra ->> 'messageId', count(*) FROM asset_event event JOIN asset ON asset.id = event.asset_id
        WHERE asset.uri = %(uri)s GROUP BY 1
    """
    assert dict(backends.rows(query, uri=BILLS)) == dict.fromkeys(messages, 1)
