"""What triggers ask the supervisor of Airflow 3.3 and later: how often, and what they make of the answers."""

import asyncio
import json
import re
import threading
from datetime import UTC, datetime

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetTaskStates, GetXCom, SetXCom, TaskStatesResult, XComResult
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from trigger_runner import from_row, only_event
from virtual_clock import START

from airflow_provider_codat.sensors.codat import CodatPushOperationSensor
from airflow_provider_codat.simulator import Fault, Outcome
from airflow_provider_codat.triggers import task_instance as asked
from airflow_provider_codat.triggers import thread_log
from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger
from airflow_provider_codat.triggers.task_instance import COLLECT, LONGEST_QUESTION, PULL_PATIENCE

IDS = {"dag_id": "dag", "task_id": "wait", "run_id": "run"}


class Supervisor:
    """Takes the place of the process above the triggerer's event loop, which asks Airflow's database.

    :param xcom: what the upstream task has returned.
    :param states: the states of the task's map indexes.
    """

    def __init__(self):
        self.xcom = []
        self.states = {}
        self.error = None
        self.asked = []
        self.before_storing = lambda: None

    def send(self, message):
        self.asked.append(message)
        if isinstance(message, SetXCom):
            self.before_storing()
        if self.error and not isinstance(message, GetTaskStates | GetXCom):
            return None
        if self.error:
            raise self.error
        if isinstance(message, GetXCom):
            return XComResult(key=message.key, value=self.xcom)
        if isinstance(message, GetTaskStates):
            names = {f"wait_{index}" if index >= 0 else "wait": state for index, state in self.states.items()}
            return TaskStatesResult(task_states={"run": json.loads(json.dumps(names))})
        return None

    def count(self, kind):
        return sum(isinstance(each, kind) for each in self.asked)


@pytest.fixture
def supervisor(monkeypatch):
    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


def task_instance(map_index, operator=None):
    return RuntimeTaskInstance.model_construct(**IDS, id="id", try_number=1, map_index=map_index, task=operator)


# -- templates ---------------------------------------------------------------------------------------------------------


@task
def list_pushes():
    """Stand for a task that returns what the sensor is mapped over."""


def started(operator, map_index):
    """Return the trigger of one map index, as a triggerer has it when it calls ``run``."""
    args = operator.start_trigger_args
    trigger = from_row((args.trigger_cls, args.trigger_kwargs))
    ti = task_instance(map_index, operator)
    trigger.task_instance = ti
    trigger.timeout_after = datetime.fromtimestamp(START + 3600, UTC)
    trigger.render_template_fields({"ti": ti, "task_instance": ti, "params": {}})
    return trigger


@pytest.fixture
def mapped():
    """Return a sensor that is mapped over a list of companies and keys."""
    arguments = {"task_id": "wait", "start_from_trigger": True}
    with DAG("dag", schedule=None):
        pushes = list_pushes()
        args = CodatPushOperationSensor.start_args(pushes, **arguments)
        CodatPushOperationSensor.partial(**arguments, start_trigger_args=args).expand_kwargs(pushes)
        return pushes.operator.dag.get_task("wait")


@pytest.fixture
def pairs(codat_simulator, codat_connection):
    """Return a function that adds pushes that have ended, and returns the arguments of sensors that wait for them."""

    def pairs(count):
        company = codat_simulator.add_company()
        keys = [codat_simulator.add_push(company.id, outcome=Outcome()) for _ in range(count)]
        return [{"company_id": company.id, "push_operation_key": key} for key in keys]

    return pairs


async def run_all(triggers):
    return await asyncio.gather(*map(only_event, triggers))


def key_of(event):
    return event["operation"]["pushOperationKey"]


def test_four_hundred_map_indexes_of_one_list_pull_it_once(mapped, pairs, supervisor, clock):
    supervisor.xcom = pairs(400)
    events = clock.run(run_all([started(mapped, index) for index in range(400)]))
    assert [key_of(event) for event in events] == [each["push_operation_key"] for each in supervisor.xcom]
    assert supervisor.count(GetXCom) == 1


def test_a_list_is_pulled_after_the_wait_has_begun(mapped, pairs, supervisor, clock):
    """It may have another content each time the task upstream is cleared."""
    lists = [pairs(1), pairs(1)]

    async def two_after_another():
        for supervisor.xcom in lists:
            [event] = await run_all([started(mapped, 0)])
            yield key_of(event)

    async def keys():
        return [key async for key in two_after_another()]

    assert clock.run(keys()) == [each["push_operation_key"] for [each] in lists]
    assert supervisor.count(GetXCom) == 2


def test_other_tasks_have_lists_of_their_own(mapped, pairs, supervisor, clock):
    triggers = [started(mapped, 0), started(mapped, 0)]
    triggers[1].task_instance.run_id = "another run"
    supervisor.xcom = pairs(1)
    clock.run(run_all(triggers))
    assert {message.run_id for message in supervisor.asked if isinstance(message, GetXCom)} == {"run", "another run"}


def test_a_pull_that_fails_is_repeated_once_for_all(mapped, pairs, supervisor, clock):
    supervisor.xcom, supervisor.error = pairs(50), ConnectionError("the database is down")
    clock.after(5, lambda: setattr(supervisor, "error", None))
    events = clock.run(run_all([started(mapped, index) for index in range(50)]))
    assert {event["outcome"] for event in events} == {"ended"}
    # after half a second each, with pauses of 1, 2 and 4 seconds
    assert supervisor.count(GetXCom) == 4
    assert clock.passed == pytest.approx(9, abs=0.1)


def test_a_pull_that_fails_for_good_ends_the_waits_after_a_minute(mapped, supervisor, clock):
    supervisor.error = ConnectionError("the database is down")
    events = clock.run(run_all([started(mapped, index) for index in range(50)]))
    for event in events:
        assert "could not pull the XCom of list_pushes: ConnectionError('the database is down')" in str(event["error"])
    assert supervisor.count(GetXCom) <= 10
    assert PULL_PATIENCE <= clock.passed < PULL_PATIENCE + 15


def test_a_map_index_that_the_list_has_not_ends_the_wait_at_once(mapped, pairs, supervisor, clock):
    supervisor.xcom = pairs(1)
    [event] = clock.run(run_all([started(mapped, 1)]))
    assert event["outcome"] == "failed"
    assert clock.passed == pytest.approx(COLLECT, abs=0.1)


def test_the_first_check_does_not_wait_until_the_link_is_stored_but_the_end_does(
    mapped, pairs, supervisor, codat_simulator, clock
):
    supervisor.xcom = pairs(2)
    checks = []

    def wait_for_the_check():
        checks.extend(codat_simulator.wait_until_held())
        codat_simulator.release()

    async def run():
        await run_all([started(mapped, 0)])  # opens the connection
        codat_simulator.fault(Fault("hold"))
        supervisor.before_storing = wait_for_the_check
        return await run_all([started(mapped, 1)])

    assert [event["outcome"] for event in clock.run(run())] == ["ended"]
    links = [(each.key, each.map_index) for each in supervisor.asked if isinstance(each, SetXCom)]
    assert len(checks) == 1
    assert links == [("_link_CodatCompanyLink", 0), ("_link_CodatCompanyLink", 1)]


def test_the_template_of_a_new_wait_is_rendered_before_the_links_of_earlier_waits_are_stored(
    mapped, pairs, supervisor, clock
):
    supervisor.xcom = pairs(21)
    may_store = threading.Event()

    def wait_once():
        assert may_store.wait(10)

    async def run():
        asyncio.get_running_loop().call_later(3 * COLLECT, may_store.set)
        earlier = asyncio.ensure_future(run_all([started(mapped, index) for index in range(20)]))
        await asyncio.sleep(1.5 * COLLECT)
        await run_all([started(mapped, 20)])
        await earlier

    supervisor.before_storing = wait_once
    clock.run(run())
    asked = [type(message) for message in supervisor.asked if isinstance(message, GetXCom | SetXCom)]
    assert asked.count(SetXCom) == 21
    assert asked[:4].count(GetXCom) == 2


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def killed(codat_simulator, codat_connection, clock, logged):
    """Return a function that cancels waits as Airflow does where a trigger is removed, and returns what they log."""

    def killed(triggers):
        async def cancel(trigger):
            running = asyncio.ensure_future(anext(trigger.run()))
            await asyncio.sleep(30)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            thread_log.flush()  # what the wait has logged
            logged()
            await trigger.on_kill()

        async def cancel_all():
            await asyncio.gather(*map(cancel, triggers))

        clock.run(cancel_all())
        return lines_of_triggers(logged())

    return killed


def lines_of_triggers(text):
    """Return (level, message) of each line that a trigger has logged."""
    return re.findall(r"\[(info|warning) *\] (.*) \[\S*CodatPushOperationTrigger", text)


def waiting(codat, count=1):
    company = codat.add_company("company")
    for index in range(count):
        trigger = CodatPushOperationTrigger(company.id, codat.add_push(company.id), deadline=START + 3600)
        trigger.task_instance = task_instance(index)
        yield trigger


STOPS = "This trigger stops. The state of the task is now {}. Codat cannot cancel push operation"


@pytest.mark.parametrize(
    ("states", "level", "says"),
    [
        ({0: "deferred"}, "info", "The task is still deferred: another trigger goes on with the wait"),
        ({0: "failed"}, "warning", STOPS.format("failed")),
        ({0: None}, "warning", STOPS.format("None")),
        ({0: "success"}, "info", STOPS.format("success")),
        ({0: "running"}, "info", STOPS.format("running")),
        ({}, "info", STOPS.format("unknown")),
    ],
)
def test_what_is_logged_where_a_trigger_is_removed_depends_on_the_state_of_its_task(
    states, level, says, killed, supervisor, codat_simulator
):
    supervisor.states = states
    [trigger] = waiting(codat_simulator)
    [(logged_at, line)] = killed([trigger])
    assert (logged_at, line[: len(says)]) == (level, says)
    assert f"push operation {trigger.push_operation_key} of company {trigger.company_id}" in line


def test_where_airflow_does_not_answer_nothing_is_guessed(killed, supervisor, codat_simulator):
    supervisor.error = ConnectionError("the database is down")
    [(level, line)] = killed(waiting(codat_simulator))
    assert level == "info"
    assert line.startswith(STOPS.format("unknown"))


def test_the_states_of_all_waits_that_are_taken_over_are_asked_for_once(killed, supervisor, codat_simulator):
    supervisor.states = {index: "deferred" if index else "failed" for index in range(400)}
    lines = killed(list(waiting(codat_simulator, 400)))
    assert sorted(level for level, _ in lines) == ["info"] * 399 + ["warning"]
    assert supervisor.count(GetTaskStates) == 1


def test_a_trigger_that_airflow_cancels_again_while_it_asks_logs_all_the_same(
    supervisor, codat_simulator, clock, logged
):
    [trigger] = waiting(codat_simulator)
    trigger._current_wait = trigger._wait()
    supervisor.states = {0: "failed"}

    async def cancel_again():
        asking = asyncio.ensure_future(trigger.on_kill())
        for _ in range(3):
            await asyncio.sleep(COLLECT / 5)
            asking.cancel()
        await asking

    clock.run(cancel_again())
    [(_, line)] = lines_of_triggers(logged())
    assert line.startswith(STOPS.format("failed"))


def test_an_answer_that_does_not_come_is_waited_for_for_less_time_than_airflow_gives(
    supervisor, codat_simulator, clock, logged, monkeypatch
):
    async def no_answer(key):
        await asyncio.sleep(3600)

    monkeypatch.setattr(asked, "_states", no_answer)
    monkeypatch.setattr(asked, "_asking", {})
    [trigger] = waiting(codat_simulator)
    trigger._current_wait = trigger._wait()
    clock.run(trigger.on_kill())
    assert clock.passed == pytest.approx(LONGEST_QUESTION, abs=0.1)
    [(_, line)] = lines_of_triggers(logged())
    assert line.startswith(STOPS.format("unknown"))


def test_a_state_is_asked_for_after_the_end(supervisor, codat_simulator, clock):
    """An answer that is under way may be from before a user has ended the task."""
    [trigger] = waiting(codat_simulator)
    trigger._current_wait = trigger._wait()
    supervisor.states = {0: "failed"}

    async def kill_twice():
        await asyncio.gather(trigger.on_kill(), after_a_second())

    async def after_a_second():
        await asyncio.sleep(2 * COLLECT)
        await trigger.on_kill()

    clock.run(kill_twice())
    assert supervisor.count(GetTaskStates) == 2


def test_a_trigger_that_is_removed_before_its_ids_are_rendered_logs_none(mapped, supervisor, clock, logged):
    trigger = started(mapped, 0)

    async def cancel():
        running = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(COLLECT / 2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await trigger.on_kill()

    clock.run(cancel())
    assert supervisor.asked == []
    assert lines_of_triggers(logged()) == []
