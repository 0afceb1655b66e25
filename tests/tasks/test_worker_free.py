"""Sensors that are to do without a worker, on any Airflow: what gets one all the same, and the warning that says so."""

import warnings
from functools import cached_property

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, TaskDeferred, TaskGroup, task

from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor, CodatPushOperationSensor
from airflow_provider_codat.tasks import start_from_trigger
from airflow_provider_codat.tasks.start_from_trigger import NeedsWorker, for_triggerer
from airflow_provider_codat.tasks.templates import Syntax

IDS = {"company_id": "company-1", "push_operation_key": "key-1"}
SENSORS = {CodatPushOperationSensor: IDS, CodatDataFreshnessSensor: {"company_id": "company-1", "data_types": "bills"}}


def with_warnings(make):
    """Return what ``make`` returns, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = make()
    return made, [each for each in caught if each.category is UserWarning]


def sensor(**arguments):
    return with_warnings(lambda: CodatPushOperationSensor(**{"task_id": "wait", **IDS, **arguments}))


def noop(*arguments):
    """Stand for a callback."""


# -- templates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "key-1",
        "{{ params.key }}",
        "{{ run_id }}-{{ ts_nodash }}",
        "{{ dag_run.conf['key'] | lower }}",
        "{{ var.value.get('key', 'none') }}",
        "{{ conn.books.extra_dejson.company }}",
        "{{ macros.json.loads(params.push)['key'] }}",
        "{{ params['by task'][ti.task_id] }}-{{ task_instance.map_index }}",
        "{{ ti.xcom_pull(task_ids='push', map_indexes=-1) }}",
        "{{ task_instance.xcom_pull('push', key='keys', map_indexes=ti.map_index)['key'] }}",
        "{{ ti.xcom_pull('a', map_indexes=-1) }}-{{ ti.xcom_pull('b', map_indexes=None) }}",
    ],
)
def test_a_template_the_triggerer_renders_as_a_worker_does_is_passed_on(template):
    assert for_triggerer("company_id", template) == template


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ ti.xcom_pull(task_ids='push') }}", "map_indexes=-1"),
        ("{{ ti.xcom_pull('a', map_indexes=-1) }}-{{ ti.xcom_pull('b') }}", "map_indexes=-1"),
        ("{{ ti.xcom_pull(ti.xcom_pull('a'), map_indexes=-1) }}", "map_indexes=-1"),
        ("{{ 'map_indexes' ~ ti.xcom_pull('a') }}", "map_indexes=-1"),
        ("{{ [ti.xcom_pull][0]('a') }}", "map_indexes=-1"),
        ("{{ ti['xcom_pull']('a') }}", "more of ti"),
        ("{{ (ti | attr('xcom_pull'))('a') }}", "more of ti"),
        ("{{ ti.get_previous_ti() }}", "more of ti"),
        ("{{ task_instance.start_date }}", "more of ti"),
        ("{% set pull = ti.xcom_pull %}{{ pull('a') }}", "a statement"),
        ("{% for each in params.keys %}{{ each }}{% endfor %}", "a statement"),
        ("{{ prev_start_date_success }}", "prev_start_date_success"),
        ("{{ inlet_events[0].extra.key }}", "inlet_events"),
        ("{{ task_state_store.get('key') }}", "task_state_store"),
        ("{{ my_macro(params.key) }}", "my_macro"),
        ("{{ params.key | my_filter }}", "my_filter"),
        ("{{ params.key ", "cannot render"),
    ],
)
def test_a_template_that_would_hang_or_render_otherwise_needs_a_worker(template, says):
    with pytest.raises(NeedsWorker, match=says):
        for_triggerer("company_id", template)


@pytest.mark.parametrize("value", [None, 7, ["key-1"], {"key": "key-1"}])
def test_what_is_no_text_needs_a_worker(value):
    with pytest.raises(NeedsWorker, match=type(value).__name__):
        for_triggerer("company_id", value)


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["start_from_trigger", "end_from_trigger"])
def test_a_sensor_that_is_to_do_without_a_worker_is_deferrable(flag):
    assert sensor(deferrable=False, **{flag: True})[0].deferrable


def test_a_plain_sensor_has_nothing_to_do_with_it():
    plain, warned = sensor(outlets=["books"], on_success_callback=noop)
    assert (plain.start_from_trigger, plain.start_trigger_args, warned) == (False, None, [])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, None),
        ({"on_failure_callback": noop, "on_retry_callback": noop, "on_skipped_callback": noop}, None),
        # The worker that defers has run these.
        ({"on_execute_callback": noop, "pre_execute": noop}, None),
        ({"outlets": ["books"]}, "outlets"),
        ({"on_success_callback": noop}, "on_success_callback"),
        ({"post_execute": noop}, "post_execute"),
        ({"multiple_outputs": True}, "multiple_outputs"),
        ({"map_index_template": "{{ task.company_id }}"}, "map_index_template"),
        ({"outlets": ["books"], "on_success_callback": [noop]}, "outlets, on_success_callback"),
    ],
)
def test_a_worker_ends_what_a_trigger_would_end_with_a_loss(arguments, says, codat_simulator, codat_connection):
    company = codat_simulator.add_company()
    ids = {"company_id": company.id, "push_operation_key": codat_simulator.add_push(company.id)}
    made, warned = sensor(end_from_trigger=True, fail_on_unsuccessful=False, do_xcom_push=False, **ids, **arguments)
    with pytest.raises(TaskDeferred) as deferred:
        made.execute({})
    kwargs = deferred.value.trigger.serialize()[1]
    assert kwargs["end_from_trigger"] == (says is None)
    assert (kwargs["fail_on_unsuccessful"], kwargs["do_xcom_push"]) == (False, False)
    messages = [str(each.message) for each in warned]
    assert messages == (
        [f"A worker starts or ends task wait, not the triggerer: end_from_trigger does not go with {says}."]
        if says
        else []
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("execute_complete", "Subclass.execute_complete"),
        ("post_execute", "Subclass.post_execute"),
        # The worker that defers has run it.
        ("pre_execute", None),
        ("poke", None),
    ],
)
def test_a_worker_ends_a_sensor_whose_class_has_an_end_of_its_own(name, says):
    subclass = type("Subclass", (CodatPushOperationSensor,), {name: noop})
    made, warned = with_warnings(lambda: subclass(task_id="wait", **IDS, end_from_trigger=True))
    assert made.trigger_arguments()["end_from_trigger"] == (says is None)
    assert [str(each.message).partition("does not go with ")[2] for each in warned] == ([f"{says}."] if says else [])


def own_methods(*classes):
    """Return the methods and properties of our classes, private ones left out."""
    of_each = [
        vars(each).items() for each in classes[0].__mro__ if each.__module__.startswith("airflow_provider_codat")
    ]
    return sorted({name for each in of_each for name, value in each if hasattr(value, "__get__") and name[0] != "_"})


CALLED_AT_PARSE = {"partial", "start_args"}


EACH_METHOD = [
    (each, name) for each in SENSORS for name in (*own_methods(each), "pre_execute", "post_execute", "xcom_push")
]


@pytest.mark.parametrize(("sensor_class", "name"), EACH_METHOD)
def test_no_method_of_a_subclass_is_dropped_without_a_word(sensor_class, name, monkeypatch):
    monkeypatch.setattr(start_from_trigger, "triggerer_starts_tasks", lambda: True)
    own = {name: getattr(sensor_class, name, noop)}
    own = {
        each: value if isinstance(value, property) else cached_property(noop) if each == "hook" else value
        for each, value in own.items()
    }
    base = type("Base", (sensor_class,), own)
    more_fields = (*sensor_class.template_fields, "ui_color")
    subclass = type("Subclass", (base,), {"ui_color": "#fff", "template_fields": more_fields})
    made, warned = with_warnings(
        lambda: subclass(task_id="wait", **SENSORS[sensor_class], start_from_trigger=True, end_from_trigger=True)
    )
    if name in CALLED_AT_PARSE or not hasattr(sensor_class, name):
        assert warned == []
        assert "ui_color" not in made.start_trigger_args.trigger_kwargs
        return
    [warning] = warned
    assert f"Subclass.{name}" in str(warning.message)
    assert made.trigger_arguments()["end_from_trigger"] is False or name in ("execute", "poke")
    assert made.start_from_trigger is (name in start_from_trigger.METHODS_AT_THE_END)


def test_an_execute_of_its_own_starts_in_a_worker_and_waits_on_its_own_key(codat_simulator, codat_connection):
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id)

    class Own(CodatPushOperationSensor):
        def execute(self, context):
            self.push_operation_key = key
            return super().execute(context)

    made, [warning] = with_warnings(
        lambda: Own(task_id="wait", company_id=company.id, push_operation_key="another", start_from_trigger=True)
    )
    assert (made.start_from_trigger, made.start_trigger_args) == (False, None)
    with pytest.raises(TaskDeferred) as deferred:
        made.execute({})
    assert deferred.value.trigger.push_operation_key == key
    assert warning.filename == __file__


@pytest.mark.parametrize("done", [True, False])
def test_a_poke_of_its_own_counts_where_the_sensor_defers_too(done, codat_simulator, codat_connection):
    company = codat_simulator.add_company()
    poke = {"poke": lambda *_: done}
    made = type("Own", (CodatPushOperationSensor,), poke)(
        task_id="wait", company_id=company.id, push_operation_key="key-1", deferrable=True
    )
    if done:
        assert made.execute({}) is None
    else:
        with pytest.raises(TaskDeferred):
            made.execute({})
    assert codat_simulator.count() == 0


SYNTAX = {
    "own delimiters": ({"variable_start_string": "<<"}, "<< params.key >>"),
    "usual ones where they are none": ({"variable_start_string": "<<"}, "{{ params.key }}"),
    "another setting of Jinja": ({"autoescape": True}, "{{ params.key }}"),
}


@pytest.mark.parametrize(("own", "text"), SYNTAX.values(), ids=SYNTAX)
def test_a_template_in_a_syntax_of_the_dags_own_needs_a_worker(own, text):
    with DAG("dag", schedule=None, jinja_environment_kwargs=own):
        plain, templated = BaseOperator(task_id="plain"), BaseOperator(task_id="templated")
    assert for_triggerer("company_id", "key-1", Syntax.of(plain)) == "key-1"
    with pytest.raises(NeedsWorker, match="jinja_environment_kwargs"):
        for_triggerer("company_id", text, Syntax.of(templated))


def test_a_template_file_needs_a_worker():
    with pytest.raises(NeedsWorker, match="a template file"):
        for_triggerer("company_id", "key.txt", Syntax(file_extensions=(".txt",)))


def test_a_callable_needs_a_worker(monkeypatch):
    monkeypatch.setattr(start_from_trigger, "triggerer_starts_tasks", lambda: True)
    made, [warning] = sensor(company_id=lambda **_: "company-1", start_from_trigger=True)
    assert (made.start_from_trigger, made.start_trigger_args) == (False, None)
    assert "company_id is a function: give a string" in str(warning.message)


def test_what_is_set_after_construction_is_not_lost_either(codat_simulator, codat_connection):
    company = codat_simulator.add_company()
    made, _ = sensor(
        end_from_trigger=True, company_id=company.id, push_operation_key=codat_simulator.add_push(company.id)
    )
    made.outlets = ["books"]
    with pytest.raises(TaskDeferred) as deferred:
        made.execute({})
    assert deferred.value.trigger.serialize()[1]["end_from_trigger"] is False


# -- older versions, and what is the same in all -----------------------------------------------------------------------


@pytest.fixture
def before_airflow_3_3(monkeypatch):
    monkeypatch.setattr(start_from_trigger, "triggerer_starts_tasks", lambda: False)


@pytest.mark.usefixtures("before_airflow_3_3")
@pytest.mark.parametrize("sensor_class", SENSORS)
def test_before_airflow_3_3_a_worker_starts_the_sensor_and_one_warning_says_so(sensor_class):
    made, warned = with_warnings(lambda: sensor_class(task_id="wait", **SENSORS[sensor_class], start_from_trigger=True))
    assert made.deferrable
    assert (made.start_from_trigger, made.start_trigger_args) == (False, None)
    [warning] = warned
    assert "task wait" in str(warning.message)
    assert "start_from_trigger needs Airflow 3.3" in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.usefixtures("before_airflow_3_3")
def test_before_airflow_3_3_there_are_no_start_args_and_one_warning_says_so():
    def make():
        with DAG("dag", schedule=None):
            mapped = {"push_operation_key": list_keys()}
            return CodatPushOperationSensor.start_args(mapped, task_id="wait", company_id="c")

    args, warned = with_warnings(make)
    assert args is None
    [warning] = warned
    assert "start_from_trigger needs Airflow 3.3" in str(warning.message)
    assert warning.filename == __file__


def test_a_mapped_sensor_without_arguments_for_the_start_is_started_by_a_worker_and_one_warning_says_so():
    def make():
        with DAG("dag", schedule=None):
            return CodatPushOperationSensor.partial(task_id="wait", company_id="c", start_from_trigger=True).expand(
                push_operation_key=["a", "b"]
            )

    mapped, warned = with_warnings(make)
    assert mapped.start_trigger_args is None
    [warning] = warned
    assert "task wait" in str(warning.message)
    assert "start_args(" in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize("of", ["dag", "group"])
def test_it_is_warned_of_where_the_start_is_asked_for_by_default_args_too(of):
    defaults = {"start_from_trigger": True}

    def make():
        with (
            DAG("dag", schedule=None, default_args=defaults if of == "dag" else {}),
            TaskGroup("g", default_args=defaults if of == "group" else {}),
        ):
            CodatPushOperationSensor.partial(task_id="wait", company_id="c").expand(push_operation_key=["a", "b"])
            CodatPushOperationSensor.partial(task_id="not", company_id="c", start_from_trigger=False).expand(
                push_operation_key=["a", "b"]
            )

    _, [warning] = with_warnings(make)
    assert "task wait" in str(warning.message)
    assert "start_args(" in str(warning.message)
    assert warning.filename == __file__


@task
def list_keys():
    return ["a", "b"]


def test_start_args_that_cannot_be_had_are_none_and_one_warning_says_why():
    def make():
        with DAG("dag", schedule=None):
            arguments = {"task_id": "wait", "company_id": "c", "start_from_trigger": True}
            mapped = {"push_operation_key": list_keys.expand_kwargs([{}, {}])}
            start_args = CodatPushOperationSensor.start_args(mapped, **arguments)
            return CodatPushOperationSensor.partial(**arguments, start_trigger_args=start_args).expand(**mapped)

    mapped, warned = with_warnings(make)
    assert mapped.start_trigger_args is None
    [warning] = warned
    assert "task wait" in str(warning.message)
    assert warning.filename == __file__
