"""Answers as values: every status to its error, every header to a value or nothing."""

import contextlib
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_codat.api import errors
from airflow_provider_codat.api.http.request import Request
from airflow_provider_codat.api.http.response import RateLimit, Response, parse_datetime, parse_retry_after, read

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
REQUEST = Request("GET", "/companies/c", lambda body: body)
STATUSES = {
    400: errors.CodatApiError,
    401: errors.CodatAuthenticationError,
    402: errors.CodatPlanLimitError,
    403: errors.CodatForbiddenError,
    404: errors.CodatNotFoundError,
    405: errors.CodatApiError,
    409: errors.CodatConflictError,
    418: errors.CodatApiError,
    422: errors.CodatApiError,
    429: errors.CodatRateLimited,
    500: errors.CodatServerError,
    501: errors.CodatServerError,
    502: errors.CodatServerError,
    503: errors.CodatServerError,
    504: errors.CodatServerError,
    599: errors.CodatServerError,
}
BODY = {
    "statusCode": 400,
    "service": "PublicApi",
    "error": "Error processing request",
    "correlationId": "trace-1",
    "validation": {
        "errors": [
            {"itemId": "lineItems[0].quantity", "message": "must be positive", "validatorName": "Quantity"},
            {"itemId": None, "message": "is not balanced", "validatorName": None},
            "garbage",
        ],
        "warnings": [],
    },
    "canBeRetried": "Unknown",
    "detailedErrorCode": 0,
}


def answer(status, body=b"", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def error_of(response):
    with pytest.raises(errors.CodatError) as raised:
        read(REQUEST, response, NOW)
    return raised.value


@pytest.mark.parametrize(("status", "kind"), STATUSES.items())
def test_every_status_has_its_error_with_all_codat_said(status, kind):
    error = error_of(answer(status, BODY))
    assert type(error) is kind
    assert error.status_code == status
    assert error.error == "Error processing request"
    assert error.request == "GET /companies/c"
    assert error.correlation_id == "trace-1"
    assert error.can_be_retried == "Unknown"
    assert [str(item) for item in error.validation] == ["lineItems[0].quantity: must be positive", "is not balanced"]


def test_an_error_reads_well_in_a_log():
    assert str(error_of(answer(400, BODY))).splitlines() == [
        "Codat answered 400 to GET /companies/c: Error processing request",
        "  lineItems[0].quantity: must be positive",
        "  is not balanced",
        "(correlation id trace-1)",
    ]


@pytest.mark.parametrize(
    ("body", "text"),
    {
        b"": "no error text",
        b"<html>\n<h1>Bad  gateway</h1>": "<html> <h1>Bad gateway</h1>",
        b"\xff\xfe": "\N{REPLACEMENT CHARACTER}" * 2,
        b"x" * 1000: "x" * 200,
        b'["a list"]': '["a list"]',
        b'{"error": null}': "no error text",
        b'{"error": {"code": 7}}': "{'code': 7}",
        b'{"error": "e", "validation": 7}': "e",
        b'{"error": "e", "validation": {"errors": {}}}': "e",
        b"[" * 100_000: "[" * 200,
    }.items(),
    ids=["empty", "html", "binary", "long", "list", "null", "object", "validation 7", "errors no list", "deep"],
)
def test_an_error_body_that_is_not_codats_still_makes_the_statuss_error(body, text):
    error = error_of(answer(502, body))
    assert (type(error), error.error, error.validation) == (errors.CodatServerError, text, ())


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (answer(200, b"<html>", content_type="text/html"), r"body that is not JSON \(text/html, 6 bytes\)"),
        (answer(200, b'{"id": '), r"body that is not JSON \(no content type, 7 bytes\)"),
        (answer(200, b"\xff\xff"), "not JSON"),
        (answer(200, b"[" * 100_000), "not JSON"),
    ],
    ids=["html", "truncated", "binary", "deep"],
)
def test_an_unreadable_answer_is_a_response_error_that_names_the_request(response, reason):
    error = error_of(response)
    assert type(error) is errors.CodatResponseError
    assert str(error).startswith("GET /companies/c was answered with")
    assert re.search(reason, str(error))


@pytest.mark.parametrize("status", [301, 304, 399])
def test_a_redirect_is_an_error_that_says_what_to_do(status):
    error = error_of(answer(status, b"<html>"))
    assert (type(error), error.status_code) == (errors.CodatApiError, status)
    assert "Redirects are not followed" in str(error)
    assert "check the host of the connection" in str(error)


@pytest.mark.parametrize(("body", "value"), [(b"", None), (b" \n", None), (b"null", None), (b'{"a": 1}', {"a": 1})])
def test_a_body_is_decoded_and_an_empty_one_is_none(body, value):
    assert read(REQUEST, answer(200, body), NOW) == value


@given(
    st.integers(200, 599),
    st.binary(max_size=60),
    st.dictionaries(st.sampled_from(["retry-after", "x-rate-limit-reset"]), st.text()),
)
def test_nothing_but_codat_errors_comes_of_any_answer(status, body, headers):
    with contextlib.suppress(errors.CodatError):
        read(REQUEST, Response(status, headers, body), NOW)


RETRY_AFTER = {
    None: None,
    "": None,
    "soon": None,
    "1.5": 1.5,
    "3.2": 3.2,
    "0.04": 0.04,
    " +3 ": 3,
    "3.": 3,
    ".5": 0.5,
    "3.20000000000000018": 3.2,
    "nan": None,
    "inf": None,
    "1e3": None,
    "0x10": None,
    "1_0": None,
    "3,2": None,
    "3.2.1": None,
    "3 s": None,
    "0": 0,
    "120": 120,
    " 120 ": 120,
    "-5": None,
    "-0.5": None,
    "9" * 15: None,
    "9" * 30: None,
    "9" * 5000: None,
    "Sat, 21 Nov 2026 12:01:00 GMT": 60,
    "Saturday, 21-Nov-26 12:01:00 GMT": 60,
    "Sat Nov 21 12:01:00 2026": 60,
    "Sat, 21 Nov 2026 11:00:00 GMT": 0,
    "Sat, 21 Nov 2099 11:00:00 GMT": None,
    "2026-11-21T12:01:00Z": 60,
    "2026-11-21T13:01:00+01:00": 60,
    "2026-11-21T12:01:00": 60,
    "\u0663": None,
}


@pytest.mark.parametrize(("value", "seconds"), RETRY_AFTER.items(), ids=lambda value: str(value)[:40])
def test_retry_after_is_seconds_from_now_or_nothing(value, seconds):
    assert parse_retry_after(value, NOW) == seconds


HEADERISH = st.text() | st.from_regex(r"[A-Za-z]{3}, [0-9]{1,3} [A-Za-z]{3} [0-9]{1,5} [0-9:]{1,9} [-+A-Z0-9]{1,6}")


@given(HEADERISH | st.integers().map(str) | st.datetimes().map(datetime.isoformat))
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("0001-01-01T00:00:00+23:59")
def test_no_header_makes_a_wait_raise_or_run_backwards(value):
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= 10**9


@given(HEADERISH | st.none() | st.integers())
def test_no_text_makes_a_time_raise_or_lack_a_zone(value):
    parsed = parse_datetime(value)
    assert parsed is None or parsed.utcoffset() == timedelta(0)


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30)), st.integers(-23, 23))
def test_a_time_is_read_back_from_either_form(moment, hours):
    moment = moment.replace(microsecond=0, tzinfo=timezone(timedelta(hours=hours)))
    assert parse_datetime(moment.isoformat()) == moment
    assert parse_datetime(format_datetime(moment)) == moment


@pytest.mark.parametrize("status", [408, 409, 425, 429, 503])
def test_a_retry_after_is_carried_by_the_error(status):
    error = error_of(answer(status, BODY, retry_after="Sat, 21 Nov 2026 12:02:00 GMT"))
    assert error.retry_after == 120


def test_a_used_up_quota_says_when_it_resets():
    error = error_of(answer(429, BODY, retry_after="90", x_rate_limit_reset="2026-11-22T00:00:00Z"))
    assert error.reset_at == datetime(2026, 11, 22, tzinfo=UTC)
    assert str(error).endswith("; retry after 90 s; the quota resets at 2026-11-22T00:00:00+00:00")
    assert error_of(answer(429)).retry_after is None


@pytest.mark.parametrize(("value", "words"), {"0.04": "0.04 s", "3.2": "3.2 s", "1234567": "1234567 s"}.items())
def test_the_wait_a_rate_limit_asks_for_is_said_exactly(value, words):
    assert str(error_of(answer(429, retry_after=value))).endswith(f"; retry after {words}")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, (None, None, None)),
        (
            {"x-rate-limit-limit": "1000", "x-rate-limit-remaining": "7", "x-rate-limit-reset": "2026-11-22T00:00:00Z"},
            (1000, 7, datetime(2026, 11, 22, tzinfo=UTC)),
        ),
        ({"x-rate-limit-reset": "1795305600"}, (None, None, datetime(2026, 11, 22, tzinfo=UTC))),
        ({"x-rate-limit-limit": "many", "x-rate-limit-remaining": "", "x-rate-limit-reset": "tomorrow"}, (None,) * 3),
        ({"x-rate-limit-reset": "9" * 30}, (None,) * 3),
        (
            {"x-rate-limit-limit": "1000.0", "x-rate-limit-remaining": " +7 ", "x-rate-limit-reset": "1795305600.0"},
            (1000, 7, datetime(2026, 11, 22, tzinfo=UTC)),
        ),
        ({"x-rate-limit-limit": "9" * 400, "x-rate-limit-remaining": "9" * 400}, (None,) * 3),
    ],
    ids=["none", "all", "unix time", "unreadable", "beyond all time", "fractions", "beyond all floats"],
)
def test_the_rate_limit_is_what_the_headers_say(headers, expected):
    assert RateLimit.from_headers(headers) == RateLimit(*expected)


def test_a_content_type_that_repeats_the_key_is_shown_without_it():
    with pytest.raises(errors.CodatResponseError, match=r"not JSON \(text/\*\*\*, 1 bytes\)"):
        read(REQUEST, Response(200, {"content-type": "text/the-key"}, b"<", ["the-key"]), NOW)


@pytest.mark.parametrize("depth", [100, 900, 5000, 100_000])
def test_an_error_of_any_depth_is_an_error_of_its_status(depth):
    body = f'{{"error": {"[" * depth}"the-key"{"]" * depth}}}'.encode()
    with pytest.raises(errors.CodatApiError) as raised:
        read(REQUEST, Response(500, {}, body, ["the-key"]), NOW)
    assert "the-key" not in str(raised.value)
