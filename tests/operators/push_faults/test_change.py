"""Updates and deletions. The legend is in ``support/fault_cases.py``."""

from dataclasses import replace

import pytest
from fault_cases import REFUSALS, case, in_each_world, seen
from fault_stage import (
    METHODS,
    another_writes,
    clear,
    clear_to_resubmit,
    deferrable,
    down,
    ends,
    killed_before_sending,
    killed_once_handled,
    killed_storing,
    killed_waiting,
    lose_trigger,
    meanwhile,
    one_try,
    plays,
    release,
    restore,
    revoke,
    run,
    short_of_patience,
    slow,
    up,
)

CHANGED, AS_IT_WAS, AS_IT_WAS_AND_ANOTHERS = "changed", "as it was", "as it was, and another's"

CASES = [
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


@pytest.mark.parametrize("operation", ["update", "delete"])
@in_each_world(CASES)
def test_change(play, operation, steps, with_store, expected):
    tries = tuple(line.replace("WRITE", METHODS[operation]) for line in expected.tries)
    changed = "coffee" if operation == "update" else ""
    books = {AS_IT_WAS: "water", AS_IT_WAS_AND_ANOTHERS: "water, juice", CHANGED: changed}[expected.books]
    play(operation, with_store, steps, replace(expected, tries=tries, books=books))
