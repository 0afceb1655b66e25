"""What the scheduler of Airflow 3.3 and later is handed to start the sensor in the triggerer."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import task, task_group
from trigger_runner import from_row, run_started, through_the_database

from airflow_provider_codat.sensors.codat import CodatPushOperationSensor
from airflow_provider_codat.simulator import Outcome


@task
def push():
    return "key-1"


@task(multiple_outputs=True)
def push_many():
    return {"first": "key-1"}


@task
def list_keys():
    return ["key-0", "key-1"]


def noop(*arguments):
    """Stand for a callback."""


def sensor(**arguments):
    given = {"task_id": "wait", "company_id": "company-1", "push_operation_key": "key-1", "start_from_trigger": True}
    return CodatPushOperationSensor(**given | arguments)


def pushed(name="push", key="return_value"):
    return f"ti.xcom_pull(task_ids='{name}', key='{key}', map_indexes=-1)"


def in_group(name):
    @task_group(group_id=name)
    def group():
        return push()

    return group()


# -- what it is handed -------------------------------------------------------------------------------------------------

KEYS = {
    "literal": (lambda: "key-1", "key-1"),
    "template": (lambda: "{{ params.key }}", "{{ params.key }}"),
    "output": (push, f"{{{{ {pushed()} }}}}"),
    "output of a key": (lambda: push_many()["first"], f"{{{{ {pushed('push_many', 'first')} }}}}"),
    "output in a group": (lambda: in_group("books"), f"{{{{ {pushed('books.push')} }}}}"),
    "output of a sensor": (lambda: sensor(task_id="other").output, f"{{{{ {pushed('other')} }}}}"),
}


@pytest.mark.parametrize(("make", "rendered"), KEYS.values(), ids=KEYS)
def test_ids_are_handed_over_as_templates_the_triggerer_can_render(make, rendered, in_dag):
    made, warned = in_dag(lambda: sensor(push_operation_key=make(), company_id="{{ params.company }}"))
    args = made.start_trigger_args
    assert (made.start_from_trigger, made.deferrable, warned) == (True, True, [])
    assert args.trigger_kwargs["push_operation_key"] == rendered
    assert args.trigger_kwargs["company_id"] == "{{ params.company }}"
    assert args.next_method == "execute_complete"
    # Only what is named alike in the sensor and in the trigger is rendered.
    assert set(made.template_fields) <= vars(from_row((args.trigger_cls, args.trigger_kwargs))).keys()


def test_the_output_of_a_task_is_an_upstream_dependency(in_dag):
    made, _ = in_dag(lambda: sensor(push_operation_key=push()))
    assert made.upstream_task_ids == {"push"}


@pytest.mark.parametrize("ends", [True, False])
def test_the_trigger_is_given_all_that_the_sensor_is(ends, in_dag):
    pace = {"poke_interval": 7, "exponential_backoff": False, "max_wait": timedelta(seconds=70)}
    ending = {"end_from_trigger": ends, "fail_on_unsuccessful": False, "do_xcom_push": False}
    made, _ = in_dag(lambda: sensor(**pace, **ending, timeout=600))
    assert through_the_database(made.start_trigger_args.trigger_kwargs) == {
        "company_id": "company-1",
        "push_operation_key": "key-1",
        "codat_conn_id": "codat_default",
        "poke_interval": 7.0,
        "exponential_backoff": False,
        "max_wait": 70.0,
        "deadline": None,
        "timeout_margin": 120.0,
        **ending,
    }


@pytest.mark.parametrize(
    ("limits", "patience"),
    [
        ({"timeout": 600}, 600),
        ({"timeout": 600, "execution_timeout": timedelta(seconds=60)}, 60),
        ({"timeout": 600, "execution_timeout": timedelta(seconds=650)}, 600),
        ({"timeout": 600, "execution_timeout": timedelta(seconds=6000)}, 600),
    ],
)
@pytest.mark.parametrize("by_default_args", [True, False])
def test_the_sensors_limits_hold(limits, patience, by_default_args, in_dag):
    made, _ = in_dag(
        lambda: sensor() if by_default_args else sensor(**limits), default_args=limits if by_default_args else {}
    )
    args = made.start_trigger_args
    # This is how Airflow comes by its own limit.
    airflows = min(args.timeout, made.execution_timeout or args.timeout)
    assert airflows.total_seconds() - args.trigger_kwargs["timeout_margin"] == patience


def context_of(xcom):
    """Return the context of the sensor's task instance.

    :param xcom: what the task ``push`` returned.
    """
    xcoms = {("push", "return_value", -1): xcom}
    ids = {"dag_id": "dag", "run_id": "run", "task_id": "wait", "map_index": -1}
    return {"ti": SimpleNamespace(**ids, xcom_pull=lambda **given: xcoms[tuple(given.values())])}


@pytest.mark.parametrize(("outcome", "end", "seconds"), [(Outcome(), "ended", 0), (None, "timed_out", 60)])
def test_what_the_scheduler_starts_renders_its_ids_and_stops_in_time(
    outcome, end, seconds, in_dag, codat_simulator, codat_connection, clock
):
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id, outcome=outcome)
    made, _ = in_dag(lambda: sensor(company_id=company.id, push_operation_key=push(), timeout=60))
    event = run_started(made, clock, context_of(key))
    assert event["outcome"] == end
    assert codat_simulator.count(path=f"/companies/{company.id}/push/{key}") >= 1
    assert clock.passed == pytest.approx(seconds, abs=1)


@pytest.mark.parametrize("nothing", [None, "", "None"])
def test_an_id_rendered_to_nothing_is_an_error_before_any_request(
    nothing, in_dag, codat_simulator, codat_connection, clock
):
    made, _ = in_dag(lambda: sensor(push_operation_key=push()))
    event = run_started(made, clock, context_of(nothing))
    assert event["outcome"] == "failed"
    assert "push_operation_key is" in event["error"]["message"]
    assert codat_simulator.count() == 0


# -- what needs a worker -----------------------------------------------------------------------------------------------


def mapped():
    return push.override(task_id="mapped").expand_kwargs([{}, {}])


HINDRANCES = {
    "mapped upstream": (lambda: {"push_operation_key": mapped()}, ["push_operation_key", "the mapped task mapped"]),
    "map": (lambda: {"push_operation_key": push().map(str)}, ["push_operation_key", "MapXComArg"]),
    "zip": (lambda: {"push_operation_key": push().zip(push())}, ["push_operation_key", "ZipXComArg"]),
    "concat": (lambda: {"push_operation_key": push().concat(push())}, ["push_operation_key", "ConcatXComArg"]),
    "template": (lambda: {"company_id": "{{ ti.xcom_pull('push') }}"}, ["company_id", "give it map_indexes=-1"]),
    "as text": (lambda: {"company_id": str(push())}, ["company_id", "give it map_indexes=-1"]),
    "inlets": (lambda: {"inlets": ["books"]}, ["inlets"]),
    "connection": (lambda: {"codat_conn_id": "{{ my_macro() }}"}, ["codat_conn_id", "my_macro"]),
    "several": (
        lambda: {"company_id": "{{ my_macro() }}", "push_operation_key": mapped(), "inlets": ["books"]},
        ["company_id", "my_macro", "push_operation_key", "mapped", "inlets"],
    ),
    "and the end": (
        lambda: {"company_id": "{{ my_macro() }}", "end_from_trigger": True, "outlets": ["books"]},
        ["company_id", "my_macro", "end_from_trigger does not go with outlets"],
    ),
}


@pytest.mark.parametrize(("arguments", "says"), HINDRANCES.values(), ids=HINDRANCES)
def test_what_needs_a_worker_gets_one_and_one_warning_says_why(arguments, says, in_dag):
    made, warned = in_dag(lambda: sensor(**arguments()))
    assert made.deferrable
    assert (made.start_from_trigger, made.start_trigger_args) == (False, None)
    [warning] = warned
    assert all(words in warning for words in ["task wait", *says])


def test_in_a_mapped_task_group_a_worker_starts_it(in_dag):
    @task_group
    def books(key):
        return sensor(company_id=key)

    made, [warning] = in_dag(lambda: books.expand(key=["a", "b"]))
    assert (made.start_from_trigger, made.start_trigger_args) == (False, None)
    assert "books.wait" in warning
    assert "mapped task group: map the sensor instead" in warning


def test_a_pre_execute_of_the_sensors_class_is_not_lost_either(in_dag):
    subclass = type("Subclass", (CodatPushOperationSensor,), {"pre_execute": noop})
    ids = {"company_id": "company-1", "push_operation_key": "key-1"}
    made, [warning] = in_dag(lambda: subclass(task_id="wait", **ids, start_from_trigger=True, end_from_trigger=True))
    assert made.start_trigger_args.trigger_kwargs["end_from_trigger"] is False
    assert "end_from_trigger does not go with Subclass.pre_execute." in warning


@pytest.mark.parametrize("name", ["on_execute_callback", "pre_execute", "on_success_callback"])
def test_what_starts_in_the_triggerer_is_ended_by_a_worker_where_something_would_be_lost(name, in_dag):
    made, [warning] = in_dag(lambda: sensor(end_from_trigger=True, **{name: noop}))
    assert made.start_from_trigger
    assert made.start_trigger_args.trigger_kwargs["end_from_trigger"] is False
    assert f"end_from_trigger does not go with {name}." in warning


# -- mapped ------------------------------------------------------------------------------------------------------------

ARGUMENTS = {"task_id": "wait", "start_from_trigger": True, "end_from_trigger": True}


def start(mapped, **arguments):
    """Return the mapped sensor."""
    arguments = ARGUMENTS | arguments
    args = CodatPushOperationSensor.start_args(mapped, **arguments)
    partial = CodatPushOperationSensor.partial(**arguments, start_trigger_args=args)
    return partial.expand(**mapped) if isinstance(mapped, dict) else partial.expand_kwargs(mapped)


def test_each_of_a_mapped_sensor_picks_its_own_from_the_list(in_dag):
    made, warned = in_dag(
        lambda: start({"push_operation_key": list_keys()}, company_id="{{ params.company }}"),
        default_args={"execution_timeout": timedelta(seconds=60), "poke_interval": 7},
    )
    kwargs = made.start_trigger_args.trigger_kwargs
    assert (made.start_from_trigger, warned) == (True, [])
    assert made.dag.task_ids == ["list_keys", "wait"]
    assert kwargs["push_operation_key"] == f"{{{{ {pushed('list_keys')}[ti.map_index] }}}}"
    assert kwargs["company_id"] == "{{ params.company }}"
    # The DAG's defaults are its own too.
    assert (kwargs["poke_interval"], kwargs["timeout_margin"], kwargs["end_from_trigger"]) == (7.0, 0.0, True)


def test_each_of_a_sensor_mapped_over_mappings_picks_its_ids(in_dag):
    made, warned = in_dag(lambda: start(list_keys()))
    kwargs = made.start_trigger_args.trigger_kwargs
    assert warned == []
    for name in ("company_id", "push_operation_key"):
        assert kwargs[name] == f"{{{{ {pushed('list_keys')}[ti.map_index]['{name}'] }}}}"


@pytest.mark.parametrize(
    ("arguments", "default_args", "shared"),
    [
        ({}, {}, "codat_default"),
        ({}, {"codat_conn_id": "books"}, "books"),
        ({}, {"codat_conn_id": "{{ params.conn }}"}, "of the run"),
        ({"codat_conn_id": "all"}, {}, "all"),
    ],
)
def test_each_of_a_sensor_mapped_over_mappings_has_its_connection(arguments, default_args, shared, in_dag):
    made, warned = in_dag(lambda: start(list_keys(), **arguments), default_args=default_args)
    template = made.start_trigger_args.trigger_kwargs["codat_conn_id"]
    elements = [{"company_id": "a"}, {"company_id": "b", "codat_conn_id": "its own"}]
    rendered = [
        made.get_template_env()
        .from_string(template)
        .render(ti=SimpleNamespace(map_index=index, xcom_pull=lambda **_: elements), params={"conn": "of the run"})
        for index in range(2)
    ]
    assert warned == []
    assert rendered == [shared, shared if arguments else "its own"]


NOT_MAPPABLE = {
    "mapped upstream": (lambda: {"push_operation_key": mapped()}, "the mapped task mapped"),
    "literal": (lambda: {"push_operation_key": ["a", "b"]}, "is a list"),
    "two": (lambda: {"push_operation_key": list_keys(), "codat_conn_id": ["a", "b"]}, "use expand_kwargs"),
    "no id": (lambda: {"poke_interval": list_keys()}, "map over one of company_id, push_operation_key, codat_conn_id"),
    "map": (lambda: list_keys().map(lambda key: {"push_operation_key": key}), "MapXComArg"),
}


@pytest.mark.parametrize(("make", "says"), NOT_MAPPABLE.values(), ids=NOT_MAPPABLE)
def test_what_cannot_be_mapped_without_a_worker_gets_one(make, says, in_dag):
    made, warned = in_dag(lambda: start(make(), company_id="company-1"))
    assert made.start_trigger_args is None
    [warning] = warned
    assert "task wait" in warning
    assert says in warning


def test_mappings_that_hold_none_of_the_ids_need_a_worker_like_others(in_dag):
    ids = {"company_id": "company-1", "push_operation_key": "key-1"}
    made, [warning] = in_dag(lambda: start(list_keys().map(lambda conn: {"codat_conn_id": conn}), **ids))
    assert made.start_trigger_args is None
    assert "what it is mapped over is a MapXComArg" in warning


def test_a_mapped_sensor_is_hindered_by_what_hinders_a_single_one(in_dag):
    made, [warning] = in_dag(lambda: start({"push_operation_key": list_keys()}, company_id="{{ my_macro() }}"))
    assert made.start_trigger_args is None
    assert "company_id is a template that uses my_macro" in warning
