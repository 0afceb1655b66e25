"""Creates whose worker is killed, or whose wait breaks off. The legend is in ``support/fault_cases.py``."""

from fault_cases import case, in_each_world, seen
from fault_stage import (
    MINUTES,
    clear,
    correct,
    deferrable,
    ends,
    given,
    killed_before_sending,
    killed_once_handled,
    killed_storing,
    killed_waiting,
    lose_trigger,
    one_try,
    release,
    run,
    slow,
)

CASES = [
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
        store=seen("POST held → killed, retry", "POST 422, LIST → unknown, found Success", says="it differs in memo"),
        without=seen(
            "POST held → killed, retry",
            "POST 422, LIST → unknown, found Success",
            says="which fields differ is not known",
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
]


@in_each_world(CASES)
def test_create(play, steps, with_store, expected):
    play("create", with_store, steps, expected)
