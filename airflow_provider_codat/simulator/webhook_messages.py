"""Webhook consumers and what is sent to them, https://docs.codat.io/using-the-api/webhooks/overview.

Each webhook is signed for each attempt (https://docs.svix.com/receiving/verifying-payloads/how-manual). An answer other
than 2xx, or none, leads to the next attempt. That consumers are disabled after days of failures is left out.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import secrets
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from airflow_provider_codat.simulator import timestamps
from airflow_provider_codat.simulator.webhook_events import Event, company_events, read_event, write_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_codat.simulator.agenda import Agenda
    from airflow_provider_codat.simulator.books import Books, Company
    from airflow_provider_codat.simulator.pull import PullOperation
    from airflow_provider_codat.simulator.push import PushOperation

#: Codat's pauses between the attempts to deliver a webhook, in seconds.
CODATS_PAUSES = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)

#: What can happen to a webhook on purpose.
WebhookFault = Literal["lost", "duplicate", "forged"]


def new_secret() -> str:
    """Return a signing secret."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(24)).decode()}"


@dataclass(frozen=True)
class Consumer:
    """An address that events are sent to.

    :param secrets: its signing secrets, the newest first; default a random one.
    """

    url: str
    event_types: tuple[str, ...]
    company_tags: tuple[str, ...] = ()
    disabled: bool = False
    secrets: tuple[str, ...] = field(default_factory=lambda: (new_secret(),), repr=False)
    id: str = field(default_factory=lambda: str(uuid4()))

    def wants(self, event: Event) -> bool:
        """Return whether an event is sent to it."""
        tags = {f"{name}:{value}" for name, value in event.company.tags.items()}
        of_tags = not self.company_tags or not tags.isdisjoint(self.company_tags)
        return not self.disabled and event.event_type in self.event_types and of_tags

    def to_json(self) -> dict[str, Any]:
        """Return the consumer as Codat answers it: without its secret."""
        return {
            "id": self.id,
            "url": self.url,
            "eventTypes": list(self.event_types),
            "disabled": self.disabled,
            "companyTags": list(self.company_tags),
        }


@dataclass(frozen=True)
class WebhookDelivery:
    """An attempt to deliver a webhook, or a webhook that was lost on purpose.

    :param webhook_id: the consumer.
    :param message_id: the same in all attempts to deliver the webhook.
    :param event_type: such as ``bills.write.successful``.
    :param company_id: the company.
    :param operation_id: the push or pull operation, or ``None`` for another event.
    :param attempt: from 1; 0 if it was lost.
    :param at: when, in epoch seconds.
    :param status: status of the answer; ``None`` if there was none.
    :param fault: ``lost``, ``duplicate`` or ``forged``; default ``None``.
    """

    webhook_id: str
    message_id: str
    event_type: str
    company_id: str
    operation_id: str | None
    attempt: int
    at: float
    status: int | None
    fault: WebhookFault | None = None


@dataclass(frozen=True)
class Disturbance:
    """What happens to webhooks on their way; shares are 0 to 1.

    :param delay: the most seconds that a webhook is late, so that webhooks overtake each other; default 0.
    """

    lost: float = 0.0
    duplicated: float = 0.0
    forged: float = 0.0
    delay: float = 0.0
    dice: random.Random = field(default_factory=random.Random)


@dataclass(frozen=True, eq=False)
class Attempt:
    """An attempt to deliver a webhook, to be made."""

    consumer_id: str
    message_id: str
    event: Event
    number: int = 1
    fault: WebhookFault | None = None

    @property
    def body(self) -> bytes:
        """What is sent: the same in each attempt."""
        return json.dumps(
            {
                "id": self.message_id.removeprefix("msg_"),
                "eventType": self.event.event_type,
                "generatedDate": timestamps.text(self.event.at),
                "payload": self.event.payload,
            }
        ).encode()


@dataclass(eq=False)
class Messages:
    """All consumers of an account, and the webhooks to them.

    :param pauses: seconds between the attempts to deliver a webhook.
    """

    agenda: Agenda
    books: Books
    pauses: Sequence[float]

    def __post_init__(self) -> None:
        self.consumers: dict[str, Consumer] = {}
        self.disturbance = Disturbance()
        self.log: list[WebhookDelivery] = []
        self.on_added: Callable[[], None] = lambda: None
        self._due: list[Attempt] = []
        self._read: set[str] = set()  # connections that have been refreshed since their last authorization

    def add(self, consumer: Consumer) -> None:
        """Add a consumer."""
        self.consumers[consumer.id] = consumer
        self.on_added()

    # --- what happens ------------------------------------------------------------------------------------------------

    def push_added(self, push: PushOperation) -> None:
        """Let a stranger claim the success of a new push, at times."""
        if company := self._company(push.company_id):
            self._forge(write_event(push, company, "Success", push.requested_on))

    def push_ended(self, push: PushOperation, at: float) -> None:
        """Report the end of a push."""
        if company := self._company(push.company_id):
            self._report(write_event(push, company, push.status, at))

    def pull_added(self, pull: PullOperation) -> None:
        """Let a stranger claim the success of a new refresh, at times."""
        if company := self._company(pull.company_id):
            self._forge(read_event(pull, company, "Complete", pull.requested_on, initial=False))

    def pull_ended(self, pull: PullOperation, at: float) -> None:
        """Report the end of a refresh."""
        initial = pull.connection_id not in self._read
        if pull.outcome.completed:
            self._read.add(pull.connection_id)
        if company := self._company(pull.company_id):
            self._report(read_event(pull, company, pull.outcome.status, at, initial=initial))

    def company_changed(self, before: Company | None, after: Company | None) -> None:
        """Report the change of a company."""
        connections = after.connections if after is not None else ()
        self._read.difference_update(each.id for each in connections if each.status != "Linked")
        if self.consumers:
            for event in company_events(before, after, self.agenda.clock()):
                self._report(event)

    def _company(self, company_id: str) -> Company | None:
        """Return a company that there is something to tell of; None if nobody is told."""
        return self.books.companies.get(company_id) if self.consumers else None

    # --- webhooks ----------------------------------------------------------------------------------------------------

    def _report(self, event: Event) -> None:
        message_id = f"msg_{uuid4()}"
        for consumer in self._wanting(event):
            disturbance = self.disturbance
            if _meets(disturbance, disturbance.lost):
                self._note(Attempt(consumer.id, message_id, event, 0, "lost"), None)
                continue
            self._plan(Attempt(consumer.id, message_id, event), event.at)
            if _meets(disturbance, disturbance.duplicated):
                self._plan(Attempt(consumer.id, message_id, event, fault="duplicate"), event.at)

    def _forge(self, event: Event) -> None:
        for consumer in self._wanting(event):
            if _meets(self.disturbance, self.disturbance.forged):
                self._plan(Attempt(consumer.id, f"msg_{uuid4()}", event, fault="forged"), event.at)

    def _wanting(self, event: Event) -> Iterator[Consumer]:
        return (consumer for consumer in list(self.consumers.values()) if consumer.wants(event))

    def _plan(self, attempt: Attempt, due: float) -> None:
        delay = self.disturbance.dice.uniform(0, self.disturbance.delay) if self.disturbance.delay else 0.0
        self.agenda.add(due + delay, partial(self.send_now, attempt))

    def take_due(self) -> list[tuple[Attempt, Consumer]]:
        """Return the attempts that are due, and forget them; those to consumers that are gone are left out."""
        due, self._due = self._due, []
        return [(each, self.consumers[each.consumer_id]) for each in due if each.consumer_id in self.consumers]

    def send_now(self, attempt: Attempt) -> None:
        """Let an attempt be due."""
        self._due.append(attempt)

    def headers(self, attempt: Attempt, consumer: Consumer) -> dict[str, str]:
        """Return the headers of an attempt that is made now. A forged one is signed with a secret of the stranger."""
        keys = (new_secret(),) if attempt.fault == "forged" else consumer.secrets
        timestamp = str(int(self.agenda.clock()))
        signatures = [_signature(key, attempt.message_id, timestamp, attempt.body) for key in keys]
        return {
            "Content-Type": "application/json",
            "webhook-id": attempt.message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": " ".join(signatures),
        }

    def attempted(self, attempt: Attempt, status: int | None) -> None:
        """Note the status that an attempt was answered with, and plan the next one unless it was accepted."""
        self._note(attempt, status)
        accepted = status is not None and 200 <= status < 300
        if accepted or attempt.fault == "forged":
            return
        for pause in self.pauses[attempt.number - 1 : attempt.number]:  # none after the last attempt
            due = self.agenda.clock() + pause
            self.agenda.add(due, partial(self.send_now, replace(attempt, number=attempt.number + 1)))

    def _note(self, attempt: Attempt, status: int | None) -> None:
        event = attempt.event
        self.log.append(
            WebhookDelivery(
                attempt.consumer_id,
                attempt.message_id,
                event.event_type,
                event.company.id,
                event.operation_id,
                attempt.number,
                self.agenda.clock(),
                status,
                attempt.fault,
            )
        )


def _meets(disturbance: Disturbance, share: float) -> bool:
    return share > 0 and disturbance.dice.random() < share


def _signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
