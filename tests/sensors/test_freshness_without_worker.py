"""The sensor of fresh data that the triggerer starts: what it is handed, and when a worker has a part in it."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout
from airflow.sdk import task
from airflow.triggers.base import TaskSuccessEvent
from refresh_runs import queued
from trigger_runner import from_row, only_event, run_started, started, through_the_database

from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor
from airflow_provider_codat.simulator import Fault, RefreshOutcome
from airflow_provider_codat.triggers import operation

HOUR = 3600.0
CONNECTIONS = r"/companies/[^/]+/connections"


@task
def choose():
    return "bills"


@task
def list_choices():
    return ["bills"]


def output(name="choose"):
    return f"ti.xcom_pull(task_ids='{name}', key='return_value', map_indexes=-1)"


def sensor(**arguments):
    given = {"task_id": "fresh", "company_id": "company-1", "data_types": "bills", "start_from_trigger": True}
    return CodatDataFreshnessSensor(**given | arguments)


def context_of(**xcoms):
    """Return the context of the task instance. ``xcoms`` are what the tasks of these names have returned."""
    ids = {"dag_id": "dag", "run_id": "run", "task_id": "fresh", "map_index": 0}
    ti = SimpleNamespace(**ids, xcom_pull=lambda **given: xcoms[given["task_ids"]])
    return {"ti": ti, "task_instance": ti, "params": {"types": ["bills"], "since": "2027-01-01"}}


# -- what it is handed -------------------------------------------------------------------------------------------------

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)
DATA_TYPES = {
    "literal": (lambda: "bills", "bills"),
    "list": (lambda: ["bills", "invoices"], ["bills", "invoices"]),
    "tuple": (lambda: ("bills", "invoices"), ["bills", "invoices"]),
    "template": (lambda: "{{ params.types | tojson }}", "{{ params.types | tojson }}"),
    "list of templates": (lambda: ["bills", "{{ params.type }}"], ["bills", "{{ params.type }}"]),
    "output": (choose, f"{{{{ {output()} | default(none) | tojson }}}}"),
    "list of outputs": (lambda: [choose(), "bills"], [f"{{{{ {output()} }}}}", "bills"]),
}
SINCE = {
    "none": (lambda: None, None),
    "datetime": (lambda: NOON, "2027-01-01T12:00:00+00:00"),
    "text": (lambda: "2027-01-01", "2027-01-01"),
    "template": (lambda: "{{ data_interval_end }}", "{{ data_interval_end }}"),
    "output": (choose, f"{{{{ 'null' if {output()} is none else {output()} }}}}"),
}
EACH_ARGUMENT = [
    (name, *case) for name, cases in {"data_types": DATA_TYPES, "since": SINCE}.items() for case in cases.values()
]


@pytest.mark.parametrize(("name", "make", "handed"), EACH_ARGUMENT)
def test_arguments_are_handed_over_so_that_the_triggerer_can_render_them(name, make, handed, in_dag):
    made, warned = in_dag(lambda: sensor(**{name: make()}))
    args = made.start_trigger_args
    assert (made.start_from_trigger, made.deferrable, warned) == (True, True, [])
    assert args.trigger_kwargs[name] == handed
    # Only what is named alike in the sensor and in the trigger is rendered.
    assert set(made.template_fields) <= vars(from_row((args.trigger_cls, args.trigger_kwargs))).keys()


@pytest.mark.parametrize("queues", [True, False])
def test_the_trigger_is_given_all_that_the_sensor_is(queues, in_dag):
    fresh = {"max_age": timedelta(hours=1), "max_spread": 60, "since": NOON, "refresh_if_stale": queues}
    pace = {"poke_interval": 7, "exponential_backoff": False, "max_wait": timedelta(seconds=70), "timeout": 600}
    made, _ = in_dag(lambda: sensor(**fresh, **pace, end_from_trigger=True, do_xcom_push=False))
    assert through_the_database(made.start_trigger_args.trigger_kwargs) == {
        "company_id": "company-1",
        "data_types": "bills",
        "since": NOON.isoformat(),
        "codat_conn_id": "codat_default",
        "max_age": HOUR,
        "max_spread": 60.0,
        "queued": [] if queues else None,
        "reports_not_supported": True,
        "poke_interval": 7.0,
        "exponential_backoff": False,
        "max_wait": 70.0,
        "end_from_trigger": True,
        "do_xcom_push": False,
        "deadline": None,
        "timeout_margin": 120.0,
    }


RENDERED = {
    "literal": ({}, {}),
    "template": ({"data_types": "{{ params.types | tojson }}", "since": "{{ params.since }}"}, {}),
    "list of templates": ({"data_types": ["{{ params.types[0] }}"]}, {}),
    "output": ({"data_types": choose}, {"choose": "bills"}),
    "output that is a list": ({"data_types": choose}, {"choose": ["bills"]}),
    "list of outputs": ({"data_types": lambda: [choose()]}, {"choose": "bills"}),
    "text of a time": ({"since": choose}, {"choose": "2027-01-01T12:00:00Z"}),
    "time": ({"since": choose}, {"choose": NOON}),
    "no time": ({"since": choose}, {"choose": None}),
}


@pytest.mark.parametrize(("arguments", "xcoms"), RENDERED.values(), ids=RENDERED)
def test_what_is_rendered_in_the_triggerer_counts(arguments, xcoms, in_dag, company, refreshed, clock):
    refreshed("bills", 60)
    made, _ = in_dag(
        lambda: sensor(
            company_id=company.id, **{name: each() if callable(each) else each for name, each in arguments.items()}
        )
    )
    event = run_started(made, clock, context_of(**xcoms))
    assert event["operation"]["synced"].keys() == {"bills"}
    assert event["operation"]["stale"] == {}


def test_a_time_that_is_rendered_in_the_triggerer_closes_the_gate(in_dag, company, refreshed, clock):
    refreshed("bills", 60)
    later = datetime.fromtimestamp(clock.time() + 60, UTC)
    made, _ = in_dag(lambda: sensor(company_id=company.id, since=choose(), timeout=600))
    event = run_started(made, clock, context_of(choose=later))
    assert event["outcome"] == "timed_out"
    assert f"before {later.isoformat()}" in event["lastStatus"]


WRONG = [
    ("data_types", None, "data_types is None: give a data type"),
    ("data_types", [], "data_types is empty"),
    ("data_types", [None], "data_types must be a string"),
    ("since", "", "since is ''"),
    ("since", "yesterday", "since is 'yesterday'"),
    ("company_id", None, "company_id is 'None'"),
]


@pytest.mark.parametrize(("name", "value", "says"), WRONG)
def test_a_wrong_argument_is_an_error_before_any_request(name, value, says, in_dag, codat, company, clock):
    made, _ = in_dag(lambda: sensor(**{"company_id": company.id} | {name: choose()}))
    event = run_started(made, clock, context_of(choose=value))
    assert event["outcome"] == "failed"
    assert says in event["error"]["message"]
    assert codat.count() == 0


# -- what needs a worker -----------------------------------------------------------------------------------------------

HINDRANCES = {
    "callable": ({}, lambda: {"data_types": lambda **_: ["bills"]}, ["data_types is a function"]),
    "set": ({}, lambda: {"data_types": {"bills"}}, ["data_types is a set"]),
    "map": ({}, lambda: {"data_types": choose().map(str)}, ["data_types", "MapXComArg"]),
    "pull": ({}, lambda: {"since": "{{ ti.xcom_pull('choose') }}"}, ["since", "give it map_indexes=-1"]),
    "pull in a list": ({}, lambda: {"data_types": ["{{ ti.xcom_pull('choose') }}"]}, ["data_types", "map_indexes=-1"]),
    "native": (
        {"render_template_as_native_obj": True},
        lambda: {"data_types": "{{ params.types }}", "since": "{{ ts }}"},
        ["data_types is a template", "render_template_as_native_obj", "since is a template"],
    ),
    "native by the task": (
        {},
        lambda: {"data_types": "{{ params.types }}", "render_template_as_native_obj": True},
        ["data_types is a template", "render_template_as_native_obj"],
    ),
}


@pytest.mark.parametrize(("dag", "arguments", "says"), HINDRANCES.values(), ids=HINDRANCES)
def test_what_needs_a_worker_gets_one_and_one_warning_says_why(dag, arguments, says, in_dag):
    made, warned = in_dag(lambda: sensor(**arguments()), **dag)
    assert made.deferrable
    assert (made.start_from_trigger, made.start_trigger_args) == (False, None)
    [warning] = warned
    assert all(words in warning for words in ["task fresh", *says])


def test_ids_and_outputs_need_none_in_a_dag_that_renders_native_objects(in_dag):
    made, warned = in_dag(
        lambda: sensor(company_id="{{ params.company }}", data_types=choose()), render_template_as_native_obj=True
    )
    assert (made.start_from_trigger, warned) == (True, [])


# -- mapped ------------------------------------------------------------------------------------------------------------

ARGUMENTS = {"task_id": "fresh", "start_from_trigger": True}


def start(mapped, **arguments):
    """Return the mapped sensor."""
    arguments = ARGUMENTS | arguments
    args = CodatDataFreshnessSensor.start_args(mapped, **arguments)
    partial = CodatDataFreshnessSensor.partial(**arguments, start_trigger_args=args)
    return partial.expand(**mapped) if isinstance(mapped, dict) else partial.expand_kwargs(mapped)


MAPPED = {
    "company_id": (["a", "b"], {"data_types": ["bills"]}, ["a", "b"]),
    "data_types": ([["bills", "items"], "bills", None], {"company_id": "a"}, ['["bills", "items"]', '"bills"', "null"]),
    "since": (
        ["2027-01-01", NOON, None],
        {"company_id": "a", "data_types": "bills"},
        ["2027-01-01", str(NOON), "null"],
    ),
}


def rendered(made, name, elements, index, **params):
    """Return what the triggerer makes of an argument of one map index."""
    template = made.start_trigger_args.trigger_kwargs[name]
    ti = SimpleNamespace(map_index=index, xcom_pull=lambda **_: elements)
    return made.get_template_env().from_string(template).render(ti=ti, params=params)


@pytest.mark.parametrize("name", MAPPED)
def test_each_of_a_mapped_sensor_picks_its_own_from_the_list(name, in_dag):
    elements, arguments, texts = MAPPED[name]
    made, warned = in_dag(lambda: start({name: list_choices()}, **arguments))
    assert (made.start_from_trigger, warned) == (True, [])
    assert made.dag.task_ids == ["list_choices", "fresh"]
    assert [rendered(made, name, elements, index) for index in range(len(elements))] == texts


@pytest.mark.parametrize("default_args", [{}, {"since": "2027-01-01"}, {"since": "{{ params.since }}"}])
def test_each_of_a_sensor_mapped_over_mappings_picks_its_arguments(default_args, in_dag):
    made, warned = in_dag(lambda: start(list_choices()), default_args=default_args)
    own = {"company_id": "b", "data_types": ["bills"], "since": NOON, "codat_conn_id": "books"}
    elements = [{"company_id": "a", "data_types": "items"}, own]
    assert warned == []
    assert [
        [rendered(made, name, elements, index, since="2027-01-01") for index in range(2)]
        for name in ("company_id", "data_types", "since", "codat_conn_id")
    ] == [
        ["a", "b"],
        ['"items"', '["bills"]'],
        ["2027-01-01" if default_args else "null", str(NOON)],
        ["codat_default", "books"],
    ]


def test_data_types_that_are_missing_in_a_mapping_are_an_error(in_dag, codat, company, clock):
    made, _ = in_dag(lambda: start(list_choices()))
    event = run_started(made, clock, context_of(list_choices=[{"company_id": company.id}]))
    assert "data_types is None: give a data type" in event["error"]["message"]
    assert codat.count() == 0


def test_a_sensor_that_is_mapped_over_anything_else_needs_a_worker(in_dag):
    made, [warning] = in_dag(lambda: start({"max_age": list_choices()}, company_id="a", data_types="bills"))
    assert made.start_trigger_args is None
    assert "map over one of company_id, data_types, since, codat_conn_id" in warning


def test_a_mapped_sensor_without_arguments_for_the_start_is_told_of_its_own_class(in_dag):
    def make():
        return CodatDataFreshnessSensor.partial(**ARGUMENTS, data_types="bills").expand(company_id=list_choices())

    _, [warning] = in_dag(make)
    assert "it needs start_trigger_args=CodatDataFreshnessSensor.start_args(...)" in warning


# -- whose turn it is --------------------------------------------------------------------------------------------------


def test_no_worker_has_a_part_in_a_success(in_dag, company, refreshed, clock, monkeypatch):
    pushed = []

    async def task_success(_, xcom):
        pushed.append(through_the_database(xcom))
        return TaskSuccessEvent()

    monkeypatch.setattr(operation, "task_success", task_success)
    refreshed("bills", -300)
    ends_at = clock.time() + 300
    made, _ = in_dag(lambda: sensor(company_id=company.id, since=NOON, end_from_trigger=True))
    trigger = started(made, clock.time(), context_of())

    async def run():
        return [event async for event in trigger.run()]

    [event] = clock.run(run())
    assert isinstance(event, TaskSuccessEvent)
    assert pushed == [{"bills": datetime.fromtimestamp(ends_at, UTC).isoformat()}]


def test_what_is_stale_costs_one_worker_which_queues_it(sense, refreshed, codat, clock):
    refreshed("invoices", 60)
    codat.refreshes.outcome(RefreshOutcome(latency=1800))
    began = clock.time()
    assert sense("worker-free", ["invoices", "bills"], max_age=HOUR, refresh_if_stale=True, timeout=2 * HOUR)
    assert (sense.driver.resumed, len(queued(codat))) == (1, 1)
    last = sense.driver.deferred.trigger
    assert (last.queued, last.data_types) == (["bills"], ["invoices", "bills"])
    assert (last.waiting_since, last.deadline) == pytest.approx((began, began + 2 * HOUR), abs=1)


def test_a_restart_of_the_triggerer_does_not_prolong_the_wait(in_dag, codat, company, refreshed, clock):
    made, _ = in_dag(lambda: sensor(company_id=company.id, max_age=HOUR, refresh_if_stale=True, timeout=2 * HOUR))
    began = clock.time()
    trigger = started(made, began, context_of())
    clock.let_pass(HOUR)  # the triggerer was gone
    event = clock.run(only_event(trigger))
    assert event["wait"] == {
        "since": None,
        "deadline": pytest.approx(began + 2 * HOUR),
        "queued": [],
        "reportsNotSupported": True,
        "queuedOn": {},
    }


def test_a_worker_that_comes_after_the_limit_ends_the_task(in_dag, codat, company, clock):
    made, _ = in_dag(lambda: sensor(company_id=company.id, refresh_if_stale=True, timeout=600))
    event = run_started(made, clock, context_of())
    clock.let_pass(700)
    ti = SimpleNamespace(task=made, try_number=1, max_tries=0)
    with pytest.raises(AirflowSensorTimeout, match="was not fresh within the timeout of 0:10:00"):
        made.resume_execution("execute_complete", {"event": event}, {"ti": ti})


def test_a_slow_answer_about_connections_does_not_hold_up_a_success(in_dag, codat, company, refreshed, clock, logged):
    refreshed("bills", 60)
    clock.let_hang(CONNECTIONS)
    codat.fault(Fault("hold", path=CONNECTIONS))
    made, _ = in_dag(lambda: sensor(company_id=company.id))
    began = clock.time()
    event = run_started(made, clock, context_of())
    codat.release()
    assert event["outcome"] == "ended"
    assert clock.time() - began < 15
    assert f"The connections of company {company.id} could not be read in time." in logged()
