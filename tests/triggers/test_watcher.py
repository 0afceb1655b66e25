"""The trigger of asset watchers, over HTTP: what it reports, what it survives, and what it asks of Codat."""

import asyncio
import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import pages
import pytest
from airflow.executors.workloads import RunTrigger
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models.trigger import Trigger
from trigger_runner import from_row
from watcher_runs import ids, payloads

from airflow_provider_codat.api.changes import change
from airflow_provider_codat.api.watching.watch import READ
from airflow_provider_codat.demo.onboarding import example_dags
from airflow_provider_codat.exceptions import CodatInputError
from airflow_provider_codat.simulator import UNDECIDED, CodatSimulator, Fault, Outcome, RefreshOutcome
from airflow_provider_codat.triggers import sender, watcher, watching
from airflow_provider_codat.triggers.codat import CodatEventTrigger
from airflow_provider_codat.triggers.company_requests import LONGEST_RETRY_AFTER
from airflow_provider_codat.triggers.watching import SLOW

GOLDEN = json.loads(Path(__file__).with_name("golden_event_trigger_kwargs.json").read_text())
WRITES = ["{dataType}.write.successful", "{dataType}.write.unsuccessful"]


# -- the row -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kwargs", GOLDEN)
def test_every_row_ever_written_still_builds_and_runs(kwargs, company, clock, codat_simulator):
    pull = codat_simulator.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=300))
    assert ids(payloads(clock, 1_000, CodatEventTrigger(**kwargs | {"company_id": company.id}))) == [pull]


def test_its_row_has_json_primitives_and_is_the_same_at_each_parse(trigger):
    rows = [trigger(events=("read.completed",), data_types=["invoices"]).serialize() for _ in range(2)]
    assert rows[0] == rows[1]
    assert from_row(rows[0]).serialize() == rows[0]
    assert rows[0][1]["events"] == ["read.completed"]


@pytest.mark.parametrize("collection", [tuple, set, frozenset, iter, lambda names: dict.fromkeys(names).keys()])
def test_any_collection_of_names_becomes_a_list(trigger, collection):
    events, data_types = ["bills.write.successful", "read.completed"], ["bills", "invoices", "items"]
    _, kwargs = trigger(events=collection(events), data_types=collection(data_types)).serialize()
    assert (kwargs["events"], kwargs["data_types"]) == (events, data_types)
    from_row(trigger(**kwargs).serialize())


@pytest.mark.parametrize("argument", [{"events": ["read"]}, {"poll_interval": 0}, {"made_up": 1}])
def test_a_row_that_is_refused_fails_no_other_trigger(trigger, argument):
    class_path, kwargs = trigger().serialize()
    workload = RunTrigger(
        id=1, classpath=class_path, encrypted_kwargs=Trigger.encrypt_kwargs(kwargs | argument), ti=None
    )

    async def create():
        runner = TriggerRunner()
        runner.to_create.append(workload)
        await runner.create_triggers()
        return runner.failed_triggers

    [(trigger_id, error)] = asyncio.run(create())
    assert trigger_id == 1
    assert next(iter(argument)) in str(error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"asset_name": ""}, "asset_name is ''"),
        ({"codat_conn_id": None}, "codat_conn_id is None"),
        ({"company_id": "a b"}, "company_id"),
        ({"events": ["read"]}, "events has 'read'"),
        ({"data_types": "invoices"}, "data_types is 'invoices'"),
        *[({"poll_interval": each}, f"poll_interval is {each!r}") for each in (0, -1, 100_000, True, "60", None)],
    ],
)
def test_a_wrong_argument_is_named_at_dag_parse(trigger, arguments, message):
    with pytest.raises(CodatInputError) as raised:
        trigger(**arguments)
    assert message in str(raised.value)


def test_a_misspelled_data_type_is_named_at_dag_parse(trigger):
    with pytest.warns(UserWarning, match=r"'invoice' is unknown .* Did you mean 'invoices'\?") as warned:
        trigger(data_types=["invoice"])
    assert warned[0].filename.endswith("conftest.py")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trigger(events=WRITES, data_types=["Invoices"])


def test_an_airflow_without_watchers_is_named(trigger, monkeypatch):
    monkeypatch.setattr(watcher, "BaseEventTrigger", None)
    with pytest.raises(CodatInputError, match=r"needs Airflow 3\.1 or later"):
        trigger()


# -- what it reports ---------------------------------------------------------------------------------------------------


def test_an_event_has_all_that_has_ended_since_the_last_poll(trigger, company, clock, codat_simulator):
    before = codat_simulator.add_push(company.id, "bills", status="Success")
    written = codat_simulator.add_push(company.id, "bills", outcome=UNDECIDED)
    failed = codat_simulator.add_push(company.id, "invoices", outcome=UNDECIDED)

    def end_both():
        codat_simulator.finish(written, Outcome(record_id="bill-1"))
        codat_simulator.finish(failed, Outcome("Failed"))

    clock.after(100, end_both)
    [payload] = found = payloads(clock, 600, trigger(events=WRITES))
    by_type = {change["eventType"]: change for change in payload["changes"]}
    assert {name: change["pushOperationKey"] for name, change in by_type.items()} == {
        "invoices.write.unsuccessful": failed,
        "bills.write.successful": written,
    }
    assert before not in ids(found)
    assert by_type["bills.write.successful"] == {
        "eventType": "bills.write.successful",
        "companyId": company.id,
        "connectionId": company.connection_id,
        "dataType": "bills",
        "status": "Success",
        "pushOperationKey": written,
        "recordId": "bill-1",
        "codatConnId": "codat_default",
    }
    assert payload["cursor"].startswith("2027-01-15T08:00:00")


@pytest.mark.parametrize(
    ("arguments", "statuses"), [({}, ["Complete"]), ({"failed_reads": True}, ["Complete", "FetchError"])]
)
def test_refreshes_that_failed_are_reported_if_asked_for(trigger, company, clock, codat_simulator, arguments, statuses):
    add = codat_simulator.refreshes.add
    complete = add(company.id, "invoices", outcome=RefreshOutcome(latency=100))
    add(company.id, "bills", outcome=RefreshOutcome(latency=100))
    failed = add(company.id, "items", outcome=RefreshOutcome("FetchError", latency=200))
    found = payloads(clock, 600, trigger(data_types=["invoices", "items"], **arguments))
    assert ids(found) == [complete, failed][: len(statuses)]
    assert [change["status"] for payload in found for change in payload["changes"]] == statuses


def test_an_event_has_a_limited_number_of_changes_and_the_last_has_the_cursor(
    trigger, company, clock, codat_simulator, connect
):
    connect(requests_per_minute=60_000)
    first = codat_simulator.add_push(company.id, "bills", status="Success")
    keys = []
    add = codat_simulator.add_push
    clock.after(70, lambda: keys.extend(add(company.id, "bills", status="Success") for _ in range(1_001)))
    found = payloads(clock, 400, trigger(events=WRITES))
    assert [len(payload["changes"]) for payload in found] == [500, 500, 1]
    assert sorted(ids(found)) == sorted(keys)
    assert first not in ids(found)
    assert found[0]["cursor"] == found[1]["cursor"] < found[2]["cursor"]


@pytest.mark.parametrize("order_by_support", ["honour", "ignore"])
def test_a_long_list_in_any_order_is_read_to_its_end(trigger, clock, connect, order_by_support):
    with CodatSimulator(clock=clock.time, order_by_support=order_by_support) as codat:
        company = codat.add_company()
        connect(host=codat.url, password=codat.api_key, requests_per_minute=60_000)
        keys = []

        def burst():
            for _ in range(350):
                keys.append(codat.add_push(company.id, "bills", status="Success"))  # all of one moment

        clock.after(70, burst)
        found = payloads(clock, 400, trigger(company_id=company.id, events=WRITES))
    assert sorted(ids(found)) == sorted(keys)
    assert len(found) == 1


# -- what it survives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault("gateway", times=3, status=503),
        Fault("status", times=3, status=404),
        Fault("reset", times=3),
        Fault("truncated", times=3),
        Fault("status", times=3, status=429, retry_after=120),
        Fault("status", times=3, status=401),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_trouble_ends_nothing_and_loses_nothing(fault, trigger, company, clock, codat_simulator, logged):
    key = codat_simulator.add_push(company.id, "bills", outcome=Outcome(latency=100))
    clock.after(70, lambda: codat_simulator.fault(fault))
    assert ids(payloads(clock, 4_000, trigger(events=WRITES))) == [key]
    lines = logged()
    assert lines.count("could not read what has ended") == 1
    assert lines.count(f"The watcher of company {company.id} goes on; 3 polls had failed.") == 1


def test_an_error_that_comes_back_is_logged_again(trigger, clock, codat_simulator, logged):
    for at in (70, 1_000):
        clock.after(at, lambda: codat_simulator.fault(Fault("gateway", status=503)))
    payloads(clock, 2_000, trigger())
    assert logged().count("could not read what has ended") == 2


def test_two_kinds_of_errors_by_turns_are_logged_once_each(trigger, clock, codat_simulator, logged):
    for _ in range(3):
        codat_simulator.fault(Fault("gateway", status=503))
        codat_simulator.fault(Fault("status", status=404))
    payloads(clock, 4_000, trigger())
    assert logged().count("could not read what has ended") == 2


def test_a_retry_after_is_obeyed(trigger, clock, codat_simulator):
    codat_simulator.fault(Fault("gateway", status=503, retry_after=1_000))
    payloads(clock, 1_500, trigger(poll_interval=100))
    first, second, *_ = clock.requested_at()
    assert second - first >= 1_000


@pytest.mark.parametrize("faults", [[Fault("gateway", status=503)], [Fault("status", status=429, retry_after=5)]])
def test_a_poll_of_many_pages_ends_though_some_requests_fail(faults, trigger, company, clock, codat_simulator, connect):
    connect(requests_per_minute=60_000)
    keys = []

    def burst():
        keys.extend(codat_simulator.add_push(company.id, "bills", status="Success") for _ in range(800))
        codat_simulator.random_faults(faults, probability=0.2, seed=7)

    clock.after(70, burst)
    assert sorted(ids(payloads(clock, 900, trigger(events=WRITES)))) == sorted(keys)


def test_a_later_request_waits_for_a_short_retry_after_and_a_long_one_fails_the_poll(
    trigger, clock, codat_simulator, logged
):
    for seconds in (LONGEST_RETRY_AFTER + 1, LONGEST_RETRY_AFTER):
        codat_simulator.fault(Fault("gateway", status=503, retry_after=seconds, path="/.*/history"))
    payloads(clock, 350, trigger(events=[*WRITES, READ], poll_interval=200))
    assert logged().count("could not read what has ended") == 1
    _, failed, _, refused, again, *_ = clock.requested_at()
    assert refused - failed == pytest.approx(200, abs=1.5)
    assert again - refused == pytest.approx(LONGEST_RETRY_AFTER, abs=1.5)


def test_a_refused_key_is_tried_again_slowly_and_a_corrected_one_is_used(
    trigger, company, clock, codat_simulator, connect
):
    connect(password="revoked-key")
    clock.after(4 * SLOW + 1, connect)
    clock.after(4 * SLOW + 2, lambda: codat_simulator.add_push(company.id, "bills", outcome=Outcome(latency=2 * SLOW)))
    found = payloads(clock, 8 * SLOW, trigger(events=WRITES, poll_interval=10))
    assert len(found) == 1
    assert len([at for at in clock.requested_at() if at < 4 * SLOW]) == 4


def test_a_key_that_was_refused_and_has_changed_meanwhile_costs_no_poll(
    trigger, company, clock, codat_simulator, connect, logged
):
    def change():
        connect(host=codat_simulator.url.replace("127.0.0.1", "localhost"))
        codat_simulator.fault(Fault("status", status=401))

    connect()
    clock.after(25, change)  # the last read of the connection is too recent for another one before the next poll
    payloads(clock, 50, trigger(poll_interval=20))
    lines = logged()
    assert "could not read what has ended" not in lines
    assert len([each for each in codat_simulator.requests if each.fault]) == 1


def test_an_error_of_the_sender_ends_nothing(trigger, company, clock, codat_simulator, monkeypatch, logged):
    key = codat_simulator.add_push(company.id, "bills", outcome=Outcome(latency=1_000))
    errors = [ValueError("made up")]
    send = sender._ask

    async def fails_once(*args):
        if errors:
            raise errors.pop()
        return await send(*args)

    monkeypatch.setattr(sender, "_ask", fails_once)
    assert ids(payloads(clock, 4_000, trigger(events=WRITES))) == [key]
    assert "broke off: ValueError('made up')" in logged()


def test_a_connection_that_cannot_be_read_ends_nothing(trigger, company, clock, codat_simulator, connect, monkeypatch):
    connect()
    monkeypatch.delenv("AIRFLOW_CONN_CODAT_DEFAULT")
    clock.after(600, connect)
    key = codat_simulator.add_push(company.id, "bills", outcome=Outcome(latency=2_000))
    assert ids(payloads(clock, 4_000, trigger(events=WRITES))) == [key]


def test_a_connection_with_a_wrong_field_is_logged_once(trigger, company, clock, connect, logged):
    connect(max_attempts=0)
    payloads(clock, 4_000, trigger())
    assert logged().count("could not read what has ended") == 1


def test_an_error_of_the_watcher_itself_ends_nothing(trigger, company, clock, codat_simulator, monkeypatch, logged):
    key = codat_simulator.add_push(company.id, "bills", outcome=Outcome(latency=1_000))
    errors = [ValueError("made up")]
    poll = watching.Watch.poll

    def fails_once(watch, *args):
        if errors:
            raise errors.pop()
        return poll(watch, *args)

    monkeypatch.setattr(watching.Watch, "poll", fails_once)
    assert ids(payloads(clock, 4_000, trigger(events=WRITES))) == [key]
    assert "ValueError: made up" in logged()


# -- what it asks of Codat ---------------------------------------------------------------------------------------------


def test_it_polls_at_its_interval(trigger, clock, company):
    payloads(clock, 1_000, trigger(events=[*WRITES, "read.completed"], poll_interval=100))
    assert len(clock.requested_at(r".*/push")) == len(clock.requested_at(r".*/data/history")) in (10, 11)
    assert all(pause == pytest.approx(100, abs=1.5) for pause in clock.pauses(r".*/push")[1:])


def test_by_default_both_kinds_of_events_take_less_than_1000_requests_a_day(company, clock):
    payloads(clock, 21_600, CodatEventTrigger(asset_name="a", company_id=company.id, events=[*WRITES, READ]))
    assert 0 < len(clock.requested_at()) < 250


def test_watchers_of_one_company_share_their_requests(trigger, company, clock, codat_simulator):
    key = codat_simulator.add_push(company.id, "bills", outcome=Outcome(latency=100))
    found = payloads(clock, 600, *[trigger(events=WRITES, asset_name=f"asset-{number}") for number in range(20)])
    assert ids(found) == [key] * 20
    assert len(clock.requested_at(r".*/push")) <= 11


def test_watchers_of_many_companies_do_not_poll_at_once(trigger, clock, codat_simulator, connect):
    connect(requests_per_minute=60_000)
    companies = [codat_simulator.add_company() for _ in range(30)]
    payloads(clock, 180, *[trigger(company_id=each.id) for each in companies])
    later = [at for at in clock.requested_at() if at > 60]
    assert max(sum(at <= each < at + 6 for each in later) for at in later) < 20


# -- the guide ---------------------------------------------------------------------------------------------------------


def names_in(source):
    """Return the globals of a DAG file."""
    known = {"__name__": "a_dag_file", "__doc__": None}
    exec(compile(source, "a_dag_file", "exec"), known)  # noqa: S102 - our own guide or example
    return known


def test_the_guides_dag_has_a_watched_asset():
    known = names_in(pages.block((pages.TRIGGERS, "python", "def on_invoices")).text)
    [watching] = known["invoices"].watchers
    assert watching.trigger.serialize()[1]["asset_name"] == known["invoices"].name


#: Of the events of one asset: by a watcher, an operator and the receiver of webhooks.
REFRESHED, BY_OPERATOR = (change(companyId="c", dataType="bills", pullOperationId=f"pull-{each}") for each in (1, 2))
EXTRAS = [
    {"from_trigger": True, "payload": {"changes": [REFRESHED], "cursor": None}},
    BY_OPERATOR,
    change(companyId="d", dataType="bills", status="Complete", messageId="msg_1"),
    {},
]
EVENTS = {"an-asset": [SimpleNamespace(extra=extra) for extra in EXTRAS]}


def test_the_guides_task_reads_the_events_of_all_who_report_to_the_asset(capsys):
    known = names_in(pages.block((pages.TRIGGERS, "python", "def on_invoices")).text)
    known["on_invoices"]().task_dict["use"].python_callable(triggering_asset_events=EVENTS)
    assert capsys.readouterr().out.splitlines() == ["bills pull-1", "bills pull-2", "bills None"]


def test_the_task_of_the_webhooks_guide_does_so_too():
    known = names_in(pages.block((pages.PLUGIN, "python", 'DAG("bills_have_changed"')).text)
    assert known["companies"].function(triggering_asset_events=EVENTS) == ["c", "d"]


def test_the_examples_task_does_so_too():
    known = names_in((example_dags() / "codat_extract_on_refresh.py").read_text())
    report = known["codat_extract_on_refresh"]().task_dict["report"].python_callable
    assert report({"records": 3}, triggering_asset_events=EVENTS) == ["pull-1", "pull-2"]
