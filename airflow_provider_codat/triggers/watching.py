"""The polls of watchers. They go on whatever happens, as Airflow restarts a watcher that ends every two seconds.

==========================================  ==========================================================================
a poll ends with                            the watcher
==========================================  ==========================================================================
changes, or none                            polls again after ``poll_interval``
a transient error (no connection, 408,      polls again after ``poll_interval``, then twice that, up to five minutes, or
425, 429, 5xx, an unreadable answer, an     after the ``Retry-After`` if that is longer
Airflow connection that cannot be read)
any other error (a refused API key, an      polls again after five minutes: somebody has to correct it
unknown company, a wrong field)
==========================================  ==========================================================================

Each kind of error is logged once until the polls succeed again, which is logged, too.

A poll begins anew after an error, so one of many pages might never end. So a request that is not its first is sent
again: see ``CompanyRequests.run``.
"""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar

from airflow_provider_codat.api.errors import CodatApiError, CodatError, CodatInputError
from airflow_provider_codat.api.http.retry import can_be_waited_out, retry_after
from airflow_provider_codat.api.watching.watch import Subject, Watch
from airflow_provider_codat.triggers.shared_polls import polls_on
from airflow_provider_codat.triggers.thread_log import ThreadLog

T = TypeVar("T")

SLOW = 300.0
"""The longest pause in seconds after a failed poll, unless ``poll_interval`` or a ``Retry-After`` is longer."""

MOST_CHANGES = 500
"""The most changes in an event. 500 of them are 140 to 170 KB."""

CONNECTION_PATIENCE = 60.0
"""Seconds for which a poll waits for the Airflow connection."""

log = ThreadLog(logging.getLogger(__name__))


async def polls(
    subject: Subject, codat_conn_id: str, poll_interval: float, cursor: Any
) -> AsyncIterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Poll for ever. After each poll that has moved the cursor, yield the payloads of events, each with a cursor."""
    watch, trouble = Watch(subject, codat_conn_id, cursor), _Trouble(subject.company_id, poll_interval)
    shared = polls_on(codat_conn_id)
    requests = shared.requests_about(subject.company_id)
    before, newest = watch.cursor, watch.newest_request
    how = "goes on from its stored cursor" if before else "begins with what ends from now on"
    log.info("The watcher of company %s %s.", subject.company_id, how)
    while True:
        try:
            await shared.sender.open(time.time() + CONNECTION_PATIENCE)
            changes = await requests.run(watch.poll(time.time, log))
        except Exception as error:
            pause = trouble.failed(error)
        else:
            trouble.is_over()
            if watch.cursor != before:
                *earlier, last = _slices(changes)
                for each in earlier:  # if not all slices are stored, all come again
                    yield {"changes": each, "cursor": newest}, before
                before, newest = watch.cursor, watch.newest_request
                yield {"changes": last, "cursor": newest}, before
            pause = _until_next_poll(subject.company_id, poll_interval)
        await asyncio.sleep(pause)


def _slices(changes: list[T]) -> Iterator[list[T]]:
    """Yield changes in slices for an event each, at least one."""
    for start in range(0, max(1, len(changes)), MOST_CHANGES):
        yield changes[start : start + MOST_CHANGES]


def _until_next_poll(company_id: str, poll_interval: float) -> float:
    """Return seconds: all watchers of a company poll at the same time, those of different companies do not."""
    phase = zlib.crc32(company_id.encode()) % 1000 / 1000 * poll_interval
    return poll_interval - (time.monotonic() - phase) % poll_interval


class _Trouble:
    """The failed polls of a watcher: what is logged of them, and how long to pause."""

    def __init__(self, company_id: str, poll_interval: float) -> None:
        self._company_id = company_id
        self._interval = poll_interval
        self._failures = 0
        self._logged: set[object] = set()

    def failed(self, error: Exception) -> float:
        """Log a failed poll, unless an earlier one failed in the same way. Return the seconds to pause."""
        self._failures += 1
        longest = max(SLOW, self._interval)
        pause = longest
        if may_pass(error):
            pause = max(min(self._interval * 2.0 ** min(self._failures - 1, 30), longest), retry_after(error) or 0.0)
        kind = type(error), getattr(error, "status_code", None)
        if kind not in self._logged:
            message = "The watcher of company %s could not read what has ended: %s It tries again, next in %.0f s."
            exc_info = None if isinstance(error, CodatError) else error
            log.warning(message, self._company_id, error, pause, exc_info=exc_info)
        self._logged.add(kind)
        return pause

    def is_over(self) -> None:
        """Log that polls succeed again, if they had failed."""
        if self._failures:
            log.info("The watcher of company %s goes on; %d polls had failed.", self._company_id, self._failures)
        self._failures, self._logged = 0, set()


def may_pass(error: Exception) -> bool:
    """Whether an error is likely to pass without anybody's help."""
    if isinstance(error, CodatInputError) or not isinstance(error, CodatError):
        return False
    return can_be_waited_out(error) or not isinstance(error, CodatApiError)


# -- the cursor in Airflow's asset state store -------------------------------------------------------------------------


class StoredCursor:
    """A watcher's cursor in the asset state store of Airflow 3.3, which outlives the triggerer."""

    def __init__(self, asset_name: str, key: str) -> None:
        self._asset_name = asset_name
        self._key = key
        self._is_failing = False

    async def read(self) -> Any:
        """Return the stored cursor, ``None`` if there is none. It tries until Airflow answers.

        It does not try again if this Airflow has no such store, because the next try would end the same.
        """
        pause = 1.0
        while True:
            try:
                cursor = await self._call("get", self._key)
            except (ImportError, AttributeError) as error:
                self._is_failing = True
                log.error(
                    "This Airflow has no store for the cursor of the watcher of asset %r (%s). After each restart of"
                    " the triggerer, the watcher begins with what ends from then on.",
                    self._asset_name,
                    error,
                )
                return None
            except Exception as error:
                self._log_once("The cursor of the watcher of asset %r could not be read: %s It tries again.", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, SLOW)
            else:
                self._is_failing = False
                return cursor

    async def write(self, cursor: dict[str, Any]) -> None:
        """Store a cursor, or log why that failed: the stored cursor is then older, or there is none."""
        try:
            await self._call("set", self._key, cursor)
        except Exception as error:
            self._log_once(
                "The cursor of the watcher of asset %r could not be stored: %s Check that asset_name is the name of the"
                " watched asset. After a restart of the triggerer, the watcher goes on from the last cursor that was"
                " stored. Without one, it begins with what ends from then on.",
                error,
            )
        else:
            self._is_failing = False

    def _log_once(self, message: str, error: Exception) -> None:
        if not self._is_failing:
            log.warning(message, self._asset_name, error)
        self._is_failing = True

    async def _call(self, method: str, *args: Any) -> Any:
        from airflow.sdk.execution_time.context import AssetStateStoreAccessor

        store = AssetStateStoreAccessor(name=self._asset_name)
        if hasattr(store, f"a{method}"):
            return await getattr(store, f"a{method}")(*args)
        from asgiref.sync import sync_to_async

        call: Callable[..., Any] = getattr(store, method)  # Airflow 3.3.0 and 3.3.1
        return await sync_to_async(call)(*args)
