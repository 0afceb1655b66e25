"""What can go wrong with a write, and what comes of it, case by case: the specification of ``CodatPushOperator``.

A case is a row of :data:`CREATE`, or of :data:`CHANGE` for updates and deletions: what happens, in words and in steps;
then, for each try, the requests that reach Codat and how the try ends; and what the company's books hold in the end.
Where Airflow's two kinds differ, ``store`` is one with a task state store (3.3 and later), ``without`` one without.

The task writes ``coffee``, once its record is corrected ``tea``; ``water`` is what it changes, ``juice`` another's. All
is real but the time: HTTP, processes, and SIGKILL. Five minutes pass between two tries, one before a clear.

==================================  ================================================================================
a request                           what became of it
==================================  ================================================================================
``POST``                            handled, and answered with a push operation (``PUT`` and ``DELETE`` likewise)
``POST again``                      not handled: answered as the first request under its key was
``POST 503``, ``POST 503 again``    not handled: answered with that status; or as the first under its key was
``POST reset``                      not handled: its connection is lost
``POST page``                       not handled: answered by a proxy, with a page of HTML
``POST lost``, ``POST lost again``  handled: its connection is lost in place of the answer; or of that of the first
``POST cut``                        handled: its connection is lost amid the answer
``POST held``                       handled: its answer is kept back
``POST stuck``                      under way at Codat until the case is over
``GET``                             a check of one push operation; several in a row count as one
``LIST``                            a read of the company's push history
``nothing``                         no request arrives
==================================  ================================================================================

================================  ==================================================================================
how a try ends                    what Airflow makes of it
================================  ==================================================================================
``success``                       the task succeeds, with the XCom of the operation that wrote the record
``..., retry``                    this was raised, or the process killed, and another try follows
``..., failed``                   this was raised, and no other try follows
``deferred``                      the worker is done; the next line is what the trigger sees
``unknown, found ...``            ``CodatWriteOutcomeUnknown``, so no other try follows; it lists push operations of
                                  these statuses; ``a gap``: the history could not be read
================================  ==================================================================================
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import pytest
from airflow import __version__ as airflow_version
from fault_stage import (
    MINUTES,
    Stage,
    Step,
    another_fails,
    another_writes,
    another_wrote,
    clear,
    clear_to_resubmit,
    correct,
    daily,
    deferrable,
    delete_stored,
    down,
    ends,
    forget_on_success,
    given,
    hide_history,
    killed_before_sending,
    killed_once_handled,
    killed_storing,
    killed_waiting,
    later,
    lose_trigger,
    meanwhile,
    one_try,
    plays,
    release,
    replayed,
    restore,
    revoke,
    run,
    short_of_patience,
    slow,
    up,
    with_store,
    without_store,
)
from task_driver import FileStore

try:
    from airflow.sdk.execution_time.context import NEVER_EXPIRE
except ImportError:  # it came with the task state store
    NEVER_EXPIRE = None


@dataclass(frozen=True)
class Seen:
    """What is seen of a case.

    :param tries: a line for each try.
    :param books: the memos of the records in the books.
    :param told: what the last error tells, among other things.
    """

    tries: tuple[str, ...]
    books: str
    told: str


@dataclass(frozen=True)
class Case:
    """A row.

    :param what: what happens, in words.
    :param steps: what happens.
    :param store: what is seen of it where Airflow has a task state store; ``None`` if it cannot happen there.
    :param without: likewise where Airflow has none.
    """

    what: str
    steps: tuple[Step, ...]
    store: Seen | None
    without: Seen | None


def case(
    what: str, steps: list[Step], *, both: Seen | None = None, store: Seen | None = None, without: Seen | None = None
) -> Case:
    return Case(what, tuple(steps), store or both, without or both)


def seen(*tries: str, books: str = "coffee", told: str = "") -> Seen:
    return Seen(tries, books, told)


REFUSALS = {402: "CodatPlanLimitError", 403: "CodatForbiddenError", 404: "CodatNotFoundError"}
CHANGED, AS_IT_WAS, AS_IT_WAS_AND_ANOTHERS = "changed", "as it was", "as it was, and another's"

CREATE = [
    case(
        "nothing goes wrong",
        [run],
        both=seen("POST, GET → success"),
    ),
    # -- the request does not get there, or its answer not back --------------------------------------------------------
    case(
        "the connection is refused at first",
        [down, meanwhile(up), run],
        both=seen("POST, GET → success"),
    ),
    case(
        "the connection is refused for a whole try",
        [down, one_try, up, run],
        both=seen("nothing → CodatConnectionError, retry", "POST, GET → success"),
    ),
    case(
        "the connection is refused in all tries",
        [down, run, up],
        store=seen(
            "nothing → CodatConnectionError, retry",
            "nothing → CodatConnectionError, retry",
            "nothing → CodatConnectionError, failed",
            books="",
        ),
        without=seen(
            "nothing → CodatConnectionError, retry",
            "nothing → CodatConnectionError, retry",
            "nothing → unknown, found a gap",
            books="",
        ),
    ),
    case(
        "the connection is refused in all tries, and the task cleared when it is not",
        [down, run, up, clear, run],
        store=seen(
            "nothing → CodatConnectionError, retry",
            "nothing → CodatConnectionError, retry",
            "nothing → CodatConnectionError, failed",
            "POST, GET → success",
        ),
        without=seen(
            "nothing → CodatConnectionError, retry",
            "nothing → CodatConnectionError, retry",
            "nothing → unknown, found a gap",
            "POST, GET → success",
        ),
    ),
    case(
        "the connection is reset before the write",
        [plays("reset"), run],
        both=seen("POST reset, POST, GET → success"),
    ),
    case(
        "the connection is reset before the write, for a whole try",
        [plays("reset", 5), run],
        both=seen("5x POST reset → CodatConnectionError, retry", "POST, GET → success"),
    ),
    case(
        "the connection is reset before the write, in all tries",
        [plays("reset", None), run],
        both=seen(
            "5x POST reset → CodatConnectionError, retry",
            "5x POST reset → CodatConnectionError, retry",
            "5x POST reset, LIST → unknown, found nothing",
            books="",
        ),
    ),
    case(
        "the connection is reset after the write",
        [plays("reset_after"), run],
        both=seen("POST lost, POST again, GET → success"),
    ),
    case(
        "the connection is reset after the write, for a whole try",
        [plays("reset_after", 5), run],
        both=seen("POST lost, 4x POST lost again → CodatConnectionError, retry", "POST again, GET → success"),
    ),
    case(
        "the connection is reset after the write, in all tries",
        [plays("reset_after", None), run],
        both=seen(
            "POST lost, 4x POST lost again → CodatConnectionError, retry",
            "5x POST lost again → CodatConnectionError, retry",
            "5x POST lost again, LIST → unknown, found Success",
        ),
    ),
    case(
        "the connection is reset after the write, and a gateway refuses to repeat it",
        [plays("reset_after"), plays("gateway", status=400), run],
        both=seen("POST lost, POST 400 → CodatApiError, retry", "POST again, GET → success"),
    ),
    case(
        "the answer breaks off",
        [plays("truncated"), run],
        both=seen("POST cut, POST again, GET → success"),
    ),
    case(
        "the answer comes after the read timeout",
        [short_of_patience, plays("hold"), meanwhile(release), run],
        both=seen("POST held, POST again, GET → success"),
    ),
    case(
        "the answer never comes: 409 in progress from then on",
        [short_of_patience, plays("hold"), run],
        both=seen(
            "POST held, 4x POST 409 → CodatConflictError, retry",
            "5x POST 409 → CodatConflictError, retry",
            "55x POST 409, LIST → unknown, found Success",
        ),
    ),
    case(
        "the write never gets done: 409 in progress from then on",
        [short_of_patience, plays("hang"), run],
        both=seen(
            "POST stuck, 4x POST 409 → CodatConflictError, retry",
            "5x POST 409 → CodatConflictError, retry",
            "55x POST 409, LIST → unknown, found nothing",
            books="",
        ),
    ),
    case(
        "the write never gets done, and the record changed",
        [short_of_patience, plays("hang"), one_try, correct, run],
        both=seen(
            "POST stuck, 4x POST 409 → CodatConflictError, retry",
            "POST 422, LIST → unknown, found nothing",
            books="",
        ),
    ),
    # -- other answers -------------------------------------------------------------------------------------------------
    case(
        "a proxy answers with a page",
        [plays("html"), run],
        both=seen("POST page, POST, GET → success"),
    ),
    case(
        "a proxy answers with a page, for a whole try",
        [plays("html", 5), run],
        both=seen("5x POST page → CodatResponseError, retry", "POST, GET → success"),
    ),
    case(
        "429 without a Retry-After",
        [plays("status", status=429), run],
        both=seen("POST 429, POST, GET → success"),
    ),
    case(
        "429 with a Retry-After",
        [plays("status", status=429, retry_after=20), run],
        both=seen("POST 429, POST, GET → success"),
    ),
    case(
        "429 with a Retry-After beyond the cap",
        [plays("status", status=429, retry_after=3600), run],
        both=seen("POST 429 → CodatRateLimited, retry", "POST, GET → success"),
    ),
    case(
        "429 in all tries",
        [plays("status", None, status=429), run],
        store=seen(
            "5x POST 429 → CodatRateLimited, retry",
            "5x POST 429 → CodatRateLimited, retry",
            "5x POST 429 → CodatRateLimited, failed",
            books="",
        ),
        without=seen(
            "5x POST 429 → CodatRateLimited, retry",
            "5x POST 429 → CodatRateLimited, retry",
            "5x POST 429, LIST → CodatRateLimited, failed",
            books="",
        ),
    ),
    case(
        "500, and the task cleared",
        [replayed(500), run, clear, run],
        both=seen("POST 500, LIST → unknown, found nothing", "POST 500 again, LIST → unknown, found nothing", books=""),
    ),
    case(
        "500, and the task resubmitted, as the user found no record",
        [replayed(500), run, clear_to_resubmit, run],
        both=seen("POST 500, LIST → unknown, found nothing", "POST, GET → success"),
    ),
    *(
        case(
            f"{status} from a gateway",
            [plays("gateway", status=status), run],
            both=seen(f"POST {status}, POST, GET → success"),
        )
        for status in (502, 503, 504)
    ),
    case(
        "503 from a gateway, for a whole try",
        [plays("gateway", 5, status=503), run],
        both=seen("5x POST 503 → CodatServerError, retry", "POST, GET → success"),
    ),
    case(
        "503 from a gateway in all tries, and the task cleared when it is over",
        [plays("gateway", 15, status=503), run, clear, run],
        both=seen(
            "5x POST 503 → CodatServerError, retry",
            "5x POST 503 → CodatServerError, retry",
            "5x POST 503, LIST → unknown, found nothing",
            "POST, GET → success",
        ),
    ),
    case(
        "503 from Codat itself",
        [replayed(503), run],
        both=seen(
            "POST 503, 4x POST 503 again → CodatServerError, retry",
            "5x POST 503 again → CodatServerError, retry",
            "5x POST 503 again, LIST → unknown, found nothing",
            books="",
        ),
    ),
    case(
        "400",
        [replayed(400), run],
        both=seen("POST 400 → CodatApiError, retry", "2x POST 400 again, POST, GET → success"),
    ),
    case(
        "400, and the record corrected",
        [replayed(400), one_try, correct, run],
        store=seen("POST 400 → CodatApiError, retry", "POST 422, POST, GET → success", books="tea"),
        without=seen("POST 400 → CodatApiError, retry", "POST 422, LIST → unknown, found nothing", books=""),
    ),
    case(
        "400, the record corrected, and the task resubmitted, as the user found no record",
        [replayed(400), one_try, correct, run, clear_to_resubmit, run],
        without=seen(
            "POST 400 → CodatApiError, retry",
            "POST 422, LIST → unknown, found nothing",
            "POST, GET → success",
            books="tea",
        ),
    ),
    *(
        case(
            f"{status}, and nothing is wrong any more",
            [replayed(status), run],
            both=seen(f"POST {status} → {error}, retry", f"2x POST {status} again, POST, GET → success"),
        )
        for status, error in REFUSALS.items()
    ),
    case(
        "401, and the API key restored",
        [revoke, one_try, restore, run],
        both=seen("POST 401 → CodatAuthenticationError, retry", "POST, GET → success"),
    ),
    case(
        "401 in all tries, and the task cleared when the API key is restored",
        [revoke, run, restore, clear, run],
        store=seen(
            "POST 401 → CodatAuthenticationError, retry",
            "2x POST 401 → CodatAuthenticationError, retry",
            "2x POST 401 → CodatAuthenticationError, failed",
            "POST, GET → success",
        ),
        without=seen(
            "POST 401 → CodatAuthenticationError, retry",
            "2x POST 401 → CodatAuthenticationError, retry",
            "2x POST 401, LIST 401 → unknown, found a gap",
            "POST, GET → success",
        ),
    ),
    # -- the worker's process is killed --------------------------------------------------------------------------------
    case(
        "killed before anything is stored",
        [killed_storing(1), run],
        store=seen("nothing → killed, retry", "POST, GET → success"),
    ),
    case(
        "killed before sending",
        [killed_before_sending, run],
        both=seen("nothing → killed, retry", "POST, GET → success"),
    ),
    case(
        "killed before sending, and the record corrected",
        [killed_before_sending, correct, run],
        both=seen("nothing → killed, retry", "POST, GET → success", books="tea"),
    ),
    case(
        "killed after sending",
        [killed_once_handled, release, run],
        both=seen("POST held → killed, retry", "POST again, GET → success"),
    ),
    case(
        "killed after sending, and the first request in progress for good",
        [killed_once_handled, run],
        both=seen(
            "POST held → killed, retry",
            "5x POST 409 → CodatConflictError, retry",
            "55x POST 409, LIST → unknown, found Success",
        ),
    ),
    case(
        "killed after sending what then fails",
        [ends("Failed"), killed_once_handled, release, run],
        both=seen("POST held → killed, retry", "POST again, GET, POST, GET → success"),
    ),
    case(
        "killed after sending, and the record changed: there is a now() in a template",
        [killed_once_handled, release, correct, run],
        store=seen("POST held → killed, retry", "POST 422, LIST → unknown, found Success", told="it differs in memo"),
        without=seen(
            "POST held → killed, retry",
            "POST 422, LIST → unknown, found Success",
            told="which fields differ is not known",
        ),
    ),
    case(
        "killed before it is stored that it is sent",
        [killed_storing(2), run],
        store=seen("nothing → killed, retry", "POST, GET → success"),
    ),
    case(
        "killed before the answer is stored",
        [killed_storing(3), run],
        store=seen("POST → killed, retry", "POST again, GET → success"),
    ),
    case(
        "killed after the answer is stored",
        [slow, killed_waiting, run],
        store=seen("POST, GET held → killed, retry", "GET → success"),
        without=seen("POST, GET held → killed, retry", "POST again, GET → success"),
    ),
    case(
        "killed after the answer is stored, and the record changed",
        [slow, killed_waiting, correct, run],
        store=seen("POST, GET held → killed, retry", "GET → success"),
        without=seen("POST, GET held → killed, retry", "POST 422, LIST → unknown, found Pending", books=""),
    ),
    # -- it waits ------------------------------------------------------------------------------------------------------
    case(
        "deferred",
        [slow, deferrable, run],
        both=seen("POST → deferred", "GET → success"),
    ),
    case(
        "deferred, and the trigger lost",
        [slow, deferrable, one_try, lose_trigger, run],
        store=seen("POST → deferred", "nothing → CodatError, retry", "GET → deferred", "GET → success"),
        without=seen("POST → deferred", "nothing → CodatError, retry", "POST again, GET → deferred", "GET → success"),
    ),
    case(
        "deferred, and cleared",
        [slow, deferrable, one_try, clear, run],
        store=seen("POST → deferred", "GET → deferred", "GET → success"),
        without=seen("POST → deferred", "POST again, GET → deferred", "GET → success"),
    ),
    case(
        "the wait times out",
        [slow, given(timeout=10 * MINUTES), run],
        store=seen("POST, GET → CodatWaitTimeout, retry", "GET → success"),
        without=seen("POST, GET → CodatWaitTimeout, retry", "POST again, GET → success"),
    ),
    case(
        "the wait times out, and the record changed",
        [slow, given(timeout=10 * MINUTES), one_try, correct, run],
        store=seen("POST, GET → CodatWaitTimeout, retry", "GET → success"),
        without=seen("POST, GET → CodatWaitTimeout, retry", "POST 422, LIST → unknown, found Pending", books=""),
    ),
    # -- it ends without success ---------------------------------------------------------------------------------------
    case(
        "Failed, and cleared",
        [ends("Failed"), run, clear, run],
        store=seen("POST, GET → CodatPushOperationFailed, failed", "GET, POST, GET → success"),
        without=seen("POST, GET → CodatPushOperationFailed, failed", "POST again, GET, POST, GET → success"),
    ),
    case(
        "Failed, corrected and cleared",
        [ends("Failed"), run, correct, clear, run],
        store=seen("POST, GET → CodatPushOperationFailed, failed", "GET, POST, GET → success", books="tea"),
        without=seen(
            "POST, GET → CodatPushOperationFailed, failed", "POST 422, 2x LIST, POST, GET → success", books="tea"
        ),
    ),
    case(
        "Failed twice, and cleared twice",
        [ends("Failed"), ends("Failed"), run, clear, run, clear, run],
        store=seen(
            "POST, GET → CodatPushOperationFailed, failed",
            "GET, POST, GET → CodatPushOperationFailed, failed",
            "GET, POST, GET → success",
        ),
        without=seen(
            "POST, GET → CodatPushOperationFailed, failed",
            "POST again, GET, POST, GET → CodatPushOperationFailed, failed",
            "POST again, GET, POST again, GET, POST, GET → success",
        ),
    ),
    case(
        "Failed, and cleared; this time the answer is lost for a whole try",
        [ends("Failed"), run, clear, plays("reset_after", 5), run],
        store=seen(
            "POST, GET → CodatPushOperationFailed, failed",
            "GET, POST lost, 4x POST lost again → CodatConnectionError, retry",
            "POST again, GET → success",
        ),
        without=seen(
            "POST, GET → CodatPushOperationFailed, failed",
            "5x POST lost again → CodatConnectionError, retry",
            "POST again, GET, POST, GET → success",
        ),
    ),
    case(
        "TimedOut, and cleared",
        [ends("TimedOut"), run, clear, run],
        store=seen("POST, GET → CodatPushOperationFailed, failed", "GET, LIST → unknown, found TimedOut", books=""),
        without=seen(
            "POST, GET → CodatPushOperationFailed, failed", "POST again, GET, LIST → unknown, found TimedOut", books=""
        ),
    ),
    case(
        "TimedOut but written, and cleared",
        [ends("TimedOut", lands=True), run, clear, run],
        store=seen("POST, GET → CodatPushOperationFailed, failed", "GET, LIST → unknown, found TimedOut"),
        without=seen("POST, GET → CodatPushOperationFailed, failed", "POST again, GET, LIST → unknown, found TimedOut"),
    ),
    # -- it succeeds ---------------------------------------------------------------------------------------------------
    case(
        "success, and cleared",
        [run, clear, run],
        store=seen("POST, GET → success", "GET → success"),
        without=seen("POST, GET → success", "POST again, GET → success"),
    ),
    case(
        "success, and cleared, in the run of a daily DAG",
        [daily, run, clear, run],
        store=seen("POST, GET → success", "GET → success"),
        # Airflow 2 does not tell when the run could begin, so it may be too long ago for a replay.
        without=seen(
            "POST, GET → success",
            "2x LIST, POST again, GET → success" if airflow_version < "3" else "POST again, GET → success",
        ),
    ),
    case(
        "success, the record changed, and cleared",
        [run, correct, clear, run],
        store=seen("POST, GET → success", "GET → success"),
        without=seen("POST, GET → success", "POST 422, LIST → unknown, found Success"),
    ),
    case(
        "success, and cleared to resubmit",
        [run, clear_to_resubmit, run],
        both=seen("POST, GET → success", "POST, GET → success", books="coffee, coffee"),
    ),
    case(
        "success, and cleared to resubmit; this time the answer is lost for a whole try",
        [run, clear_to_resubmit, plays("reset_after", 5), run],
        both=seen(
            "POST, GET → success",
            "POST lost, 4x POST lost again → CodatConnectionError, retry",
            "POST again, GET → success",
            books="coffee, coffee",
        ),
    ),
    case(
        "success, and cleared to resubmit; this time killed after sending",
        [run, clear_to_resubmit, killed_once_handled, release, run],
        both=seen(
            "POST, GET → success", "POST held → killed, retry", "POST again, GET → success", books="coffee, coffee"
        ),
    ),
    case(
        "success, cleared to resubmit, and cleared",
        [run, clear_to_resubmit, run, given(resubmit=False), clear, run],
        store=seen("POST, GET → success", "POST, GET → success", "GET → success", books="coffee, coffee"),
        without=seen("POST, GET → success", "POST, GET → success", "POST again, GET → success", books="coffee, coffee"),
    ),
    case(
        "success, and cleared, where Airflow empties the store on success",
        [forget_on_success, run, clear, run],
        store=seen("POST, GET → success", "POST again, GET → success"),
    ),
    # -- the store comes and goes --------------------------------------------------------------------------------------
    case(
        "success without a store, and cleared with one: Airflow was upgraded",
        [without_store, run, with_store, clear, run],
        store=seen("POST, GET → success", "POST again, GET → success"),
    ),
    case(
        "the answer is lost without a store, and there is one for the retry",
        [without_store, plays("reset_after", 5), one_try, with_store, run],
        store=seen("POST lost, 4x POST lost again → CodatConnectionError, retry", "POST again, GET → success"),
    ),
    case(
        "Failed with a store, the answer is lost without, and there is one again",
        [ends("Failed"), run, without_store, clear, plays("reset_after", 10), one_try, with_store, run],
        store=seen(
            "POST, GET → CodatPushOperationFailed, failed",
            "5x POST lost again → CodatConnectionError, retry",
            "GET, POST lost, 4x POST lost again → CodatConnectionError, retry",
            "POST again, GET, POST again, GET → success",
        ),
    ),
    case(
        "success, and cleared after the user has deleted what was stored",
        [run, delete_stored, clear, run],
        store=seen("POST, GET → success", "POST again, GET → success"),
    ),
    case(
        "success, and cleared after 90 minutes and after the user has deleted what was stored",
        [run, delete_stored, later(90), clear, run],
        store=seen("POST, GET → success", "LIST → unknown, found Success"),
    ),
    # -- a run that was due long before it began -----------------------------------------------------------------------
    case(
        "429 for a whole try, in the run of a daily DAG, a day after another has written a bill",
        [daily, another_wrote(minutes=6 * 60), plays("status", 5, status=429), run],
        both=seen("5x POST 429 → CodatRateLimited, retry", "POST, GET → success", books="juice, coffee"),
    ),
    # -- more than 90 minutes pass, after which Codat no longer knows the key ------------------------------------------
    case(
        "killed before sending, and 90 minutes lost",
        [killed_before_sending, later(90), run],
        both=seen("nothing → killed, retry", "2x LIST, POST, GET → success"),
    ),
    case(
        "killed before sending, and 90 minutes lost, in which another writes a bill",
        [killed_before_sending, another_writes, later(90), run],
        both=seen("nothing → killed, retry", "LIST → unknown, found Success", books="juice"),
    ),
    case(
        "killed before sending, and 90 minutes lost; the push history cannot be read",
        [killed_before_sending, later(90), hide_history, run],
        both=seen("nothing → killed, retry", "LIST 403 → unknown, found a gap", books=""),
    ),
    case(
        "killed after sending, and 90 minutes lost",
        [killed_once_handled, release, later(90), run],
        both=seen("POST held → killed, retry", "LIST → unknown, found Success"),
    ),
    case(
        "killed after the answer is stored, and 90 minutes lost",
        [slow, killed_waiting, later(90), run],
        store=seen("POST, GET held → killed, retry", "GET → success"),
        without=seen("POST, GET held → killed, retry", "LIST → unknown, found Success"),
    ),
    case(
        "Failed, corrected and cleared after 90 minutes",
        [ends("Failed"), run, later(90), correct, clear, run],
        store=seen("POST, GET → CodatPushOperationFailed, failed", "GET, POST, GET → success", books="tea"),
        without=seen("POST, GET → CodatPushOperationFailed, failed", "2x LIST, POST, GET → success", books="tea"),
    ),
    case(
        "500, and cleared after 90 minutes",
        [replayed(500), run, later(90), clear, run],
        both=seen("POST 500, LIST → unknown, found nothing", "2x LIST, POST, GET → success"),
    ),
    case(
        "success, and cleared after 90 minutes",
        [run, later(90), clear, run],
        store=seen("POST, GET → success", "GET → success"),
        without=seen("POST, GET → success", "LIST → unknown, found Success"),
    ),
    case(
        "success, and cleared after 90 minutes, where Airflow empties the store on success",
        [forget_on_success, run, later(90), clear, run],
        store=seen("POST, GET → success", "LIST → unknown, found Success"),
    ),
]

CHANGE = [
    case(
        "nothing goes wrong",
        [run],
        both=seen("WRITE, GET → success", books=CHANGED),
    ),
    # -- it cannot have been done, so it is sent again -----------------------------------------------------------------
    case(
        "the connection is refused at first",
        [down, meanwhile(up), run],
        both=seen("WRITE, GET → success", books=CHANGED),
    ),
    case(
        "the connection is refused for a whole try",
        [down, one_try, up, run],
        store=seen("nothing → CodatConnectionError, retry", "WRITE, GET → success", books=CHANGED),
        without=seen("nothing → CodatConnectionError, retry", "2x LIST, WRITE, GET → success", books=CHANGED),
    ),
    case(
        "429",
        [plays("status", status=429), run],
        both=seen("WRITE 429, WRITE, GET → success", books=CHANGED),
    ),
    case(
        "429 in all tries",
        [plays("status", None, status=429), run],
        store=seen(
            "5x WRITE 429 → CodatRateLimited, retry",
            "5x WRITE 429 → CodatRateLimited, retry",
            "5x WRITE 429 → CodatRateLimited, failed",
            books=AS_IT_WAS,
        ),
        without=seen(
            "5x WRITE 429 → CodatRateLimited, retry",
            "2x LIST, 5x WRITE 429 → CodatRateLimited, retry",
            "2x LIST, 5x WRITE 429 → CodatRateLimited, failed",
            books=AS_IT_WAS,
        ),
    ),
    *(
        case(
            f"{status}, and nothing is wrong any more",
            [plays("status", status=status), run],
            store=seen(f"WRITE {status} → {error}, retry", "WRITE, GET → success", books=CHANGED),
            without=seen(f"WRITE {status} → {error}, retry", "2x LIST, WRITE, GET → success", books=CHANGED),
        )
        for status, error in {**REFUSALS, 400: "CodatApiError", 409: "CodatConflictError"}.items()
    ),
    case(
        "401, and the API key restored",
        [revoke, one_try, restore, run],
        store=seen("WRITE 401 → CodatAuthenticationError, retry", "WRITE, GET → success", books=CHANGED),
        without=seen("WRITE 401 → CodatAuthenticationError, retry", "2x LIST, WRITE, GET → success", books=CHANGED),
    ),
    # -- it may have been done, so it is not sent again ----------------------------------------------------------------
    case(
        "the connection is reset before the write",
        [plays("reset"), run],
        both=seen("WRITE reset, LIST → unknown, found nothing", books=AS_IT_WAS),
    ),
    case(
        "the connection is reset after the write",
        [plays("reset_after"), run],
        both=seen("WRITE lost, LIST → unknown, found Success", books=CHANGED),
    ),
    case(
        "the answer breaks off",
        [plays("truncated"), run],
        both=seen("WRITE cut, LIST → unknown, found Success", books=CHANGED),
    ),
    case(
        "the answer comes after the read timeout",
        [short_of_patience, plays("hold"), run, release],
        both=seen("WRITE held, LIST → unknown, found Success", books=CHANGED),
    ),
    case(
        "the write takes longer than the read timeout",
        [short_of_patience, plays("hang"), run],
        both=seen("WRITE stuck, LIST → unknown, found nothing", books=AS_IT_WAS),
    ),
    case(
        "a proxy answers with a page",
        [plays("html"), run],
        both=seen("WRITE page, LIST → unknown, found nothing", books=AS_IT_WAS),
    ),
    *(
        case(
            f"{status}",
            [plays("gateway", status=status), run],
            both=seen(f"WRITE {status}, LIST → unknown, found nothing", books=AS_IT_WAS),
        )
        for status in (500, 502, 503, 504)
    ),
    case(
        "the answer is lost, and the task cleared",
        [plays("reset_after"), run, clear, run],
        both=seen("WRITE lost, LIST → unknown, found Success", "LIST → unknown, found Success", books=CHANGED),
    ),
    case(
        "503, and the task cleared",
        [plays("gateway", status=503), run, clear, run],
        both=seen("WRITE 503, LIST → unknown, found nothing", "2x LIST, WRITE, GET → success", books=CHANGED),
    ),
    case(
        "503, and the task resubmitted, as the user found no change",
        [plays("gateway", status=503), run, clear_to_resubmit, run],
        both=seen("WRITE 503, LIST → unknown, found nothing", "WRITE, GET → success", books=CHANGED),
    ),
    # -- the worker's process is killed --------------------------------------------------------------------------------
    case(
        "killed before anything is stored",
        [killed_storing(1), run],
        store=seen("nothing → killed, retry", "2x LIST, WRITE, GET → success", books=CHANGED),
    ),
    case(
        "killed before it is stored that it is sent",
        [killed_storing(2), run],
        store=seen("nothing → killed, retry", "WRITE, GET → success", books=CHANGED),
    ),
    case(
        "killed before sending",
        [killed_before_sending, run],
        both=seen("nothing → killed, retry", "2x LIST, WRITE, GET → success", books=CHANGED),
    ),
    case(
        "killed before sending, while another writes a bill",
        [killed_before_sending, another_writes, run],
        both=seen("nothing → killed, retry", "LIST → unknown, found Success", books=AS_IT_WAS_AND_ANOTHERS),
    ),
    case(
        "killed after sending",
        [killed_once_handled, release, run],
        both=seen("WRITE held → killed, retry", "LIST → unknown, found Success", books=CHANGED),
    ),
    case(
        "killed before the answer is stored",
        [killed_storing(3), run],
        store=seen("WRITE → killed, retry", "LIST → unknown, found Success", books=CHANGED),
    ),
    case(
        "killed after the answer is stored",
        [slow, killed_waiting, run],
        store=seen("WRITE, GET held → killed, retry", "GET → success", books=CHANGED),
        without=seen("WRITE, GET held → killed, retry", "LIST → unknown, found Pending", books=AS_IT_WAS),
    ),
    # -- it waits, and ends --------------------------------------------------------------------------------------------
    case(
        "deferred, and the trigger lost",
        [slow, deferrable, one_try, lose_trigger, run],
        store=seen("WRITE → deferred", "nothing → CodatError, retry", "GET → deferred", "GET → success", books=CHANGED),
        without=seen(
            "WRITE → deferred", "nothing → CodatError, retry", "LIST → unknown, found Pending", books=AS_IT_WAS
        ),
    ),
    case(
        "deferred, and cleared",
        [slow, deferrable, one_try, clear, run],
        store=seen("WRITE → deferred", "GET → deferred", "GET → success", books=CHANGED),
        without=seen("WRITE → deferred", "LIST → unknown, found Pending", books=AS_IT_WAS),
    ),
    case(
        "Failed, and cleared",
        [ends("Failed"), run, clear, run],
        store=seen("WRITE, GET → CodatPushOperationFailed, failed", "GET, WRITE, GET → success", books=CHANGED),
        without=seen("WRITE, GET → CodatPushOperationFailed, failed", "2x LIST, WRITE, GET → success", books=CHANGED),
    ),
    case(
        "Failed, and cleared; this time the answer is lost",
        [ends("Failed"), run, clear, plays("reset_after"), run],
        store=seen(
            "WRITE, GET → CodatPushOperationFailed, failed",
            "GET, WRITE lost, LIST → unknown, found Success and Failed",
            books=CHANGED,
        ),
    ),
    case(
        "TimedOut, and cleared",
        [ends("TimedOut"), run, clear, run],
        store=seen(
            "WRITE, GET → CodatPushOperationFailed, failed", "GET, LIST → unknown, found TimedOut", books=AS_IT_WAS
        ),
        without=seen(
            "WRITE, GET → CodatPushOperationFailed, failed", "LIST → unknown, found TimedOut", books=AS_IT_WAS
        ),
    ),
    case(
        "success, and cleared",
        [run, clear, run],
        store=seen("WRITE, GET → success", "GET → success", books=CHANGED),
        without=seen("WRITE, GET → success", "LIST → unknown, found Success", books=CHANGED),
    ),
]


@pytest.fixture
def stage(codat_simulator, clock, connect, monkeypatch, tmp_path):
    """Return a function that sets a stage, for an operation and an Airflow with a store or without."""

    def set_stage(operation: str, *, with_store: bool) -> Stage:
        store = FileStore(tmp_path / "store.json") if with_store else None
        return Stage(codat_simulator, clock, connect, monkeypatch, operation, store)

    return set_stage


WORLDS = {"store": True, "without": False} if NEVER_EXPIRE else {"without": False}


def in_each_world(cases: list[Case]) -> list[Any]:
    """Return the rows' cells: what is done, whether there is a store, and what is seen."""
    return [
        pytest.param(each.steps, with_store, getattr(each, world), id=f"{each.what} ({world})")
        for each in cases
        for world, with_store in WORLDS.items()
        if getattr(each, world) is not None
    ]


def check(stage: Stage, expected: Seen) -> None:
    assert stage.seen == list(expected.tries)
    assert stage.books == expected.books
    assert expected.told in str(stage.task.history[-1].error)
    assert stage.written() <= stage.wanted


@pytest.mark.parametrize(("steps", "with_store", "expected"), in_each_world(CREATE))
def test_create(stage, logged, steps, with_store, expected):
    create = stage("create", with_store=with_store)
    for step in steps:
        step(create)
    check(create, expected)
    assert "coffee" not in logged()


@pytest.mark.parametrize("operation", ["update", "delete"])
@pytest.mark.parametrize(("steps", "with_store", "expected"), in_each_world(CHANGE))
def test_change(stage, logged, operation, steps, with_store, expected):
    change = stage(operation, with_store=with_store)
    for step in steps:
        step(change)
    tries = tuple(line.replace("WRITE", change.method) for line in expected.tries)
    changed = "coffee" if operation == "update" else ""
    books = {AS_IT_WAS: "water", AS_IT_WAS_AND_ANOTHERS: "water, juice", CHANGED: changed}[expected.books]
    check(change, replace(expected, tries=tries, books=books))
    assert "coffee" not in logged()


MISHAPS = [
    plays("reset"),
    plays("reset", 5),
    plays("reset_after", 2),
    plays("reset_after", 5),
    plays("truncated", 5),
    plays("html", 5),
    plays("gateway", 5, status=503),
    plays("gateway", status=400),
    plays("status", status=429, retry_after=3600),
    replayed(400),
    replayed(403),
    replayed(500),
    replayed(503),
    ends("Failed"),
    ends("TimedOut"),
    ends("TimedOut", lands=True),
    slow,
    correct,
    later(30),
    later(76),
    later(90),
    killed_before_sending,
    another_writes,
    another_fails,
]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("with_store", WORLDS.values(), ids=WORLDS)
def test_no_order_of_mishaps_writes_twice(stage, with_store, seed):
    dice = random.Random(seed)  # noqa: S311 - a simulation, not a secret
    create = stage("create", with_store=with_store)
    for _ in range(8):
        for step in (*dice.sample(MISHAPS, 2), one_try):
            step(create)
            if create.task.is_over:
                clear(create)
    assert create.written() <= 1
