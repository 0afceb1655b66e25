"""``codat.webhooks``: with this, tests control what webhooks are sent."""

from __future__ import annotations

import base64
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_codat.simulator.webhook_endpoints import is_address
from airflow_provider_codat.simulator.webhook_messages import Consumer, Disturbance, new_secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_codat.simulator.account import Account
    from airflow_provider_codat.simulator.webhook_messages import WebhookDelivery
    from airflow_provider_codat.simulator.webhook_sender import WebhookSender


class Webhooks:
    """The webhook consumers of a simulated account, and what is sent to them.

    A webhook is sent to an address of this machine only: ``localhost``, ``127.0.0.1`` or ``::1``.

    :param account: the state of the account.
    :param sender: sends the webhooks.
    """

    def __init__(self, account: Account, sender: WebhookSender) -> None:
        self._account = account
        self._messages = account.messages
        self._sender = sender

    def add(
        self,
        url: str,
        event_types: Iterable[str],
        *,
        company_tags: Iterable[str] = (),
        disabled: bool = False,
        secret: str | None = None,
    ) -> str:
        """Add a consumer, as a ``POST`` to ``/webhooks`` does, and return its id.

        :param url: the address that webhooks are sent to.
        :param event_types: what it is told of, such as ``bills.write.successful`` and ``read.completed``.
        :param company_tags: only events of companies with one of these tags, such as ``region:uk``; default all.
        :param disabled: whether nothing is sent to it; default ``False``.
        :param secret: its signing secret, ``whsec_`` and base64; default a random one.
        :raises ValueError: if no webhook can be sent to the address, or for a malformed secret.
        """
        if not is_address(url):
            raise ValueError(f"url is {url!r}, not an http or https address")
        secrets = (new_secret() if secret is None else _checked(secret),)
        consumer = Consumer(url, tuple(event_types), tuple(company_tags), disabled, secrets)
        with self._account.at_present():
            self._messages.add(consumer)
        return consumer.id

    def secret(self, webhook_id: str) -> str:
        """Return the signing secret of a consumer, which no answer of the API has.

        :param webhook_id: the consumer.
        :raises KeyError: for an unknown id.
        """
        with self._account.at_present():
            return self._messages.consumers[webhook_id].secrets[0]

    def rotate_secret(self, webhook_id: str, secret: str | None = None, *, keep_old: bool = True) -> str:
        """Give a consumer another signing secret, and return it.

        :param webhook_id: the consumer.
        :param secret: the new one, ``whsec_`` and base64; default a random one.
        :param keep_old: whether webhooks are signed under the old one too, default ``True``.
        :raises KeyError: for an unknown id.
        :raises ValueError: for a malformed secret.
        """
        new = new_secret() if secret is None else _checked(secret)
        with self._account.at_present():
            consumer = self._messages.consumers[webhook_id]
            old = consumer.secrets if keep_old else ()
            self._messages.consumers[webhook_id] = replace(consumer, secrets=(new, *old))
        return new

    def disturb(
        self,
        *,
        lost: float = 0.0,
        duplicated: float = 0.0,
        forged: float = 0.0,
        delay: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Let later webhooks be lost, come twice, be forged, or overtake each other. Without arguments, none are.

        :param lost: the share of webhooks that are never sent, 0 to 1; default 0.
        :param duplicated: the share of the others that are sent twice, with the same id, 0 to 1; default 0.
        :param forged: the share of pushes and refreshes of which a stranger claims the success right when they are
            requested, 0 to 1; default 0. Such a webhook is signed under another secret.
        :param delay: webhooks are late by a random time up to this, in seconds, and so overtake each other; default 0.
        :param seed: seed of the draw, default 0: the same events in the same order draw the same.
        :raises ValueError: for a share outside 0 to 1, or a negative delay.
        """
        shares = {"lost": lost, "duplicated": duplicated, "forged": forged}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}: a share is between 0 and 1")
        if not delay >= 0:
            raise ValueError(f"delay is {delay}: it is 0 or more seconds")
        dice = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        with self._account.at_present():
            self._messages.disturbance = Disturbance(lost, duplicated, forged, delay, dice)

    def send(self, timeout: float = 30.0) -> None:
        """Send the webhooks that are due, and return when each has been answered or has failed.

        Do not call it in a function that a receiver of the webhooks waits for.

        :param timeout: in seconds; default 30.
        :raises RuntimeError: if the simulator does not run.
        :raises TimeoutError: if it takes longer.
        """
        self._sender.send(timeout)

    @property
    def deliveries(self) -> list[WebhookDelivery]:
        """All attempts to deliver a webhook so far, and the webhooks that were lost on purpose, oldest first."""
        with self._account.at_present():
            return list(self._messages.log)


def _checked(secret: str) -> str:
    try:
        base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        secret = ""
    if not secret.startswith("whsec_"):
        raise ValueError("secret is not 'whsec_' and base64, such as 'whsec_YWlyZmxvdy1jb2RhdC1kZW1vLWtleS0w'")
    return secret
