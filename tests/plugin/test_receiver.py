"""A message of Codat becomes asset events and a hint, once, however often it comes."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from traceback import extract_tb

import pytest
from airflow.models.asset import AssetEvent
from airflow.utils.session import create_session
from pages import PLUGIN, block
from sqlalchemy import update
from webhook_messages import (
    ANY_BILLS,
    BILLS,
    COMPANY,
    MAILBOX,
    OTHER_SECRET,
    SECRET,
    message,
    read,
    signed,
    write,
)
from webhook_runs import Receiver

from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.assets import all_data_uri, data_uri
from airflow_provider_codat.plugin import secrets as secrets_module
from airflow_provider_codat.plugin.store import CLOCKS, DUPLICATES, HAS_HINTS

MINUTE = timedelta(minutes=1)
INVOICES = data_uri(COMPANY, "invoices")


def test_a_write_is_an_event_of_its_assets_and_a_hint(receiver, database, logged):
    database.add(BILLS, ANY_BILLS, MAILBOX)
    before = time.time()
    answer = receiver.take(write(event_id="event-1"), "msg_7")
    assert (answer.status_code, answer.json()) == (200, {"status": "stored"})
    extra = {
        "messageId": "msg_7",
        "eventId": "event-1",
        "eventType": "bills.write.successful",
        "companyId": COMPANY,
        "connectionId": "b0b0",
        "dataType": "bills",
        "status": "Success",
        "pushOperationKey": "push-1",
        "codatConnId": "codat_default",
        "from_rest_api": True,
    }
    assert database.events() == {BILLS: [extra], ANY_BILLS: [extra]}
    for hint in database.hints():
        assert (hint.id, hint.type, hint.company) == ("msg_7", "bills.write.successful", COMPANY)
        assert (hint.operation, hint.data_types, hint.seq) == ("push-1", ("bills",), 1)
        assert before <= hint.at <= time.time()
    assert len(database.hints()) == HAS_HINTS
    assert "received webhook 'msg_7', 'bills.write.successful' of company" in logged()


def test_a_read_is_an_event_of_each_data_type(receiver, database):
    database.add(BILLS, INVOICES, ANY_BILLS)
    assert receiver.take(read(bills="Complete", invoices="Complete")).status_code == 200
    assert database.counts() == {BILLS: 1, INVOICES: 1, ANY_BILLS: 1}
    [extra] = database.events()[INVOICES]
    assert (extra["dataType"], extra["status"]) == ("invoices", "Complete")
    assert not {"pushOperationKey", "pullOperationId"} & extra.keys()


@pytest.mark.parametrize(
    ("body", "changed", "hints"),
    [
        (write(status="Failed"), [], 1),
        (write(status="TimedOut"), [], 1),
        (read(bills="FetchError"), [], 1),
        (read(bills="FetchError", invoices="Complete"), [INVOICES], 1),
        (message("bills.write.successful", {"id": "push-1"}), [BILLS], 1),
        (message("bills.write.unsuccessful", {"id": "push-1"}), [], 1),
        (message("read.completed", {"dataTypes": [{"dataType": "bills"}]}), [BILLS], 1),
        (message("read.completed", {"dataTypes": []}), [], 0),
        (message("bills.write.unsuccessful", {"id": "push-1", "referenceCompany": None}), [], 0),
        (message("connection.connected", {"connection": {"id": "b0b0", "status": "Linked"}}), [], 0),
        (message("client.rateLimit.reached", {}), [], 0),
        (message("something.new", {}), [], 0),
    ],
    ids=lambda value: value.decode()[43:110] if isinstance(value, bytes) else None,
)
def test_data_that_may_have_changed_starts_dags_and_what_has_ended_wakes_waits(
    body, changed, hints, receiver, database
):
    database.add(BILLS, INVOICES, MAILBOX)
    assert receiver.take(body).status_code == 200
    assert list(database.counts()) == changed
    assert len(database.hints()) == hints * HAS_HINTS


def test_an_asset_that_no_dag_names_gets_nothing(receiver, database, logged):
    database.add(BILLS, MAILBOX, is_active=False)
    assert receiver.take(write()).json() == {"status": "stored"}
    assert (database.counts(), database.hints()) == ({}, [])
    assert "new asset events 0, hints 0" in logged()


# -- duplicates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["msg_1", "msg_2"], ids=["the message", "the event, in another message"])
def test_what_comes_again_is_known(second, receiver, database):
    database.add(BILLS, ANY_BILLS, MAILBOX)
    body = write(event_id="event-1")
    assert receiver.take(body).json() == {"status": "stored"}
    again = receiver.take(body, second)
    assert again.status_code == 200
    assert database.counts() == {BILLS: 1, ANY_BILLS: 1}
    if second == "msg_1":
        assert again.json() == {"status": "known"}
        assert len(database.hints()) == HAS_HINTS


@pytest.mark.parametrize("message_id", ["msg_1", "m" * 100], ids=["short", "longer than a hint has it"])
def test_a_hint_that_comes_again_is_known(message_id, receiver, database):
    database.add(MAILBOX)
    body = write(status="Failed")
    again = "known" if HAS_HINTS else "stored"  # nothing is there that could tell
    assert [receiver.take(body, message_id).json()["status"] for _ in range(2)] == ["stored", again]
    assert len(database.hints()) == HAS_HINTS


def test_one_message_about_two_connections_is_two_events(receiver, database):
    database.add(BILLS)
    entries = [{"connectionId": each, "dataType": "bills", "status": "Complete"} for each in ("b0b0", "b0b1")]
    body = message("read.completed", {"dataTypes": entries})
    receiver.take(body)
    receiver.take(body)
    assert [each["connectionId"] for each in database.events()[BILLS]] == ["b0b0", "b0b1"]


@pytest.mark.parametrize(("age", "events"), [(DUPLICATES - timedelta(hours=1), 1), (DUPLICATES, 2)], ids=str)
def test_a_message_is_known_for_two_weeks(age, events, receiver, database):
    database.add(BILLS)
    body = write()
    receiver.take(body)
    with create_session(scoped=False) as session:
        session.execute(update(AssetEvent).values(timestamp=datetime.now(UTC) - age))
    receiver.take(body)
    assert database.counts() == {BILLS: events}


@pytest.mark.parametrize(
    ("generated", "written", "events"),
    [
        (timedelta(days=13), timedelta(days=13), 1),
        (timedelta(days=13), timedelta(days=1), 1),
        (timedelta(days=5), timedelta(days=5) + CLOCKS - MINUTE, 1),
        (timedelta(days=5), timedelta(days=5) + CLOCKS + MINUTE, 2),
        (-CLOCKS + MINUTE, timedelta(0), 1),
        (-CLOCKS - MINUTE, timedelta(days=13), 1),
        (None, timedelta(days=13), 1),
    ],
    ids=["a replay", "late", "the clocks differ", "before it was generated", "ahead", "far ahead", "without a date"],
)
def test_a_message_is_looked_for_from_when_it_was_generated(generated, written, events, receiver, database):
    database.add(BILLS)
    now = datetime.now(UTC)
    body = write(generated_at=None if generated is None else (now - generated).isoformat())
    receiver.take(body)
    with create_session(scoped=False) as session:
        session.execute(update(AssetEvent).values(timestamp=now - written))
    receiver.take(body)
    assert database.counts() == {BILLS: events}


def test_a_message_of_the_first_day_of_all_is_taken(receiver, database):
    database.add(BILLS)
    body = write(generated_at="0001-01-01T00:00:00Z")
    assert [receiver.take(body).json()["status"] for _ in range(2)] == ["stored", "known"]


def test_a_message_that_comes_many_times_at_once_is_stored_once(receiver, database, together):
    database.add(BILLS, ANY_BILLS, MAILBOX)
    body = write()
    answers = together(*(receiver.asend(content=body, headers=signed(body)) for _ in range(20)))
    assert sorted(answer.json()["status"] for answer in answers) == ["known"] * 19 + ["stored"]
    assert database.counts() == {BILLS: 1, ANY_BILLS: 1}
    assert len(database.hints()) == HAS_HINTS


def test_messages_at_once_are_all_stored(receiver, database, together):
    database.add(ANY_BILLS, MAILBOX)
    bodies = {f"msg_{number}": write(key=f"push-{number}") for number in range(20)}
    together(*(receiver.asend(content=body, headers=signed(body, name)) for name, body in bodies.items()))
    assert database.counts() == {ANY_BILLS: 20}
    if HAS_HINTS:
        assert [hint.seq for hint in database.hints()] == list(range(1, 21))
        assert {hint.id for hint in database.hints()} == bodies.keys()


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_during_a_rotation_the_old_and_the_new_secret_are_valid(receiver, connection):
    connection(SECRET, OTHER_SECRET)
    assert receiver.take(write(), secret=SECRET).status_code == 200
    assert receiver.take(write(), secret=OTHER_SECRET).status_code == 200


class Clock:
    """Stands in for the clock of the secrets."""

    def __init__(self) -> None:
        self.passed = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.passed

    time = staticmethod(time.time)


@pytest.fixture
def passing(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(secrets_module, "time", clock)
    return clock


def test_a_new_secret_is_found_once_a_message_needs_it(receiver, connection, passing):
    assert receiver.take(write(), secret=SECRET).status_code == 200
    connection(SECRET, OTHER_SECRET)
    passing.passed = secrets_module.REFUSED_TTL - 1
    assert receiver.take(write(), secret=OTHER_SECRET).status_code == 401
    passing.passed = secrets_module.REFUSED_TTL
    assert receiver.take(write(), secret=OTHER_SECRET).status_code == 200


def test_a_removed_secret_is_refused_within_a_minute(receiver, connection, passing):
    assert receiver.take(write(), secret=SECRET).status_code == 200
    connection(OTHER_SECRET)
    passing.passed = secrets_module.CONNECTION_TTL - 1
    assert receiver.take(write(), secret=SECRET).status_code == 200
    passing.passed = secrets_module.CONNECTION_TTL
    assert receiver.take(write(), secret=SECRET).status_code == 401


@pytest.mark.parametrize("value", [None, '{"conn_type": "codat", "password": ""}'], ids=["missing", "malformed"])
def test_a_connection_that_cannot_be_read_is_looked_up_every_5_seconds(
    value, receiver, connection, passing, monkeypatch
):
    monkeypatch.delenv("AIRFLOW_CONN_CODAT_DEFAULT")
    if value is not None:
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", value)
    assert receiver.take(write()).status_code == 503
    connection(SECRET)
    passing.passed = secrets_module.REFUSED_TTL - 1
    assert receiver.take(write()).status_code == 503
    passing.passed = secrets_module.REFUSED_TTL
    assert receiver.take(write()).status_code == 200


def test_an_error_that_is_raised_again_does_not_grow(connection):
    connection()
    secrets = secrets_module.Secrets()

    def frames():
        with pytest.raises(CodatInputError) as raised:
            secrets.of("codat_default")
        return len(extract_tb(raised.value.__traceback__))

    frames()
    assert frames() == frames()


# -- health ------------------------------------------------------------------------------------------------------------


def health(receiver):
    answer = receiver.send("GET", "/codat/health")
    assert answer.status_code == 200
    return answer.json()


def test_health_names_the_connections(receiver, database):
    database.add(MAILBOX, BILLS)
    assert health(receiver) == {
        "status": "healthy",
        "hints": HAS_HINTS,
        "data_assets": True,
        "connections": {"codat_default": {"path": "/codat/webhooks/codat_default", "missing": []}},
    }


A_DATA_ASSET = f"a DAG that names an asset of Codat's data, such as {ANY_BILLS}"
"""What health says is missing where webhooks would lead to nothing."""


@pytest.mark.parametrize(
    ("uri", "is_active", "is_of_data"),
    [
        (BILLS, True, True),
        (ANY_BILLS, True, True),
        (BILLS, False, False),
        (all_data_uri("bills", host="codat.example"), True, False),
        ("s3://bucket/data/bills", True, False),
    ],
    ids=["of a company", "of any company", "no more", "of another host", "of another system"],
)
def test_health_tells_whether_a_dag_can_be_started(uri, is_active, is_of_data, receiver, database):
    database.add(MAILBOX)
    database.add(uri, is_active=is_active)
    report = health(receiver)
    assert report["data_assets"] is is_of_data
    missing = [] if is_of_data or HAS_HINTS else [A_DATA_ASSET]
    assert report["connections"]["codat_default"]["missing"] == missing
    assert report["status"] == ("incomplete" if missing else "healthy")


def test_health_is_as_the_guide_prints_it(receiver):
    printed = json.loads(block((PLUGIN, "json", "codat_default")).text)
    if not HAS_HINTS:
        printed["hints"] = False
        printed["connections"]["codat_default"]["missing"] = [A_DATA_ASSET]
    assert health(receiver) == printed


@pytest.mark.parametrize("secrets", [(), ("whsec_short", "secret")], ids=["none", "malformed"])
def test_health_tells_what_is_missing(secrets, receiver, connection, logged):
    connection(*secrets)
    report = health(receiver)
    assert report["status"] == "incomplete"
    missing = report["connections"]["codat_default"]["missing"]
    assert "a signing secret in its extra 'webhook_secrets'" in missing[0]
    assert missing[1:] == [f"a DAG that names the asset {MAILBOX}" if HAS_HINTS else A_DATA_ASSET]
    text = logged()
    assert "connection 'codat_default' has no signing secret in its extra 'webhook_secrets'" in text
    assert "whsec_short" not in text


def test_health_without_any_connection_is_incomplete(database):
    expected = {"status": "incomplete", "hints": HAS_HINTS, "data_assets": False, "connections": {}}
    assert health(Receiver([])) == expected
