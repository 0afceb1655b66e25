"""What a trigger asks Airflow about its task instance: seldom, and once for all triggers that ask the same.

The triggers of a process and Airflow's supervisor talk through one socket. The supervisor answers one question after
another, each in about a tenth of a second. A thousand triggers that all ask at once would wait for each other's answers
for minutes. So questions are asked one at a time, in the thread of ``sync_to_async``; triggers that start together
share what they pull; and links are stored one by one between the questions.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from airflow_provider_codat.api.errors import CodatError
from airflow_provider_codat.links.codat import store_company_link
from airflow_provider_codat.triggers.thread_log import wait_in_any_case

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger

COLLECT = 0.5
"""Seconds for which a trigger waits for others that ask the same."""

PULL_PATIENCE = 60.0
"""Seconds for which a pull that fails is repeated."""

LONGEST_QUESTION = 20.0
"""Seconds for which the answer about a state is waited for. Airflow gives all of ``on_kill`` 30 seconds."""

LONGEST_PAUSE = 10.0
"""The longest pause in seconds between two pulls of which the first failed. The first pause is a second."""

KEPT = 10.0
"""Seconds for which a pulled XCom is kept. It is used only for triggers that asked before it was pulled."""


_Key = tuple[Any, ...]
"""An event loop, and what is asked on it."""


# -- templates ---------------------------------------------------------------------------------------------------------


class PullFailed(CodatError):
    """An XCom could not be pulled. A later pull may succeed."""


async def render(trigger: BaseTrigger, context: dict[str, Any]) -> None:
    """Render the templated arguments of a trigger that no worker has started.

    :raises PullFailed: an XCom could not be pulled for ``PULL_PATIENCE`` seconds.
    """
    give_up_at, pause = time.monotonic() + PULL_PATIENCE, 1.0
    while True:
        ti = _TaskInstance(context["ti"], time.monotonic())
        await asyncio.sleep(COLLECT)
        try:
            await sync_to_async(_render)(trigger, {**context, "ti": ti, "task_instance": ti})
        except PullFailed:
            if time.monotonic() >= give_up_at:
                raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            return


def _render(trigger: BaseTrigger, context: Any) -> None:
    env = trigger.get_template_env()
    rendered = {name: trigger.render_template(getattr(trigger, name), context, env) for name in trigger.template_fields}
    for name, value in rendered.items():
        setattr(trigger, name, value)


class _TaskInstance:
    """A task instance in a template. It uses the XComs that others have pulled since ``asked_at``."""

    def __init__(self, ti: Any, asked_at: float) -> None:
        self._ti = ti
        self._asked_at = asked_at
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ti, name)

    def xcom_pull(self, *args: Any, **options: Any) -> Any:
        # With map_indexes, the XCom does not depend on the map index of the task instance that pulls it.
        if "map_indexes" not in options:
            return self._ti.xcom_pull(*args, **options)
        what = repr((args, sorted(options.items())))
        key = self._loop, self._ti.dag_id, self._ti.run_id, self._ti.task_id, what
        pulled_at, value = _pulled.get(key, (-1.0, None))
        if pulled_at <= self._asked_at:
            value = self._pull(*args, **options)
            _keep(key, value)
        if isinstance(value, PullFailed):
            raise PullFailed(str(value))
        return value

    def _pull(self, *args: Any, **options: Any) -> Any:
        try:
            return self._ti.xcom_pull(*args, **options)
        except Exception as error:
            return PullFailed(f"Airflow could not pull the XCom of {args or options.get('task_ids')}: {error!r}")


_pulled: dict[_Key, tuple[float, Any]] = {}
"""The XComs pulled last, or why the pull failed, each with its time. Only the thread of ``sync_to_async`` uses it."""


def _keep(key: _Key, value: Any) -> None:
    now = time.monotonic()
    for old in [each for each, (pulled_at, _) in _pulled.items() if pulled_at < now - KEPT]:
        del _pulled[old]
    _pulled[key] = now, value


# -- links -------------------------------------------------------------------------------------------------------------


async def store_link(ti: Any, company_id: str) -> None:
    """Store the link of a task to its company: one at a time, so that no template waits for hundreds of links."""
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await sync_to_async(store_company_link)(ti, company_id)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


# -- states ------------------------------------------------------------------------------------------------------------

UNKNOWN = "unknown"
"""The state of a task instance that Airflow does not know or does not report."""


async def state_of(ti: Any) -> str | None:
    """Return the present state of a task instance: ``None`` if it was cleared, ``UNKNOWN`` if Airflow has no answer.

    A cancellation does not end this sooner: Airflow cancels a trigger that asks here, again and again.
    """
    loop = asyncio.get_running_loop()
    key = loop, ti.dag_id, ti.run_id, ti.task_id
    if key not in _asking:
        _asking[key] = loop.create_task(_states(key), context=contextvars.Context())
    asking = _asking[key]
    await wait_in_any_case(asking, LONGEST_QUESTION)
    states = asking.result() if asking.done() else {}
    name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    return states.get(name, UNKNOWN)


_asking: dict[_Key, asyncio.Task[dict[str, str | None]]] = {}
"""Questions that are asked soon. Until then other triggers can join, so no answer is older than its question."""


async def _states(key: _Key) -> dict[str, str | None]:
    try:
        await asyncio.sleep(COLLECT)
    finally:
        del _asking[key]
    _, dag_id, run_id, task_id = key
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        ask = sync_to_async(RuntimeTaskInstance.get_task_states)
        states: dict[str, dict[str, str | None]] = await ask(dag_id, task_ids=[task_id], run_ids=[run_id])
    except Exception:
        return {}
    return states.get(run_id, {})
