"""Webhook consumers: the addresses to which Codat sends events (https://docs.codat.io/using-the-api/webhooks/overview)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError
from airflow_provider_codat.api.http.idempotency import given_or_new_key
from airflow_provider_codat.api.http.request import Request, identifier, path
from airflow_provider_codat.api.http.response import expect_list, expect_object, id_or_none, text_or_none
from airflow_provider_codat.api.json_value import JsonValue

_MOST_TAGS, _LONGEST_TAG = 10, 128


@dataclass(frozen=True)
class WebhookConsumer(JsonValue):
    """An address to which Codat sends events. Its signing secret is in the Codat Portal only.

    :param url: the address, or ``None`` if Codat left it out.
    :param event_types: the types of the events that it is sent; default none.
    :param disabled: whether it is sent nothing for now; default ``False``.
    :param company_tags: tags such as ``region:uk``; it is sent only events of companies with one of them;
        default events of all companies.
    """

    id: str
    url: str | None
    event_types: tuple[str, ...] = ()
    disabled: bool = False
    company_tags: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read a consumer in Codat's shape.

        :raises CodatResponseError: the body is not an object, or has no id.
        """
        data = expect_object(body, "webhook consumer")
        if (webhook_id := id_or_none(data.get("id"))) is None:
            raise CodatResponseError("webhook consumer: the answer has no id")
        event_types, tags = _texts(data.get("eventTypes")), _texts(data.get("companyTags"))
        return cls(webhook_id, text_or_none(data.get("url")), event_types, data.get("disabled") is True, tags)

    def to_json(self) -> dict[str, Any]:
        """Return the consumer in Codat's shape."""
        return {
            "id": self.id,
            "url": self.url,
            "eventTypes": list(self.event_types),
            "disabled": self.disabled,
            "companyTags": list(self.company_tags),
        }

    _as_dict = to_json


def list_webhooks() -> Request[list[WebhookConsumer]]:
    """Read all webhook consumers of the account, of which there are at most 50.

    :raises CodatResponseError: the answer does not have the shape of a list of consumers.

    Source: https://docs.codat.io/platform-api#/operations/list-webhook-consumers.
    """
    return Request("GET", path("webhooks"), _read_list)


def create_webhook(
    url: str,
    event_types: Iterable[str],
    *,
    disabled: bool = False,
    company_tags: Iterable[str] = (),
    idempotency_key: str | None = None,
) -> Request[WebhookConsumer]:
    """Create a webhook consumer. Copy its signing secret from the Codat Portal: no call returns it.

    :param url: the address to which Codat sends events.
    :param event_types: the types of the events, such as ``invoices.write.successful`` and ``read.completed``.
    :param disabled: send nothing to it for now; default ``False``.
    :param company_tags: up to 10 tags such as ``region:uk``: only events of companies with one of them are sent;
        default events of all companies.
    :param idempotency_key: a GUID; Codat creates the consumer once under it within 90 minutes; default a new one per
        call (https://docs.codat.io/using-the-api/idempotency).
    :raises CodatInputError: an argument is malformed; nothing is sent.
    :raises CodatApiError: Codat refused, for example because there are 50 consumers already.

    Source: https://docs.codat.io/platform-api#/operations/create-webhook-consumer.
    """
    if not isinstance(disabled, bool):
        raise CodatInputError(f"disabled is {disabled!r}: give True or False")
    body = {"url": _checked_url(url), "eventTypes": _checked_event_types(event_types), "disabled": disabled}
    if tags := _checked_tags(company_tags):
        body["companyTags"] = tags
    return Request(
        "POST",
        path("webhooks"),
        WebhookConsumer.from_json,
        body=body,
        writes=True,
        idempotency_key=given_or_new_key(idempotency_key),
    )


def delete_webhook(webhook_id: str) -> Request[None]:
    """Delete a webhook consumer. Webhooks that Codat would have sent to it again are lost.

    :param webhook_id: Codat's id of the consumer.
    :raises CodatInputError: the id is malformed; nothing is sent.
    :raises CodatNotFoundError: there is no such consumer. If the answer to an earlier attempt of this call was lost,
        that attempt may have deleted it.

    Source: https://docs.codat.io/platform-api#/operations/delete-webhook-consumer.
    """
    return Request("DELETE", path("webhooks", identifier("webhook_id", webhook_id)), lambda _: None)


def _read_list(body: Any) -> list[WebhookConsumer]:
    results = expect_object(body, "webhook consumers").get("results")
    return [WebhookConsumer.from_json(each) for each in expect_list(results, "webhook consumers: results")]


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(each for each in values if isinstance(each, str)) if isinstance(values, list) else ()


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        if parts.scheme in {"http", "https"} and parts.hostname:
            return url
    except ValueError:  # such as a malformed IPv6 address
        pass
    raise CodatInputError(
        f"url is {url!r}: give the address of a receiver, such as https://example.com/codat/webhooks/x"
    )


def _checked_event_types(event_types: Iterable[str]) -> list[str]:
    types = _listed("event_types", event_types)
    if not types or not all(isinstance(each, str) and each.strip() for each in types):
        raise CodatInputError(f"event_types is {types!r}: give at least one type, such as 'read.completed'")
    return types


def _checked_tags(company_tags: Iterable[str]) -> list[str]:
    tags = _listed("company_tags", company_tags)
    if len(tags) > _MOST_TAGS:
        raise CodatInputError(f"company_tags has {len(tags)} entries: Codat takes at most {_MOST_TAGS}")
    for tag in tags:
        if not isinstance(tag, str) or ":" not in tag or len(tag) > _LONGEST_TAG:
            raise CodatInputError(
                f"{tag!r} in company_tags has to be a name and a value, such as 'region:uk', of at most {_LONGEST_TAG}"
                " characters together"
            )
    return tags


def _listed(name: str, values: Iterable[str]) -> list[str]:
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise CodatInputError(f"{name} is {values!r}: give a list of texts")
    return list(values)
