"""Creates that are answered with an error. The legend is in ``support/fault_cases.py``."""

from fault_cases import REFUSALS, case, in_each_world, seen
from fault_stage import clear, clear_to_resubmit, correct, one_try, plays, replayed, restore, revoke, run

CASES = [
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
]


@in_each_world(CASES)
def test_create(play, steps, with_store, expected):
    play("create", with_store, steps, expected)
