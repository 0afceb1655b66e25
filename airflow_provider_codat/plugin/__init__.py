"""What runs in Airflow's API server: the receiver of webhooks, from Airflow 3.1.1 on.

Every Airflow process imports this module. It imports the receiver only where Airflow asks for FastAPI apps, which is in
the API server and in ``airflow plugins``.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

FIRST_VERSION = (3, 1, 1)
"""The first Airflow whose API server reads connections for a plugin."""

log = logging.getLogger(__name__)


class CodatPlugin(AirflowPlugin):
    """Receives Codat's webhooks in Airflow's API server, below ``/codat``. On older versions it does nothing.

    Source: https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/plugins.html.
    """

    name = "codat"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]  # a plain attribute of the base
        """The receiver, if this Airflow can have one. An error is logged: it would stop the whole API server."""
        from airflow import __version__
        from airflow.providers.common.compat.sdk import conf
        from packaging.version import Version

        if Version(__version__).release < FIRST_VERSION:
            return []
        try:
            names = conf.get("codat", "webhook_connections", fallback="").split(",")
            from airflow_provider_codat.plugin.app import PREFIX, receiver

            app = receiver([name.strip() for name in names if name.strip()])
        except Exception:
            log.exception("The API server receives no webhooks of Codat, because the receiver cannot be loaded")
            return []
        return [{"name": "Codat webhooks", "app": app, "url_prefix": PREFIX}]
