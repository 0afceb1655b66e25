"""A Codat that runs on a laptop, for demos and for the tests of your own DAGs.

    with CodatSimulator() as codat:
        company = codat.add_company(name="Corner Shop")
        requests.get(f"{codat.url}/companies/{company.id}", headers=codat.auth_headers)

It speaks the wire format of https://docs.codat.io/platform-api over real HTTP on a loopback port and keeps everything
in memory. It knows nothing of this package's client: code shared by both could be wrong in both.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.attachments import Attachment
    from airflow_provider_codat.simulator.books import Company, Connection
    from airflow_provider_codat.simulator.faults import Fault
    from airflow_provider_codat.simulator.push import UNDECIDED, Outcome
    from airflow_provider_codat.simulator.request_log import LoggedRequest, Traffic
    from airflow_provider_codat.simulator.server import CodatSimulator

__all__ = [
    "UNDECIDED",
    "Attachment",
    "CodatSimulator",
    "Company",
    "Connection",
    "Fault",
    "LoggedRequest",
    "Outcome",
    "Traffic",
]

_MODULES = {
    "UNDECIDED": "push",
    "Attachment": "attachments",
    "CodatSimulator": "server",
    "Company": "books",
    "Connection": "books",
    "Fault": "faults",
    "LoggedRequest": "request_log",
    "Outcome": "push",
    "Traffic": "request_log",
}


def __getattr__(name: str) -> Any:
    """Load public names on first use: the pytest plugin below loads in every session and must cost nothing."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
