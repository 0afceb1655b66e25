"""The sync-settings operator against a simulated Codat, in both shapes it may speak."""

import inspect
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_codat.api.sync_settings import SyncSchedule, SyncSetting
from airflow_provider_codat.api.sync_settings.apply import SETTLE
from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatInputError,
    CodatPlanLimitError,
    CodatSyncSettingsNotApplied,
)
from airflow_provider_codat.hooks import codat as hook_module
from airflow_provider_codat.operators import sync_settings as operator_module
from airflow_provider_codat.operators.codat import CodatSyncSettingsOperator
from airflow_provider_codat.simulator import CodatSimulator, Fault

PATH = r"/companies/[^/]+/syncSettings"


@pytest.fixture(autouse=True)
def waiting_takes_no_time(request):
    if "shared_clock" not in request.fixturenames:
        request.getfixturevalue("clock")


@pytest.fixture
def codat(request, monkeypatch):
    """Return a simulator; its arguments come from an indirect parameter."""
    with CodatSimulator(**getattr(request, "param", {})) as codat:
        monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat.connection_uri)
        yield codat


@pytest.fixture
def company(codat):
    company = codat.add_company()
    codat.set_sync_settings(
        company.id,
        [{"dataType": "invoices", "syncSchedule": 24, "syncOrder": 3}, {"dataType": "bills", "syncSchedule": 168}],
    )
    return company


both_shapes = pytest.mark.parametrize(
    "codat",
    [{"sync_schedule_shape": "integer"}, {"sync_schedule_shape": "object"}],
    indirect=True,
    ids=["integer", "object"],
)
free_plan = pytest.mark.parametrize("codat", [{"free_plan": True}], indirect=True, ids=["free"])


def apply(company, settings=(), **arguments):
    operator = CodatSyncSettingsOperator(task_id="sync", company_id=company.id, settings=settings, **arguments)
    xcom = operator.execute({})
    assert json.loads(json.dumps(xcom)) == xcom
    return xcom


def hours(codat, company):
    """Return the hours between syncs by data type, whatever the shape."""
    schedules = {each["dataType"]: each["syncSchedule"] for each in codat.sync_settings(company.id)["settings"]}
    return {name: each if isinstance(each, int) else each["intervalHours"] for name, each in schedules.items()}


# -- writing -----------------------------------------------------------------------------------------------------------

WANTED = {
    "dicts": [{"dataType": "invoices", "syncSchedule": 168}, {"dataType": "payments", "syncSchedule": 24}],
    "objects without hour": [
        {"dataType": "invoices", "syncSchedule": {"intervalHours": 168}},
        {"dataType": "payments", "syncSchedule": {"intervalHours": 24}},
    ],
    "values": [SyncSetting("invoices", SyncSchedule(168)), SyncSetting("payments", SyncSchedule(24))],
    "text of a template": [
        {"dataType": "invoices", "syncSchedule": "168"},
        {"dataType": "payments", "syncSchedule": "24", "fetchOnFirstLink": "True", "syncOrder": "0"},
    ],
}


@both_shapes
@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
def test_the_first_run_writes_once_and_the_second_not_at_all(wanted, codat, company):
    first = apply(company, wanted)
    assert codat.count("POST") == 1
    assert hours(codat, company) == {"invoices": 168, "bills": 168, "payments": 24}
    assert first["changed"] is True
    assert ("invoices", "syncSchedule") in {(change["dataType"], change["field"]) for change in first["changes"]}

    second = apply(company, wanted)
    assert codat.count("POST") == 1
    assert second == {"changed": False, "changes": [], "overridesDefaults": True}


@both_shapes
def test_the_body_names_the_company_and_keeps_what_was_not_named(codat, company):
    before = {each["dataType"]: each for each in codat.sync_settings(company.id)["settings"]}
    apply(company, [{"dataType": "invoices", "syncSchedule": 720}])
    (post,) = [request for request in codat.requests if request.method == "POST"]
    body = json.loads(post.body)
    assert (body["companyId"], body["overridesDefaults"]) == (company.id, True)
    after = {each["dataType"]: each for each in codat.sync_settings(company.id)["settings"]}
    assert after["bills"] == before["bills"]
    assert after["invoices"] == before["invoices"] | {"syncSchedule": after["invoices"]["syncSchedule"]}


@both_shapes
def test_without_merge_exactly_the_given_list_is_set(codat, company):
    xcom = apply(company, [{"dataType": "invoices", "syncSchedule": 24}], merge=False)
    assert hours(codat, company) == {"invoices": 24}
    assert {change["dataType"] for change in xcom["changes"]} == {"bills"}
    assert apply(company, [{"dataType": "invoices", "syncSchedule": 24}], merge=False)["changed"] is False
    assert codat.count("POST") == 1


SHAPES = ["integer", "object"]
ACCOUNT_DEFAULT = [{"left_out_data_types": "account_default", "sync_schedule_shape": shape} for shape in SHAPES]


@pytest.mark.parametrize("codat", ACCOUNT_DEFAULT, indirect=True, ids=SHAPES)
def test_data_types_that_take_the_accounts_default_when_they_are_left_out_are_no_failure(codat, company, logged):
    default = {each["dataType"] for each in codat.sync_settings()["settings"]}
    first = apply(company, [{"dataType": "invoices", "syncSchedule": 720}], merge=False)
    assert {change["dataType"] for change in first["changes"]} == {"invoices", "bills"}
    assert hours(codat, company).keys() == default
    assert hours(codat, company)["invoices"] == 720
    (line,) = [line for line in logged().splitlines() if "that were not named" in line]
    assert "bills (syncSchedule" in line
    assert line.count(", as the account's default") == len(default) - 1

    second = apply(company, [{"dataType": "invoices", "syncSchedule": 720}], merge=False)
    assert (second["changed"], second["changes"], codat.count("POST")) == (False, [], 1)
    assert "payments (syncSchedule" in logged()


def test_a_data_type_that_codat_keeps_although_it_was_left_out_is_reported(codat, company, logged):
    kept = codat.sync_settings(company.id)
    codat.fault(Fault("status", status=200, method="GET", path=PATH, body=kept))
    codat.fault(Fault("status", status=200, method="GET", path=PATH, body=kept))
    assert apply(company, [{"dataType": "invoices", "syncSchedule": 24}], merge=False)["changed"] is True
    assert any("bills (syncSchedule 168, not as the account's default)" in line for line in logged().splitlines())


def test_without_merge_the_accounts_settings_are_read_only_where_they_matter(codat, company):
    apply(
        company, [{"dataType": "invoices", "syncSchedule": 24}, {"dataType": "bills", "syncSchedule": 168}], merge=False
    )
    assert (codat.count("GET"), codat.count()) == (1, 1)


STARTS_LONG_AGO = {"syncFromUtc": "2020-01-01T00:00:05.1234567Z"}


@both_shapes
def test_what_is_not_named_goes_back_as_it_came(codat, company):
    bills = {"dataType": "bills", "syncSchedule": 168, **STARTS_LONG_AGO}
    codat.set_sync_settings(company.id, [bills, {"dataType": "invoices", "syncSchedule": 24, **STARTS_LONG_AGO}])
    before = {each["dataType"]: each for each in codat.sync_settings(company.id)["settings"]}
    xcom = apply(company, [{"dataType": "invoices", "syncOrder": 3}])
    assert [(change["dataType"], change["field"]) for change in xcom["changes"]] == [("invoices", "syncOrder")]
    after = {each["dataType"]: each for each in codat.sync_settings(company.id)["settings"]}
    assert after == {"bills": before["bills"], "invoices": before["invoices"] | {"syncOrder": 3}}


@both_shapes
@pytest.mark.parametrize("merge", [True, False])
def test_an_empty_list_wipes_nothing(merge, codat, company):
    with pytest.raises(CodatInputError, match="settings is empty: name at least one data type"):
        apply(company, [], merge=merge)
    assert codat.count() == 0


@both_shapes
def test_a_list_rendered_as_json_is_read(codat, company):
    assert apply(company, '[{"dataType": "bills", "syncSchedule": "720"}]')["changed"] is True
    assert hours(codat, company)["bills"] == 720
    with pytest.raises(CodatInputError, match="has to give JSON"):
        apply(company, "[{'dataType': 'bills'}]")


@both_shapes
def test_a_company_goes_back_to_the_accounts_default_once(codat, company):
    xcom = apply(company, overrides_defaults=False)
    assert xcom == {
        "changed": True,
        "changes": [{"dataType": None, "field": "overridesDefaults", "from": True, "to": False}],
        "overridesDefaults": False,
    }
    assert codat.sync_settings(company.id)["overridesDefaults"] is False
    assert apply(company, overrides_defaults=False)["changed"] is False
    assert codat.count("POST") == 1


@both_shapes
def test_a_company_on_the_default_gets_a_schedule_of_its_own(codat):
    company = codat.add_company()
    xcom = apply(company, [{"dataType": "invoices", "syncSchedule": 24}])
    assert xcom["changes"] == [{"dataType": None, "field": "overridesDefaults", "from": False, "to": True}]
    assert codat.sync_settings(company.id)["overridesDefaults"] is True


@both_shapes
@pytest.mark.parametrize(
    "arguments",
    [{"settings": WANTED["dicts"]}, {"settings": WANTED["dicts"], "merge": False}, {"overrides_defaults": False}],
)
def test_a_dry_run_plans_and_writes_nothing(arguments, codat, company):
    before = codat.sync_settings(company.id)
    xcom = apply(company, dry_run=True, **arguments)
    assert (codat.count("POST"), codat.sync_settings(company.id)) == (0, before)
    assert (xcom["changed"], xcom["overridesDefaults"]) == (False, True)
    assert xcom["changes"] == apply(company, **arguments)["changes"] != []


def test_the_xcom_tells_each_change(codat, company):
    xcom = apply(company, [{"dataType": "invoices", "syncSchedule": 168, "syncFromWindow": 24}])
    assert xcom["changed"] is True
    assert xcom["overridesDefaults"] is True
    assert sorted(xcom["changes"], key=lambda change: change["field"]) == [
        {"dataType": "invoices", "field": "syncFromWindow", "from": None, "to": 24},
        {"dataType": "invoices", "field": "syncSchedule", "from": 24, "to": 168},
    ]


@pytest.mark.parametrize("codat", [{"sync_schedule_shape": "object"}], indirect=True, ids=["object"])
def test_an_hour_of_day_is_set_where_the_api_has_one(codat, company):
    wanted = [{"dataType": "invoices", "syncSchedule": {"intervalHours": 24, "hourOfDay": 6}}]
    assert apply(company, wanted)["changed"] is True
    (invoices,) = [each for each in codat.sync_settings(company.id)["settings"] if each["dataType"] == "invoices"]
    assert invoices["syncSchedule"] == {"intervalHours": 24, "hourOfDay": 6}
    assert apply(company, wanted)["changed"] is False


@both_shapes
def test_the_connection_names_the_shape_where_an_empty_list_tells_none(codat, company):
    codat.set_sync_settings(company.id, [])
    apply(company, [{"dataType": "invoices", "syncSchedule": 24}])
    assert hours(codat, company) == {"invoices": 24}


def test_passing_trouble_is_retried(codat, company, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat.connection(max_retry_wait=0))
    for method in ("GET", "POST"):
        for kind in ("reset", "reset_after", "truncated", "status"):
            codat.fault(Fault(kind, method=method))
    assert apply(company, WANTED["dicts"])["changed"] is True
    assert hours(codat, company)["invoices"] == 168


# -- the log -----------------------------------------------------------------------------------------------------------


def test_the_plan_is_told_as_a_table(codat, company, logged):
    apply(company, [{"dataType": "invoices", "syncSchedule": 168}])
    lines = [tuple(line.split()) for line in logged().splitlines()]
    assert ("data", "type", "field", "from", "to") in lines
    assert ("invoices", "syncSchedule", "24", "168") in {line[:4] for line in lines}


def test_a_dry_run_says_so_and_no_change_says_so(codat, company, logged):
    apply(company, [{"dataType": "invoices", "syncSchedule": 168}], dry_run=True)
    assert any("would change (dry run)" in line for line in logged().splitlines())
    apply(company, [{"dataType": "invoices", "syncSchedule": 24}])
    assert any("as wanted; nothing is written" in line for line in logged().splitlines())


@pytest.mark.parametrize(("data_type", "warned"), [("invoicez", True), ("invoices", False)])
def test_an_unknown_data_type_is_a_warning(data_type, warned, codat, company, logged):
    # Codat may know it all the same: it is asked. The simulator does not.
    with pytest.raises(CodatApiError, match='"invoicez", not a data type') if warned else nullcontext():
        apply(company, [{"dataType": data_type, "syncSchedule": 720}])
    assert (
        any(
            "Data type 'invoicez' is not one this version knows" in line and "Did you mean 'invoices'?" in line
            for line in logged().splitlines()
        )
        is warned
    )
    assert hours(codat, company).get(data_type) == (None if warned else 720)


def test_the_key_is_in_no_log(codat, company, logged):
    codat.fault(Fault("status", status=500))
    apply(company, WANTED["dicts"])
    lines = logged().splitlines()
    assert lines
    assert [line for line in lines if codat.api_key in line] == []


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [{"settings": [{"dataType": "invoices", "syncSchedule": 168}]}, {"overrides_defaults": False}]
)
def test_settings_that_codat_accepts_and_does_not_take_are_an_error(arguments, codat, company):
    codat.fault(Fault("status", status=204, method="POST", path=PATH, times=None))
    with pytest.raises(CodatSyncSettingsNotApplied, match=r"\(2 attempts\)") as raised:
        apply(company, **arguments)
    assert codat.count("POST") == 2
    field = "overridesDefaults" if "overrides_defaults" in arguments else "syncSchedule"
    assert field in str(raised.value)
    assert company.id in str(raised.value)


@free_plan
def test_hourly_syncs_on_a_free_plan_name_who_asked_for_them(codat, company):
    with pytest.raises(CodatPlanLimitError) as raised:
        apply(
            company,
            [
                {"dataType": "bills", "syncSchedule": 1},
                {"dataType": "payments", "syncSchedule": 1},
                {"dataType": "items", "syncSchedule": 24},
            ],
        )
    message = str(raised.value)
    assert "Hourly syncs need a paid Codat plan" in message
    assert "bills, payments" in message
    assert "items" not in message
    assert codat.count("POST") == 1


@pytest.mark.parametrize(("flag", "text"), [("merge", "no"), ("overrides_defaults", "none"), ("dry_run", "1")])
def test_a_flag_that_is_neither_true_nor_false_is_refused_at_parse(flag, text):
    with pytest.raises(CodatInputError, match=f"{flag} is '{text}': give true or false"):
        CodatSyncSettingsOperator(task_id="sync", company_id="c", settings=WANTED["dicts"], **{flag: text})


def test_flags_may_come_as_text(codat, company):
    apply(company, overrides_defaults="False", dry_run="True")
    assert codat.count("POST") == 0
    apply(company, overrides_defaults="False", dry_run="false")
    assert codat.sync_settings(company.id)["overridesDefaults"] is False


LITERALS = {
    "a company id with a slash": {"company_id": "a/b"},
    "an empty company id": {"company_id": ""},
    "no company id": {"company_id": None},
    "hours": {"settings": [{"dataType": "invoices", "syncSchedule": 12}]},
    "hour of day": {"settings": [{"dataType": "invoices", "syncSchedule": {"intervalHours": 24, "hourOfDay": 24}}]},
    "twice": {"settings": [{"dataType": "invoices", "syncSchedule": 24}] * 2},
    "both starts": {
        "settings": [
            {"dataType": "invoices", "syncSchedule": 24, "syncFromUtc": "2020-01-01T00:00:00Z", "syncFromWindow": 1}
        ]
    },
    "months": {"settings": [{"dataType": "invoices", "syncSchedule": 24, "monthsToSync": 12}]},
    "no list": {"settings": {"dataType": "invoices", "syncSchedule": 24}},
    "nothing to do": {"settings": []},
    "settings of a default": {"settings": [{"dataType": "bills", "syncSchedule": 24}], "overrides_defaults": False},
    "a value": {"settings": [SyncSetting("invoices", SyncSchedule(12))]},
}


@pytest.mark.parametrize("wrong", LITERALS.values(), ids=LITERALS)
def test_wrong_literals_are_refused_at_parse(wrong):
    with pytest.raises(CodatInputError):
        CodatSyncSettingsOperator(
            task_id="sync", **{"company_id": "c", "settings": [{"dataType": "bills", "syncSchedule": 24}]} | wrong
        )


@pytest.mark.parametrize("wrong", LITERALS.values(), ids=LITERALS)
def test_wrong_rendered_values_are_refused_before_any_request(wrong, codat):
    templated = {"company_id": "{{ params.company }}", "settings": "{{ params.settings }}"}
    overrides_defaults = wrong.get("overrides_defaults", True)
    operator = CodatSyncSettingsOperator(task_id="sync", **templated, overrides_defaults=overrides_defaults)
    # what rendering does
    operator.company_id = wrong.get("company_id", "c")
    operator.settings = wrong.get("settings", [{"dataType": "bills", "syncSchedule": 24}] if overrides_defaults else [])
    with pytest.raises(CodatInputError):
        operator.execute({})
    assert codat.count() == 0


@pytest.mark.parametrize("extra", [{}, {"sync_schedule_shape": "integer"}])
def test_an_hour_of_day_is_refused_where_the_api_speaks_integers(extra, codat, company, monkeypatch):
    connection = json.loads(codat.connection_uri) | {"extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", json.dumps(connection))
    with pytest.raises(CodatInputError, match=r"invoices.*hourOfDay is 6"):
        apply(company, [{"dataType": "invoices", "syncSchedule": {"intervalHours": 24, "hourOfDay": 6}}])
    # Without a word in the connection, only the API's own answer tells which shape it speaks.
    assert codat.count() == (0 if extra else 1)
    assert codat.count("POST") == 0


# -- several writers ---------------------------------------------------------------------------------------------------


class SharedClock:
    """A clock of several threads: when all of them sleep or have ended, it moves on to the next that is to wake.

    Those that are to wake at the same time do, and so meet again.
    """

    def __init__(self, threads):
        self._changed = threading.Condition()
        self._running = threads
        self._sleeping = []
        self._now = 0.0

    def time(self):
        return self._now

    monotonic = time

    def sleep(self, seconds):
        with self._changed:
            due = self._now + seconds
            self._sleeping.append(due)
            self._pause()
            assert self._changed.wait_for(lambda: due not in self._sleeping, timeout=120)

    def end(self):
        with self._changed:
            self._pause()

    def _pause(self):
        self._running -= 1
        if self._running == 0 and self._sleeping:
            self._now = min(self._sleeping)
            self._running = self._sleeping.count(self._now)
            self._sleeping = [due for due in self._sleeping if due != self._now]
            self._changed.notify_all()


@pytest.fixture
def shared_clock(monkeypatch):
    """Return a function that makes the clock of so many threads; random pauses often are the same there."""
    chance = random.Random(7)  # noqa: S311 - no secret is made of it

    def install(threads):
        clock = SharedClock(threads)
        monkeypatch.setattr(hook_module, "time", clock)
        monkeypatch.setattr(operator_module, "time", clock)
        monkeypatch.setattr(operator_module, "random", SimpleNamespace(random=lambda: chance.randrange(5) / 4))
        return clock

    return install


def at_once(codat, shared_clock, operators):
    """Run operators in threads, all of which have read the settings before any of them writes; return their XComs."""
    clock = shared_clock(len(operators))

    def run(operator):
        try:
            # Airflow 2 guards execute with a variable that threads other than the first do not have.
            return inspect.unwrap(CodatSyncSettingsOperator.execute)(operator, {})
        finally:
            clock.end()

    codat.fault(Fault("hold", method="GET", path=PATH, times=len(operators)))
    with ThreadPoolExecutor(len(operators)) as threads:
        running = [threads.submit(run, operator) for operator in operators]
        codat.wait_until_held(len(operators))
        codat.release()
        return [each.result() for each in running]


NAMED = ["bills", "company", "customers", "items", "payments", "suppliers"]


@both_shapes
def test_none_of_the_settings_of_many_tasks_at_once_is_lost(codat, company, shared_clock, logged):
    operators = [
        CodatSyncSettingsOperator(
            task_id=name, company_id=company.id, settings=[{"dataType": name, "syncSchedule": 720}]
        )
        for name in NAMED
    ]
    xcoms = at_once(codat, shared_clock, operators)
    assert hours(codat, company) == {"invoices": 24, **dict.fromkeys(NAMED, 720)}
    assert [{change["dataType"] for change in xcom["changes"]} for xcom in xcoms] == [{name} for name in NAMED]
    # All wrote once in vain but the last; each of these wrote again.
    assert codat.count("POST") >= 2 * len(NAMED) - 1
    losses = [line for line in logged().splitlines() if "another writer has overwritten them" in line]
    assert len(losses) >= len(NAMED) - 1


def test_fields_that_two_tasks_set_of_one_data_type_are_both_kept(codat, company, shared_clock):
    wanted = [{"dataType": "invoices", "syncSchedule": 168}, {"dataType": "invoices", "syncOrder": 9}]
    at_once(
        codat,
        shared_clock,
        [CodatSyncSettingsOperator(task_id="sync", company_id=company.id, settings=[each]) for each in wanted],
    )
    (invoices,) = [each for each in codat.sync_settings(company.id)["settings"] if each["dataType"] == "invoices"]
    assert (invoices["syncSchedule"], invoices["syncOrder"]) == (168, 9)


def test_a_task_that_changes_something_waits_for_other_writers_and_one_that_does_not_waits_for_nothing(
    codat, company, clock, logged
):
    apply(company, WANTED["dicts"])
    assert (clock.sleeps, codat.count("GET")) == ([SETTLE], 2)
    apply(company, WANTED["dicts"])
    assert (clock.sleeps, codat.count("GET")) == ([SETTLE], 3)
    assert "may be lost" not in logged()


def test_settings_that_codat_took_at_the_second_attempt_are_no_error(codat, company, logged):
    codat.fault(Fault("status", status=204, method="POST", path=PATH))
    assert apply(company, WANTED["dicts"])["changed"] is True
    assert "(attempt 1); nothing else differs" in logged()


def test_a_write_that_is_sent_again_rests_on_a_read_of_its_own(codat, company):
    codat.fault(Fault("status", status=503, method="POST", path=PATH))
    apply(company, WANTED["dicts"])
    assert [request.method for request in codat.requests] == ["GET", "POST", "GET", "POST", "GET"]


# -- templates and outputs of other tasks ------------------------------------------------------------------------------


def test_company_and_settings_are_rendered_however_deep(codat, company, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", codat.connection_uri)
    operator = CodatSyncSettingsOperator(
        task_id="sync",
        company_id="{{ params.company }}",
        settings=[
            {"dataType": "{{ params.data_type }}", "syncSchedule": "{{ params.hours }}"},
            {"dataType": "bill{{ params.data_type | title }}", "syncSchedule": {"intervalHours": "{{ params.hours }}"}},
        ],
        codat_conn_id="{{ params.conn }}",
    )
    params = {"company": company.id, "data_type": "payments", "hours": 720, "conn": "books"}
    operator.render_template_fields({"params": params})
    operator.execute({})
    assert hours(codat, company) == {"invoices": 24, "bills": 168, "payments": 720, "billPayments": 720}


@pytest.mark.parametrize(
    "wrap", [lambda output: output, lambda output: [{"dataType": "items", "syncSchedule": output}]]
)
def test_the_output_of_another_task_is_taken_as_it_is_at_parse(wrap, codat, company):
    with DAG("d", schedule=None):
        upstream = BaseOperator(task_id="upstream")
        operator = CodatSyncSettingsOperator(task_id="sync", company_id=upstream.output, settings=wrap(upstream.output))
    assert operator.upstream_task_ids == {"upstream"}


def test_the_hook_is_made_at_run_time_with_the_rendered_connection():
    operator = CodatSyncSettingsOperator(
        task_id="sync", company_id="c", settings=[{"dataType": "bills", "syncSchedule": 24}], codat_conn_id="{{ c }}"
    )
    operator.render_template_fields({"c": "books"})
    assert operator.hook.codat_conn_id == "books"
