"""Data connections as values, and what their states ask for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON

from airflow_provider_codat.api.endpoints.connections import (
    DataConnection,
    DataConnectionError,
    get_data_connection,
    list_data_connections,
    unlink_data_connection,
)
from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError
from airflow_provider_codat.api.http.retry import may_be_resent

LINK = "https://link-api.codat.io/companies/c/connections/d/start"
TROUBLE = {
    "statusCode": "401",
    "statusText": "Unauthorized",
    "errorMessage": "Token expired",
    "erroredOnUtc": "2026-03-01T02:00:00Z",
    "status": None,
}
FULL = {
    "id": "d",
    "status": "Deauthorized",
    "platformName": "Xero",
    "sourceType": "Accounting",
    "linkUrl": LINK,
    "lastSync": "2026-03-01T02:00:00.6464237Z",
    "dataConnectionErrors": [TROUBLE],
}
NEARLY = st.fixed_dictionaries(
    {"id": st.text(min_size=1)}, optional={name: st.none() | st.text() | JSON for name in FULL if name != "id"}
)


def test_a_connection_is_read_in_full_and_written_as_it_was():
    connection = DataConnection.from_json(FULL)
    trouble = DataConnectionError("401", "Unauthorized", "Token expired", "2026-03-01T02:00:00Z", None)
    assert connection == DataConnection(
        "d", "Deauthorized", "Xero", "Accounting", LINK, "2026-03-01T02:00:00.6464237Z", (trouble,)
    )
    assert connection.to_json() == FULL


@given(NEARLY)
def test_writing_and_reading_gives_the_same_connection(body):
    connection = DataConnection.from_json(body)
    assert DataConnection.from_json(json.loads(json.dumps(connection))) == connection
    assert connection.to_do is None or connection.id in connection.to_do


@given(JSON | NEARLY)
def test_no_answer_raises_anything_but_a_response_error(body):
    for request in (get_data_connection("c", "d"), unlink_data_connection("c", "d"), list_data_connections("c")):
        try:
            request.read(body)
        except CodatResponseError:
            continue


@pytest.mark.parametrize("errors", [None, 7, "x", [None, 7, []]])
def test_errors_that_cannot_be_read_are_left_out(errors):
    assert DataConnection.from_json({"id": "d", "dataConnectionErrors": errors}).errors == ()


@pytest.mark.parametrize(
    ("connection", "to_do"),
    [
        (DataConnection("d", "Linked", "Xero", link_url=LINK), None),
        (
            DataConnection("d", "PendingAuth", "Xero", link_url=LINK),
            "Connection d to Xero is PendingAuth: it was never authorized. The customer has to authorize it at " + LINK,
        ),
        (
            DataConnection("d", "Unlinked", link_url=LINK),
            "Connection d is Unlinked: it was unlinked. The customer has to authorize it at " + LINK,
        ),
        (
            DataConnection("d", "Deauthorized"),
            "Connection d is Deauthorized: its authorization was revoked or has expired. The customer has to authorize"
            " it in Codat Link",
        ),
        (DataConnection("d", "New"), "Connection d is New. The customer has to authorize it in Codat Link"),
        (
            DataConnection("d", None),
            "Connection d is in an unknown state. The customer has to authorize it in Codat Link",
        ),
    ],
)
def test_what_has_to_be_done_before_the_next_refresh(connection, to_do):
    assert connection.to_do == to_do
    assert connection.is_linked is (to_do is None)


def test_the_requests_are_those_of_the_api():
    assert str(get_data_connection("c", "d")) == "GET /companies/c/connections/d"
    request = list_data_connections("c", page=2, page_size=5, query="status=Linked", order_by="-created")
    assert str(request) == "GET /companies/c/connections"
    assert request.params == {"page": 2, "pageSize": 5, "query": "status=Linked", "orderBy": "-created"}
    unlink = unlink_data_connection("c", "d")
    assert (str(unlink), unlink.content) == ("PATCH /companies/c/connections/d", b'{"status": "Unlinked"}')
    assert may_be_resent(CodatResponseError("cut short"), unlink)


@pytest.mark.parametrize("build", [get_data_connection, unlink_data_connection])
def test_malformed_ids_are_refused(build):
    with pytest.raises(CodatInputError, match="connection_id"):
        build("c", "a/b")
    with pytest.raises(CodatInputError, match="company_id"):
        build("", "d")
