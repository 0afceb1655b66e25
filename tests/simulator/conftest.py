"""A simulator with a clock that only the test sets, and an HTTP client for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_codat.simulator import CodatSimulator, Company

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: Each client would make one of its own, although it needs none: that takes longer than most tests.
TLS = httpx.create_ssl_context()


class Clock:
    """Epoch seconds, from 2030-01-01T00:00:00Z on."""

    def __init__(self) -> None:
        self.now = 1_893_456_000.0

    def __call__(self) -> float:
        return self.now


class Client(httpx.Client):
    """An HTTP client for a simulator, with one company of it."""

    def __init__(self, codat: CodatSimulator) -> None:
        super().__init__(base_url=codat.url, headers=codat.auth_headers, verify=TLS)
        self.codat = codat
        self.company: Company = codat.add_company(name="Corner Shop")

    def path(self, rest: str = "") -> str:
        return f"/companies/{self.company.id}{rest}"

    def push_path(self, rest: str = "bills") -> str:
        return self.path(f"/connections/{self.company.connection_id}/push/{rest}")

    def create(self, data_type: str = "bills", record: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        response = self.post(self.push_path(data_type), json=record or {}, **more)
        assert response.status_code == 200, response.text
        return response.json()

    def read(self, key: str) -> dict[str, Any]:
        response = self.get(self.path(f"/push/{key}"))
        assert response.status_code == 200, response.text
        return response.json()

    def listed(self, **params: Any) -> dict[str, Any]:
        response = self.get(self.path("/push"), params=params)
        assert response.status_code == 200, response.text
        return response.json()

    def listed_keys(self, **params: Any) -> list[str]:
        return [push["pushOperationKey"] for push in self.listed(**params)["results"]]

    def refresh(self, data_type: str = "invoices", **params: Any) -> dict[str, Any]:
        response = self.post(self.path(f"/data/queue/{data_type}"), params=params)
        assert response.status_code == 200, response.text
        return response.json()

    def pulled(self, pull: dict[str, Any]) -> dict[str, Any]:
        """Return a pull operation as it is now."""
        response = self.get(self.path(f"/data/history/{pull['id']}"))
        assert response.status_code == 200, response.text
        return response.json()

    def data_status(self, data_type: str = "invoices") -> dict[str, Any]:
        response = self.get(self.path("/dataStatus"))
        assert response.status_code == 200, response.text
        return response.json()[data_type]

    def data(self, rest: str = "invoices", **params: Any) -> dict[str, Any]:
        response = self.get(self.path(f"/data/{rest}"), params=params)
        assert response.status_code == 200, response.text
        return response.json()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def simulate(clock: Clock) -> Iterator[Callable[..., Client]]:
    """Return a function that starts a simulator with these options and returns a client for it."""
    clients: list[Client] = []

    def start(**options: Any) -> Client:
        codat = CodatSimulator(**{"clock": clock, **options})
        codat.start()
        clients.append(Client(codat))
        return clients[-1]

    yield start
    for client in clients:
        client.close()
        client.codat.stop()


@pytest.fixture
def client(simulate: Callable[..., Client]) -> Client:
    return simulate()
