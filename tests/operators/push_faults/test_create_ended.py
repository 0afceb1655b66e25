"""Creates that have ended, and are cleared or come long after. The legend is in ``support/fault_cases.py``."""

from airflow import __version__ as airflow_version
from fault_cases import case, in_each_world, seen
from fault_stage import (
    another_writes,
    another_wrote,
    clear,
    clear_to_resubmit,
    correct,
    daily,
    delete_stored,
    ends,
    forget_on_success,
    given,
    hide_history,
    killed_before_sending,
    killed_once_handled,
    killed_waiting,
    later,
    one_try,
    plays,
    release,
    replayed,
    run,
    slow,
    with_store,
    without_store,
)

CASES = [
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
        # Airflow 2 does not say when the run could begin, so it may be too long ago for a replay.
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


@in_each_world(CASES)
def test_create(play, steps, with_store, expected):
    play("create", with_store, steps, expected)
