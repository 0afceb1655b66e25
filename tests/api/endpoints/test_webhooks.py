import pytest

from airflow_provider_codat.api.endpoints.webhooks import (
    WebhookConsumer,
    create_webhook,
    delete_webhook,
    list_webhooks,
)
from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError, CodatServerError
from airflow_provider_codat.api.http.retry import may_be_resent

URL = "https://example.com/codat/webhooks/codat_default"
TYPES = ["read.completed", "bills.write.successful"]
GUID = "6f7b40a2-5f1e-4d6f-8a3b-1c2d3e4f5a6b"


@pytest.mark.parametrize(
    ("body", "consumer"),
    [
        (
            {"id": "w", "url": URL, "eventTypes": TYPES, "disabled": True, "companyTags": ["region:uk"]},
            WebhookConsumer("w", URL, tuple(TYPES), True, ("region:uk",)),
        ),
        ({"id": "w"}, WebhookConsumer("w", None)),
        ({"id": "w", "url": 7, "eventTypes": None, "disabled": None, "companyTags": None}, WebhookConsumer("w", None)),
        ({"id": 7, "eventTypes": [None, 7, "x"], "disabled": "yes"}, WebhookConsumer("7", None, ("x",))),
    ],
    ids=["full", "least", "nulls", "garbage"],
)
def test_a_consumer_is_read_from_what_codat_says(body, consumer):
    assert WebhookConsumer.from_json(body) == consumer
    assert WebhookConsumer.from_json(dict(consumer)) == consumer
    assert list_webhooks().read({"results": [body]}) == [consumer]


@pytest.mark.parametrize("body", [None, [], "w", 7, {}, {"results": None}, {"results": {}}, {"results": [{}]}])
def test_what_is_no_list_of_consumers_is_a_response_error(body):
    with pytest.raises(CodatResponseError, match="webhook consumer"):
        list_webhooks().read(body)


def test_a_consumer_is_created_with_what_was_given_and_nothing_else():
    request = create_webhook(URL, iter(TYPES), disabled=True, company_tags=("region:uk",), idempotency_key=GUID)
    assert str(request) == "POST /webhooks"
    assert request.body == {"url": URL, "eventTypes": TYPES, "disabled": True, "companyTags": ["region:uk"]}
    assert request.headers["Idempotency-Key"] == GUID
    assert create_webhook(URL, TYPES).body == {"url": URL, "eventTypes": TYPES, "disabled": False}


def test_a_consumer_is_not_created_twice():
    request, other = create_webhook(URL, TYPES), create_webhook(URL, TYPES)
    assert may_be_resent(CodatServerError(503, "down"), request)
    assert not may_be_resent(CodatServerError(500, "down"), request)
    assert request.headers["Idempotency-Key"] != other.headers["Idempotency-Key"]


def test_a_consumer_is_deleted_by_its_id():
    request = delete_webhook("w")
    assert (str(request), request.read(None)) == ("DELETE /webhooks/w", None)
    with pytest.raises(CodatInputError, match="webhook_id is empty"):
        delete_webhook("")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"url": "example.com"}, "url is 'example.com': give the address"),
        ({"url": "ftp://example.com"}, "url is"),
        ({"url": "https://"}, "url is"),
        ({"url": "https://[::1"}, "url is"),
        ({"url": None}, "url is None"),
        ({"event_types": []}, r"event_types is \[\]: give at least one type"),
        ({"event_types": ["x", " "]}, "event_types is"),
        ({"event_types": [7]}, "event_types is"),
        ({"event_types": "read.completed"}, "event_types is 'read.completed': give a list"),
        ({"event_types": None}, "event_types is None: give a list"),
        ({"disabled": "no"}, "disabled is 'no': give True or False"),
        ({"company_tags": {"region": "uk"}}, "company_tags is .*: give a list"),
        ({"company_tags": ["region"]}, "'region' in company_tags has to be a name and a value"),
        ({"company_tags": ["a:" + "x" * 127]}, "of at most 128"),
        ({"company_tags": [7]}, "7 in company_tags"),
        ({"company_tags": ["a:b"] * 11}, "company_tags has 11 entries: Codat takes at most 10"),
        ({"idempotency_key": "key"}, "is not a GUID"),
    ],
)
def test_what_codat_would_refuse_is_not_sent(arguments, complaint):
    with pytest.raises(CodatInputError, match=complaint):
        create_webhook(**{"url": URL, "event_types": TYPES, **arguments})
