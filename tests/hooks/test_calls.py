"""Every call of the hook, blocking and asynchronous, against the simulator."""

import asyncio
import itertools
import json
import time

import pytest

from airflow_provider_codat.api.sync_settings import SyncSchedule, SyncSetting
from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatInputError,
    CodatNotFoundError,
    CodatResponseError,
    CodatWaitTimeout,
)
from airflow_provider_codat.simulator import CodatSimulator, Fault, Outcome

DAILY = SyncSetting("bills", SyncSchedule(24), fetch_on_first_link=True, sync_order=0)


@pytest.fixture
def company(codat_simulator):
    return codat_simulator.add_company(name="Corner Shop")


# -- companies ---------------------------------------------------------------------------------------------------------


def test_a_company_is_read(hook, do, company):
    read = do(hook.get_company, company.id)
    assert (read.id, read.name, read.connection_ids) == (company.id, "Corner Shop", (company.connection_id,))


def test_an_unknown_company_is_not_found(hook, do):
    with pytest.raises(CodatNotFoundError, match="GET /companies/nobody"):
        do(hook.get_company, "nobody")


def test_a_page_of_companies_is_read(codat_simulator, hook, do):
    companies = [codat_simulator.add_company(name=f"C{number}") for number in range(5)]
    page = do(hook.list_companies, page=2, page_size=2)
    assert [each.id for each in page.results] == [each.id for each in companies[2:4]]
    assert (page.number, page.size, page.total, page.has_next) == (2, 2, 5, True)


def test_companies_are_iterated_over_all_pages_with_the_query(codat_simulator, hook, do):
    for name in ("Shop A", "Shop B", "Barn", "Shop C"):
        codat_simulator.add_company(name=name)
    found = do(hook.iterate_companies, page_size=2, query="name~Shop", order_by="-name")
    assert [each.name for each in found] == ["Shop C", "Shop B", "Shop A"]
    assert [request.query for request in codat_simulator.requests] == [
        {"page": str(page), "pageSize": "2", "query": "name~Shop", "orderBy": "-name"} for page in (1, 2)
    ]


def test_an_iteration_over_all_pages_takes_no_page(codat_simulator, hook, do, company):
    for iterate, *ids in ((hook.iterate_companies,), (hook.iterate_push_operations, company.id)):
        with pytest.raises(CodatInputError, match="page is 3: leave it out"):
            do(iterate, *ids, page=3)
    assert codat_simulator.count() == 0


# -- push operations ---------------------------------------------------------------------------------------------------


def test_a_record_is_created_and_its_operation_read(codat_simulator, hook, do, company):
    written = do(hook.create_record, company.id, company.connection_id, "bills", {"reference": "B-1"})
    assert (written.status, written.data_type, written.company_id) == ("Pending", "bills", company.id)
    read = do(hook.get_push_operation, company.id, written.key)
    assert (read.key, read.status) == (written.key, "Success")
    assert codat_simulator.records[company.id, "bills"][read.record_id]["reference"] == "B-1"


def test_the_options_of_a_write_arrive(codat_simulator, hook, do, company):
    do(
        hook.create_record,
        company.id,
        company.connection_id,
        "chartOfAccounts",
        {"name": "Cash"},
        timeout_in_minutes=5,
        allow_sync_on_push_complete=False,
    )
    (request,) = codat_simulator.requests
    assert request.path.endswith("/push/accounts")
    assert request.query == {"timeoutInMinutes": "5", "allowSyncOnPushComplete": "false"}
    assert json.loads(request.body) == {"name": "Cash"}
    assert request.headers["content-type"] == "application/json"


def test_bank_transactions_are_written_to_their_account(codat_simulator, hook, do, company):
    record = {"accountId": "a-1", "transactions": [{"amount": 12.5}]}
    where = company.id, company.connection_id, "bankTransactions"
    written = do(hook.create_record, *where, record, account_id="a-1")
    assert do(hook.get_push_operation, company.id, written.key).is_success
    assert codat_simulator.requests[0].path.endswith("/push/bankAccounts/a-1/bankTransactions")
    (in_books,) = codat_simulator.records[company.id, "bankTransactions"].values()
    assert in_books["transactions"] == [{"amount": 12.5}]
    with pytest.raises(CodatInputError, match="account_id is missing"):
        do(hook.create_record, *where, record)


@pytest.mark.parametrize("status", ["PendingAuth", "Unlinked", "Deauthorized"])
def test_a_write_through_a_connection_that_is_not_linked_is_refused(codat_simulator, hook, do, company, status):
    codat_simulator.set_connection_status(company.id, status)
    with pytest.raises(CodatApiError, match=f"is {status}") as refused:
        do(hook.create_record, company.id, company.connection_id, "bills", {})
    assert (refused.value.status_code, len(codat_simulator.requests)) == (400, 1)


def test_a_page_of_operations_is_read(codat_simulator, hook, do, company):
    keys = [codat_simulator.add_push(company.id) for _ in range(3)]
    page = do(hook.list_push_operations, company.id, page_size=2)
    assert [each.key for each in page.results] == keys[:2]
    assert page.has_next


def test_operations_are_iterated_over_all_pages(codat_simulator, hook, do, company):
    keys = [codat_simulator.add_push(company.id) for _ in range(5)]
    assert [each.key for each in do(hook.iterate_push_operations, company.id, page_size=2)] == keys
    assert codat_simulator.count("GET", rf"/companies/{company.id}/push") == 3


def test_an_iteration_asks_for_a_page_only_when_it_is_needed(codat_simulator, hook, company):
    keys = [codat_simulator.add_push(company.id) for _ in range(5)]
    operations = hook.iterate_push_operations(company.id, page_size=2)
    counts = [len(codat_simulator.requests)]
    for _ in keys:
        next(operations)
        counts.append(len(codat_simulator.requests))
    assert counts == [0, 1, 1, 2, 2, 3]


def test_an_asynchronous_iteration_asks_for_a_page_only_when_it_is_needed(codat_simulator, hook, company):
    keys = [codat_simulator.add_push(company.id) for _ in range(5)]

    async def counts():
        operations = hook.iterate_push_operations.aio(company.id, page_size=2)
        yield len(codat_simulator.requests)
        for _ in keys:
            await anext(operations)
            yield len(codat_simulator.requests)
        await hook.aclose()

    async def collect():
        return [count async for count in counts()]

    assert asyncio.run(collect()) == [0, 1, 1, 2, 2, 3]


def test_an_iteration_refuses_bad_arguments_before_its_first_item(codat_simulator, hook):
    for call in (hook.iterate_push_operations, hook.iterate_push_operations.aio):
        with pytest.raises(CodatInputError, match=r"company_id '\.\.'"):
            call("..")
    assert codat_simulator.requests == []


def test_a_page_out_of_order_ends_an_iteration(codat_simulator, hook, do, company):
    page = {"results": [company.to_json()], "pageNumber": 7, "_links": {"next": {"href": "/companies?page=8"}}}
    codat_simulator.fault(Fault("status", status=200, body=page, times=None))
    with pytest.raises(CodatResponseError, match="page 1 was requested, page 7 came"):
        do(hook.iterate_companies)
    assert len(codat_simulator.requests) == 1


def test_a_next_link_to_another_host_is_never_followed(codat_simulator, hook, do, company):
    with CodatSimulator() as other:
        page = {"results": [company.to_json()], "_links": {"next": {"href": f"{other.url}/companies?page=2"}}}
        codat_simulator.fault(Fault("status", status=200, body=page))
        assert len(do(hook.iterate_companies)) == 1
        assert other.requests == []
    assert len(codat_simulator.requests) == 2


@pytest.mark.parametrize("text", ["name=a&b", "name~50%", "name=é", "{a=1 && b=2} || c>3", "a+b", "a#b", "a?b=c"])
def test_a_query_arrives_as_it_was_given(codat_simulator, hook, do, text):
    codat_simulator.fault(Fault("status", status=200, body={"results": []}))
    do(hook.list_companies, query=text)
    assert codat_simulator.requests[0].query["query"] == text


@pytest.mark.parametrize("value", ["%2e%2e", "%2F", "a%20b", "a;b=c", "a&b", "é", "...", "a@b:80", "'\"", "a+b", "~a"])
def test_an_odd_id_arrives_as_one_segment_of_the_path(codat_simulator, hook, do, value):
    with pytest.raises(CodatNotFoundError):
        do(hook.get_push_operation, "company", value)
    assert codat_simulator.requests[0].path == f"/companies/company/push/{value}"


# -- sync settings -----------------------------------------------------------------------------------------------------


def test_a_companys_sync_settings_are_read_and_set(codat_simulator, hook, do, company):
    before = do(hook.get_company_sync_settings, company.id)
    assert before.overrides_defaults is False
    do(hook.update_company_sync_settings, company.id, [DAILY])
    after = do(hook.get_company_sync_settings, company.id)
    assert (after.overrides_defaults, after.settings) == (True, (DAILY,))
    (post,) = [request for request in codat_simulator.requests if request.method == "POST"]
    assert json.loads(post.body)["companyId"] == company.id


def test_a_company_is_given_back_to_the_accounts_default(codat_simulator, hook, do, company):
    do(hook.update_company_sync_settings, company.id, [DAILY])
    do(hook.update_company_sync_settings, company.id, [DAILY], overrides_defaults=False)
    assert codat_simulator.sync_settings(company.id)["overridesDefaults"] is False


def test_the_accounts_sync_settings_are_read_and_set(codat_simulator, hook, do):
    assert do(hook.get_account_sync_settings).settings
    do(hook.update_account_sync_settings, codat_simulator.sync_settings()["clientId"], [DAILY])
    assert do(hook.get_account_sync_settings).settings == (DAILY,)


def test_the_accounts_sync_settings_name_the_client(hook, do):
    with pytest.raises(CodatApiError, match='clientId is "client-1"'):
        do(hook.update_account_sync_settings, "client-1", [DAILY])


@pytest.mark.parametrize(
    ("extra", "arguments", "written"),
    [
        ({}, {}, 24),
        ({"sync_schedule_shape": "integer"}, {}, 24),
        ({"sync_schedule_shape": "object"}, {}, {"intervalHours": 24}),
        ({"sync_schedule_shape": "object"}, {"shape": "integer"}, 24),
        ({}, {"shape": "object"}, {"intervalHours": 24}),
    ],
    ids=str,
)
@pytest.mark.parametrize("of", ["company", "account"])
def test_a_schedule_is_written_in_the_shape_of_the_call_or_the_connection(
    codat_simulator, connect, do, of, extra, arguments, written
):
    codat_simulator.fault(Fault("status", status=204))
    hook = connect(**extra)
    do(
        {"company": hook.update_company_sync_settings, "account": hook.update_account_sync_settings}[of],
        "id",
        [DAILY],
        **arguments,
    )
    schedule = json.loads(codat_simulator.requests[0].body)["settings"][0]["syncSchedule"]
    assert schedule == written or (isinstance(written, dict) and schedule.items() >= written.items())


# -- waiting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["Success", "Failed", "TimedOut"])
def test_a_wait_returns_any_end(codat_simulator, hook, do, slept, company, status):
    outcome = Outcome(status, polls=3, error_message="Words", record_id="record-1")
    key = codat_simulator.add_push(company.id, outcome=outcome)
    operation = do(hook.wait_for_push_operation, company.id, key)
    assert (operation.key, operation.status, operation.error_message) == (key, status, "Words")
    assert operation.record_id == ("record-1" if status == "Success" else None)
    assert slept == [2, 2, 2]
    assert len(codat_simulator.requests) == 4


def test_a_wait_that_is_over_raises_with_the_last_status_seen(codat_simulator, hook, do, slept, company):
    key = codat_simulator.add_push(company.id, status="Processing")
    with pytest.raises(CodatWaitTimeout, match="last status seen: Processing") as raised:
        do(hook.wait_for_push_operation, company.id, key, poll_interval=10, timeout=25)
    assert raised.value.last_status == "Processing"
    assert slept == [10, 10, pytest.approx(5, abs=1)]
    assert len(codat_simulator.requests) == 4


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "reset"},
        {"kind": "reset_after"},
        {"kind": "truncated"},
        {"kind": "html"},
        {"kind": "not_found"},
        {"kind": "unknown_status"},
        *({"kind": "status", "status": status} for status in (408, 425, 429, 500, 502, 503, 504)),
    ],
    ids=str,
)
def test_a_wait_outlives_passing_trouble_with_one_request_an_interval(codat_simulator, hook, do, slept, company, fault):
    key = codat_simulator.add_push(company.id, outcome=Outcome())
    codat_simulator.fault(Fault(**fault, times=3))
    assert do(hook.wait_for_push_operation, company.id, key).is_success
    assert slept == [2, 2, 2]
    assert len(codat_simulator.requests) == 4


@pytest.mark.parametrize("status", [302, 400, 401, 402, 403, 409, 410, 418, 451, 499])
def test_a_wait_ends_at_once_where_waiting_cannot_help(codat_simulator, hook, do, slept, company, status):
    codat_simulator.fault(Fault("status", status=status, times=None))
    with pytest.raises(CodatApiError) as raised:
        do(hook.wait_for_push_operation, company.id, codat_simulator.add_push(company.id))
    assert raised.value.status_code == status
    assert (len(codat_simulator.requests), slept) == (1, [])


@pytest.mark.parametrize("status", [500, 501, 503, 520, 529])
def test_a_wait_outlives_every_server_error(codat_simulator, hook, do, slept, company, status):
    codat_simulator.fault(Fault("status", status=status, times=2))
    key = codat_simulator.add_push(company.id, outcome=Outcome())
    assert do(hook.wait_for_push_operation, company.id, key).is_success
    assert len(codat_simulator.requests) == 3


@pytest.mark.parametrize("interval", [0, -1, float("nan")])
def test_a_wait_without_a_pause_is_refused_before_any_request(codat_simulator, hook, do, interval):
    with pytest.raises(CodatInputError, match="give a number above 0"):
        do(hook.wait_for_push_operation, "c", "k", poll_interval=interval)
    assert codat_simulator.requests == []


def test_a_wait_gives_a_fresh_operation_a_minute_to_be_found(codat_simulator, hook, do, slept, company):
    with pytest.raises(CodatNotFoundError, match="check that the two belong together"):
        do(hook.wait_for_push_operation, company.id, "no-such-key", poll_interval=20)
    assert slept == [20, 20, 20]


def test_a_wait_sleeps_as_long_as_codat_asks(codat_simulator, hook, do, slept, company):
    key = codat_simulator.add_push(company.id, outcome=Outcome())
    codat_simulator.fault(Fault("status", status=429, retry_after=50))
    assert do(hook.wait_for_push_operation, company.id, key).is_success
    assert slept == [pytest.approx(50, abs=1)]


def test_a_wait_refuses_a_bad_key_without_a_request(codat_simulator, hook, do):
    with pytest.raises(CodatInputError, match="push_operation_key is empty"):
        do(hook.wait_for_push_operation, "company", "")
    assert codat_simulator.requests == []


@pytest.mark.parametrize("asked", ["0.3", "3.2"])
def test_a_fraction_of_a_second_that_codat_asks_for_is_waited(codat_simulator, connect, do, slept, company, asked):
    codat_simulator.fault(Fault("status", status=429, retry_after=asked))
    do(connect().get_company, company.id)
    assert slept == [float(asked)]


MILLISECONDS = {
    "timeout": {"timeout": 120_000},
    "a short timeout": {"timeout": 15_000},
    "interval": {"poll_interval": 2_000},
    "both": {"poll_interval": 5_000, "timeout": 60_000},
    "endless": {"timeout": float("inf")},
    "no number": {"timeout": float("nan")},
    "negative": {"timeout": -1},
    "text": {"timeout": "120"},
    "a boolean": {"timeout": True},
}


@pytest.mark.parametrize("given", MILLISECONDS.values(), ids=MILLISECONDS)
def test_a_wait_in_milliseconds_is_refused_before_any_request(codat_simulator, hook, do, given):
    name, value = next(iter(given.items()))
    with pytest.raises(CodatInputError, match=rf"^{name} is {value!r}: it is in seconds, give a number above 0"):
        do(hook.wait_for_push_operation, "c", "k", **given)
    assert codat_simulator.requests == []


def test_the_longest_wait_is_four_hours(codat_simulator, hook, do, company):
    key = codat_simulator.add_push(company.id, status="Success")
    assert do(hook.wait_for_push_operation, company.id, key, poll_interval=600, timeout=4 * 3600).is_success
    with pytest.raises(CodatInputError, match="up to 14,400; a CodatPushOperationSensor can wait longer"):
        do(hook.wait_for_push_operation, company.id, key, timeout=4 * 3600 + 1)


def test_the_pauses_of_a_wait_are_a_tenth_of_the_time_waited(codat_simulator, hook, do, company, slept):
    key = codat_simulator.add_push(company.id)
    with pytest.raises(CodatWaitTimeout):
        do(hook.wait_for_push_operation, company.id, key, poll_interval=2, timeout=300)
    assert slept[:10] == pytest.approx([2] * 10, abs=0.1)
    assert max(slept) == pytest.approx(28, abs=3)


@pytest.mark.parametrize("shift", [0.0, 1e9, -1e9], ids=["stands still", "is set forward", "is set back"])
def test_a_wait_lasts_as_long_as_was_asked_whatever_the_clock_does(
    codat_simulator, hook, do, company, monkeypatch, shift
):
    key = codat_simulator.add_push(company.id)
    readings = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 1.8e9 + shift * next(readings))
    began = time.monotonic()
    with pytest.raises(CodatWaitTimeout):
        do(hook.wait_for_push_operation, company.id, key, poll_interval=0.1, timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 30
