"""Creates whose request or whose answer is lost. The legend is in ``support/fault_cases.py``."""

from fault_cases import case, in_each_world, seen
from fault_stage import clear, correct, down, meanwhile, one_try, plays, release, run, short_of_patience, up

CASES = [
    case(
        "nothing goes wrong",
        [run],
        both=seen("POST, GET → success"),
    ),
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
]


@in_each_world(CASES)
def test_create(play, steps, with_store, expected):
    play("create", with_store, steps, expected)
