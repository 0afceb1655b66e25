"""The push operator with the triggerer: what it defers, how the task resumes, and what a kill does."""

import asyncio
import warnings
from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from airflow.triggers.base import BaseTrigger
from push_runs import (
    RECORD,
    SOMEBODY,
    defer,
    names_all,
    push,
    pushes,
    resume,
    run,
    stored_write_of,
    writes,
)
from trigger_runner import through_the_database, trigger_arguments
from virtual_clock import START

from airflow_provider_codat.api.endpoints.push_operations import PUSH_OPERATION
from airflow_provider_codat.exceptions import (
    CodatAuthenticationError,
    CodatError,
    CodatWaitTimeout,
)
from airflow_provider_codat.operators.codat import CodatPushOperator
from airflow_provider_codat.simulator import UNDECIDED
from airflow_provider_codat.tasks.earlier_tries import STORED_AS
from airflow_provider_codat.triggers import events
from airflow_provider_codat.triggers.codat import CodatPushOperationTrigger

# -- with the triggerer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "patience"),
    [
        ({"timeout": 600}, 600),
        ({"timeout": 600, "execution_timeout": timedelta(seconds=60)}, 60),
        ({"timeout": 600, "execution_timeout": timedelta(seconds=6000)}, 600),
    ],
)
def test_the_trigger_holds_an_absolute_deadline_and_nothing_of_the_record(limits, patience, codat, company):
    codat.outcome(UNDECIDED)
    deferred = defer(push(company, deferrable=True, exponential_backoff=False, **limits))
    (operation,) = pushes(codat, company)
    class_path, kwargs = through_the_database(deferred.trigger.serialize())
    assert class_path == f"{CodatPushOperationTrigger.__module__}.{CodatPushOperationTrigger.__qualname__}"
    assert kwargs == trigger_arguments(company.id, operation["pushOperationKey"], patience)
    assert deferred.method_name == "execute_complete"
    assert deferred.timeout == timedelta(seconds=patience) + timedelta(minutes=2)
    assert not deferred.kwargs


def test_what_an_earlier_try_wrote_is_handed_over_without_a_write(codat, company, store):
    key = codat.add_push(company.id)
    store.set(STORED_AS, stored_write_of(company, key).to_json())
    deferred = defer(push(company, deferrable=True), store, try_number=2)
    assert deferred.trigger.push_operation_key == key
    assert writes(codat) == []


@pytest.mark.parametrize(
    ("limits", "error", "says"),
    [
        ({"timeout": 600}, CodatWaitTimeout, "timeout of 0:10:00"),
        ({"execution_timeout": timedelta(seconds=60)}, AirflowTaskTimeout, "execution_timeout of 0:01:00"),
    ],
)
@pytest.mark.parametrize("status", ["Pending", None])
def test_a_deadline_that_passed_in_the_triggerer(status, limits, error, says):
    with pytest.raises(error) as raised:
        resume(push(SOMEBODY, deferrable=True, **limits), events.timed_out(PUSH_OPERATION, "key-1", status))
    seen = f"last status seen: {status}" if status else "its status was not seen"
    assert names_all(raised.value, ("key-1", says, seen, "The push itself goes on at Codat."))
    assert getattr(raised.value, "last_status", status) == status


@pytest.mark.parametrize("words", ["Trigger timeout", "Trigger/execution timeout"])
@pytest.mark.parametrize(
    ("limits", "error"),
    [({}, CodatWaitTimeout), ({"execution_timeout": timedelta(seconds=60)}, AirflowTaskTimeout)],
)
def test_a_deferral_that_airflow_ended_for_its_time_names_the_operation(limits, error, words, store):
    operator = push(SOMEBODY, deferrable=True, **limits)
    for known, says in ((None, "of this task (its log has the key)"), ("key-1", "key-1")):
        store.values = {STORED_AS: stored_write_of(SOMEBODY, known).to_json()}
        with pytest.raises(error, match="the triggerer's log has its last status") as raised:
            resume(operator, {"error": words}, store, method="__fail__")
        assert f"Push operation {says} had not ended" in str(raised.value)
    with pytest.raises(error, match="its log has the key"):
        resume(operator, {"error": words}, method="__fail__", try_number=2)


@pytest.mark.parametrize("event", [{"error": "Trigger failure", "traceback": ["Traceback:", "boom"]}, {}, None])
def test_a_trigger_that_broke_says_nothing_of_the_push_and_a_retry_finds_it(event, codat, company, store):
    codat.outcome(UNDECIDED)
    operator = push(company, deferrable=True)
    deferred = defer(operator, store)
    with pytest.raises(CodatError, match="the push's status is not known") as raised:
        resume(operator, event, store, method="__fail__")
    assert type(raised.value) is CodatError
    assert "boom" in str(raised.value) or not event
    assert defer(push(company, deferrable=True), store, try_number=2).trigger.push_operation_key == (
        deferred.trigger.push_operation_key
    )
    assert len(writes(codat)) == 1


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (events.failed(CodatAuthenticationError(401, "Unauthorized")), CodatAuthenticationError),
        (events.failed(KeyError("odd")), CodatError),
        ({"outcome": "ended"}, CodatError),
        (None, CodatError),
    ],
)
def test_other_trouble_in_the_triggerer_is_raised_as_what_it_was(event, error):
    with pytest.raises(error) as raised:
        resume(push(SOMEBODY, deferrable=True), event)
    assert type(raised.value) is error


# -- ending in the triggerer -------------------------------------------------------------------------------------------


def warned_by(make):
    """Return what ``make`` returns, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = make()
    return made, [each for each in caught if each.category is UserWarning]


def noop(*arguments):
    """Stand for a callback."""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, None),
        ({"on_failure_callback": noop, "on_execute_callback": noop, "pre_execute": noop}, None),
        ({"outlets": ["books"]}, "outlets"),
        ({"on_success_callback": noop}, "on_success_callback"),
        ({"outlets": ["books"], "multiple_outputs": True}, "outlets, multiple_outputs"),
    ],
)
def test_the_trigger_ends_the_task_unless_something_would_be_lost(arguments, says, codat, company):
    codat.outcome(UNDECIDED)
    given = {"end_from_trigger": True, "fail_on_unsuccessful": False, "do_xcom_push": False}
    operator, warned = warned_by(lambda: push(company, **given, **arguments))
    kwargs = defer(operator).trigger.serialize()[1]
    assert kwargs["end_from_trigger"] is (says is None)
    assert (kwargs["fail_on_unsuccessful"], kwargs["do_xcom_push"]) == (False, False)
    assert [str(each.message) for each in warned] == (
        [f"A worker starts or ends task push, not the triggerer: end_from_trigger does not go with {says}."]
        if says
        else []
    )


class WithItsOwnEnd(CodatPushOperator):
    def execute_complete(self, context, event=None):
        return None


class WithItsOwnBeginning(CodatPushOperator):
    def execute(self, context):
        return super().execute(context)


@pytest.mark.parametrize(
    ("operator_class", "arguments", "says"),
    [
        (CodatPushOperator, {"outlets": ["books"]}, "outlets"),
        (WithItsOwnEnd, {}, "WithItsOwnEnd.execute_complete"),
        (WithItsOwnBeginning, {"outlets": ["books"]}, "outlets"),
        (WithItsOwnBeginning, {}, None),
    ],
)
def test_what_the_trigger_cannot_do_is_warned_of_at_parse_with_the_line_of_the_dag_file(
    operator_class, arguments, says
):
    def make():
        return operator_class(
            task_id="push",
            company_id="company-1",
            connection_id="connection-1",
            data_type="bills",
            record=RECORD,
            end_from_trigger=True,
            **arguments,
        )

    made, warned = warned_by(make)
    assert made.trigger_arguments()["end_from_trigger"] is (says is None)
    assert [(each.filename, each.lineno) for each in warned] == (
        [(__file__, make.__code__.co_firstlineno + 1)] if says else []
    )
    assert [str(each.message).partition("does not go with ")[2] for each in warned] == ([f"{says}."] if says else [])


def test_a_task_that_ends_in_the_triggerer_is_deferrable():
    assert push(SOMEBODY, end_from_trigger=True, deferrable=False).deferrable
    assert not push(SOMEBODY).deferrable


# -- killing -----------------------------------------------------------------------------------------------------------


def test_a_task_that_is_killed_while_it_waits_says_that_codat_cannot_cancel_the_push(codat, company, clock, logged):
    codat.outcome(UNDECIDED)
    operator = push(company, timeout=60)
    with pytest.raises(CodatWaitTimeout):
        run(operator)
    logged()
    operator.on_kill()
    (operation,) = pushes(codat, company)
    key, said = operation["pushOperationKey"], logged()
    assert f"This try of the task is stopped. Codat cannot cancel push operation {key} of company {company.id}" in said
    assert f"CodatHook().get_push_operation({company.id!r}, {key!r})" in said


def test_a_task_that_is_killed_before_it_knows_its_push_says_that_one_may_be_under_way(logged):
    push(SOMEBODY).on_kill()
    said = logged()
    assert "If a request was under way, the record may still be written" in said
    assert "get_push_operation" not in said


def waiting_trigger(codat, company):
    key = codat.add_push(company.id)
    return CodatPushOperationTrigger(company.id, key, deadline=START + 3600), key


def cancelled(trigger, clock):
    """Cancel a trigger that waits, as a triggerer does."""

    async def cancel():
        running = asyncio.ensure_future(anext(trigger.run()))
        clock.after(30, running.cancel)
        await running

    with pytest.raises(asyncio.CancelledError):
        clock.run(cancel())


@pytest.mark.parametrize("is_told", [True, False])
def test_where_airflow_does_not_say_why_a_trigger_is_cancelled_the_trigger_does(
    is_told, codat, company, clock, logged, monkeypatch
):
    if is_told:
        monkeypatch.setattr(BaseTrigger, "on_kill", lambda self: None, raising=False)
    else:
        monkeypatch.delattr(BaseTrigger, "on_kill", raising=False)
    trigger, key = waiting_trigger(codat, company)
    cancelled(trigger, clock)
    said = logged()
    assert ("If the task is still deferred, another trigger goes on." in said) is not is_told
    assert (f"get_push_operation({company.id!r}, {key!r})" in said) is not is_told
