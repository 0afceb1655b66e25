"""A Codat that runs on a laptop, for demos and for the tests of your own DAGs.

    with CodatSimulator() as codat:
        company = codat.add_company(name="Corner Shop")
        requests.get(f"{codat.url}/companies/{company.id}", headers=codat.auth_headers)

It serves the API of https://docs.codat.io/platform-api over HTTP on a loopback port and keeps everything in memory. It
shares no code with this package's client: shared code could make both wrong in the same way.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.books import Attachment, Company, Connection
    from airflow_provider_codat.simulator.faults import Fault
    from airflow_provider_codat.simulator.outcomes import UNDECIDED, Outcome, RefreshOutcome
    from airflow_provider_codat.simulator.refreshes import Refreshes
    from airflow_provider_codat.simulator.request_log import LoggedRequest, Traffic
    from airflow_provider_codat.simulator.server import CodatSimulator
    from airflow_provider_codat.simulator.source import Source
    from airflow_provider_codat.simulator.webhook_messages import WebhookDelivery
    from airflow_provider_codat.simulator.webhooks import Webhooks

__all__ = [
    "UNDECIDED",
    "Attachment",
    "CodatSimulator",
    "Company",
    "Connection",
    "Fault",
    "LoggedRequest",
    "Outcome",
    "RefreshOutcome",
    "Refreshes",
    "Source",
    "Traffic",
    "WebhookDelivery",
    "Webhooks",
]

_MODULES = {
    **dict.fromkeys(("Attachment", "Company", "Connection"), "books"),
    **dict.fromkeys(("LoggedRequest", "Traffic"), "request_log"),
    **dict.fromkeys(("UNDECIDED", "Outcome", "RefreshOutcome"), "outcomes"),
    "CodatSimulator": "server",
    "Fault": "faults",
    "Refreshes": "refreshes",
    "Source": "source",
    "WebhookDelivery": "webhook_messages",
    "Webhooks": "webhooks",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: pytest imports this package in every session, which must take no time."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
