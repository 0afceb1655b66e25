"""The endpoints of webhook consumers, https://docs.codat.io/platform-api#/operations/list-webhook-consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, Response

from airflow_provider_codat.simulator.bodies import Field, checked, is_flag, is_text
from airflow_provider_codat.simulator.errors import ApiError
from airflow_provider_codat.simulator.webhook_messages import Consumer

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_codat.simulator.account import Account, Handlers

_MOST_CONSUMERS = 50


def is_address(value: Any) -> bool:
    """Return whether webhooks could be sent to an address."""
    try:
        parts = urlsplit(value if is_text(value) and value.isascii() else "")
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a malformed IPv6 address
        return False


def _are_event_types(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(is_text(each) and each for each in value)


def _are_company_tags(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= 10
        and all(is_text(each) and ":" in each and len(each) <= 128 for each in value)
    )


_CONSUMER = {
    "url": Field(is_address, "an http or https address", True),
    "eventTypes": Field(_are_event_types, "a list of event types", True),
    "disabled": Field(is_flag, "true or false"),
    "companyTags": Field(_are_company_tags, "at most 10 tags such as region:uk of up to 128 characters"),
}


class WebhookEndpoints:
    """One method for each endpoint; it takes a request and its body and returns the answer."""

    def __init__(self, account: Account) -> None:
        self._consumers = account.messages.consumers
        self._account = account

    def handlers(self) -> Handlers:
        """Return the endpoints by path and method."""
        return {
            "/webhooks": {"GET": self._list, "POST": self._create},
            "/webhooks/{webhook_id}": {"DELETE": self._delete},
        }

    def _list(self, _: Request, __: bytes) -> Response:
        return JSONResponse({"results": [consumer.to_json() for consumer in self._consumers.values()]})

    def _create(self, _: Request, body: bytes) -> Response:
        fields = checked(body, _CONSUMER, "CreateWebhookConsumer")
        if len(self._consumers) >= _MOST_CONSUMERS:
            raise ApiError(400, f"The number of webhook consumers is limited to {_MOST_CONSUMERS}.")
        consumer = Consumer(
            fields["url"],
            tuple(fields["eventTypes"]),
            tuple(fields.get("companyTags", ())),
            fields.get("disabled", False),
        )
        self._account.messages.add(consumer)
        return JSONResponse(consumer.to_json(), status_code=201)

    def _delete(self, request: Request, _: bytes) -> Response:
        webhook_id = request.path_params["webhook_id"]
        if self._consumers.pop(webhook_id, None) is None:
            raise ApiError(404, f"Webhook consumer {webhook_id} was not found")
        return Response(status_code=204)
