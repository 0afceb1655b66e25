"""Requests as values: an id never changes the path, a body is JSON or refused."""

import datetime
import decimal
import json
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from json_values import JSON

from airflow_provider_codat.api import sync_settings
from airflow_provider_codat.api.endpoints import companies, push_operations, records
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.request import Request, identifier, params, path

REFUSED_IDS = {
    "empty": ("", "is empty"),
    "blank": ("  ", "is empty"),
    "missing upstream": ("None", "is 'None': .* the upstream value is missing"),
    "unrendered": ("{{ params.x }}", "a template that was not rendered"),
    "slash": ("a/b", "would change the URL"),
    "backslash": ("a\\b", "would change the URL"),
    "question mark": ("a?b", "would change the URL"),
    "hash": ("a#b", "would change the URL"),
    "dot": (".", "would change the URL"),
    "two dots": ("..", "would change the URL"),
    "space": ("a b", "would change the URL"),
    "line break": ("a\n", "would change the URL"),
    "null": ("a\x00", "would change the URL"),
    "delete": ("a\x7f", "would change the URL"),
    "next line": ("a\x85b", "would change the URL"),
    "line separator": ("a\u2028b", "would change the URL"),
    "lone surrogate": ("a\ud800", "would change the URL"),
    "too long": ("a" * 129, "has 129 characters, at most 128"),
    "none": (None, "must be a string, not NoneType"),
    "number": (7, "must be a string, not int"),
    "bytes": (b"id", "must be a string, not bytes"),
    "operation": ({"key": 1}, "must be a string, not dict"),
}
ENDPOINTS = {
    "get_company": (companies.get_company, "company_id"),
    "get_push_operation": (push_operations.get_push_operation, "company_id", "push_operation_key"),
    "list_push_operations": (push_operations.list_push_operations, "company_id"),
    "create_record": (records.create_record, "company_id", "connection_id", "data_type"),
    "update_record": (records.update_record, "company_id", "connection_id", "data_type", "record_id"),
    "delete_record": (records.delete_record, "company_id", "connection_id", "data_type", "record_id"),
    "upload_attachment": (records.upload_attachment, "company_id", "connection_id", "data_type", "record_id"),
    "get_company_sync_settings": (sync_settings.get_company_sync_settings, "company_id"),
    "update_company_sync_settings": (sync_settings.update_company_sync_settings, "company_id"),
}
MORE_ARGUMENTS = {
    "create_record": {"record": {}},
    "update_record": {"record": {}},
    "upload_attachment": {"file": __file__},
    "update_company_sync_settings": {"settings": ()},
}
SLOTS = [
    pytest.param(*row[:1], row[1:], slot, id=f"{name}-{slot}") for name, row in ENDPOINTS.items() for slot in row[1:]
]


@pytest.mark.parametrize(("value", "reason"), REFUSED_IDS.values(), ids=REFUSED_IDS)
def test_an_id_that_could_change_the_url_is_refused_by_name(value, reason):
    with pytest.raises(CodatInputError, match=reason) as raised:
        identifier("company_id", value)
    assert str(raised.value).startswith("company_id ")
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("value", ["a", "a" * 128, "6f7b40a2-5f1e-4d6f-8a3b-1c2d3e4f5a6b", "...", "a.b", "%2e%2e", "é"])
def test_any_other_id_is_taken_as_it_is(value):
    assert identifier("company_id", value) == value


@given(st.text(st.characters(), max_size=140))
@example("%2e%2e")
@example("\ud800")
@example("%2F")
@example("a;b=c&d")
@example("a@b:80")
def test_an_accepted_id_never_changes_the_path(value):
    try:
        identifier("company_id", value)
    except CodatInputError:
        return
    url = urlsplit("https://api.codat.io/prefix" + path("companies", value, "push"))
    assert (url.netloc, url.query, url.fragment) == ("api.codat.io", "", "")
    assert [unquote(segment) for segment in url.path.split("/")] == ["", "prefix", "companies", value, "push"]
    assert not {".", ".."} & set(url.path.split("/"))
    assert url.path.isascii()


@pytest.mark.parametrize(("endpoint", "slots", "bad"), SLOTS)
def test_every_endpoint_refuses_a_bad_id_by_its_name(endpoint, slots, bad):
    arguments = {slot: "../admin" if slot == bad else "id" for slot in slots}
    with pytest.raises(CodatInputError, match=rf"^{bad} '\.\./admin' would change the URL"):
        endpoint(**arguments, **MORE_ARGUMENTS.get(endpoint.__name__, {}))


def test_only_writes_of_records_are_writes():
    requests = [
        companies.get_company("c"),
        companies.list_companies(),
        push_operations.get_push_operation("c", "k"),
        push_operations.list_push_operations("c"),
        sync_settings.get_company_sync_settings("c"),
        sync_settings.update_company_sync_settings("c", ()),
        sync_settings.get_account_sync_settings(),
        sync_settings.update_account_sync_settings("a", ()),
    ]
    assert {(request.writes, request.idempotency_key) for request in requests} == {(False, None)}
    writes = [
        records.create_record("c", "d", "bills", {}),
        records.upload_attachment("c", "d", "bills", "r", __file__),
        records.update_record("c", "d", "bills", "r", {}),
        records.delete_record("c", "d", "bills", "r"),
    ]
    assert {request.writes for request in writes} == {True}
    assert [request.idempotency_key is not None for request in writes] == [True, True, False, False]
    assert [request.is_repeatable for request in (*requests, *writes)] == [True] * 10 + [False, False]


def test_a_json_body_is_opened_as_it_is():
    for body, sent in ((None, None), ({}, b"{}")):
        with Request("POST", "/", bool, body=body).opened() as content:
            assert content == sent


def test_headers_say_what_is_sent():
    assert Request("GET", "/", bool).headers == {"Accept": "application/json"}
    assert Request("POST", "/", bool, body={}, idempotency_key="k").headers == {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "Idempotency-Key": "k",
    }


@given(JSON)
def test_a_body_of_json_values_is_sent_as_it_is(body):
    content = Request("POST", "/", bool, body=body).content
    assert content is None if body is None else json.loads(content) == body


CIRCLE: list = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "value",
    [
        decimal.Decimal("4711.5"),
        datetime.date(2019, 4, 7),
        float("nan"),
        float("inf"),
        {4711},
        b"4711",
        CIRCLE,
        {(4, 7): 1},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_body_json_cannot_hold_is_refused_without_showing_the_value(value):
    request = Request("POST", "/companies/c/push", bool, body={"total": value})
    with pytest.raises(
        CodatInputError, match=r"^the body of POST /companies/c/push cannot be written as JSON"
    ) as raised:
        _ = request.content
    assert raised.value.__cause__ is None
    assert not {"4711", "2019"} & {word for word in ("4711", "2019") if word in str(raised.value)}


def test_parameters_without_a_value_are_left_out():
    assert params(page=1, query=None, orderBy="") == {"page": 1, "orderBy": ""}
