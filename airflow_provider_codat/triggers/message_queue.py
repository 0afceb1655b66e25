"""``MessageQueueTrigger(scheme="codat", ...)`` of the package ``apache-airflow-providers-common-messaging``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_codat.triggers.watcher import CodatEventTrigger

    Base = object
else:
    try:
        from airflow.providers.common.messaging.providers.base_provider import BaseMessageQueueProvider as Base
    except ImportError:  # the package is optional, and nothing else asks for this class
        Base = object


class CodatMessageQueueProvider(Base):
    """Gives ``MessageQueueTrigger`` its trigger for the scheme ``codat``: ``CodatEventTrigger``, with its arguments.

    Source: https://airflow.apache.org/docs/apache-airflow-providers-common-messaging/stable/triggers.html.
    """

    scheme = "codat"

    def queue_matches(self, queue: str) -> bool:
        """Return ``False``: there are no queue URIs for Codat.

        :param queue: the URI of a queue.
        """
        return False

    def trigger_class(self) -> type[CodatEventTrigger]:
        """Return ``CodatEventTrigger``."""
        from airflow_provider_codat.triggers.watcher import CodatEventTrigger

        return CodatEventTrigger

    def trigger_kwargs(self, queue: str, **kwargs: object) -> dict[str, object]:
        """Return no arguments: there are no queue URIs for Codat.

        :param queue: the URI of a queue.
        :param kwargs: the arguments of the trigger.
        """
        return {}
