"""The Airflow connection: every form it may take, and every mistake named without showing the key."""

import base64
import json
import traceback

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_codat.api.http.retry import RetryPolicy
from airflow_provider_codat.exceptions import CodatInputError
from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.hooks.connection import is_loopback, read_api_key, read_base_url, read_connection
from airflow_provider_codat.hooks.form import DEFAULT_HOST, EXTRA_FIELDS

KEY = "n4Qv8-top-secret"
BASE64 = base64.b64encode(KEY.encode()).decode()


def read(extra=None, *, host=None, schema=None, port=None, password=KEY):
    return read_connection("my_codat", host=host, schema=schema, port=port, password=password, extra=extra or {})


# -- the key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "password", [KEY, f" {KEY}\n", f"Basic {BASE64}", f"basic {BASE64}", f"  Basic   {BASE64} "], ids=str
)
def test_the_password_is_the_key_or_the_ready_made_header(password):
    settings = read(password=password)
    assert settings.authorization == f"Basic {BASE64}"
    assert settings.secrets == (f"Basic {BASE64}", BASE64, KEY)


def test_a_key_that_begins_like_the_header_is_still_a_key():
    assert read_api_key("BasicKey") == "Basic " + base64.b64encode(b"BasicKey").decode()


MALFORMED_PASSWORDS = {
    "none": (None, "is empty"),
    "empty": ("", "is empty"),
    "blank": ("  ", "is empty"),
    "a line break inside": (f"{KEY}\n{KEY}", "control characters"),
    "header injection": (f"{KEY}\r\nX: y", "control characters"),
    "header of no base64": (f"Basic {KEY}", "not base64"),
    "header cut short": (f"Basic {BASE64[:-1]}", "not base64"),
    "header of other letters": ("Basic ключ", "not base64"),
    "header of no text": ("Basic /w==", "not base64"),
    "header without a key": ("Basic", "not base64"),
    "header of an empty key": ("Basic ", "not base64"),
}


@pytest.mark.parametrize(("password", "reason"), MALFORMED_PASSWORDS.values(), ids=MALFORMED_PASSWORDS)
def test_a_malformed_password_is_refused_without_being_shown(password, reason):
    with pytest.raises(CodatInputError, match=f"^connection 'my_codat': the password .*{reason}") as raised:
        read(password=password)
    shown = "".join(traceback.format_exception(raised.value))
    assert KEY not in shown
    assert BASE64[:-1] not in shown


@given(st.text(min_size=1))
def test_any_key_becomes_a_header_of_plain_ascii_or_is_refused(password):
    try:
        header = read_api_key(password)
    except CodatInputError:
        return
    scheme, _, encoded = header.partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded, validate=True).decode()


# -- the address -------------------------------------------------------------------------------------------------------

ADDRESSES = {
    # host, schema, port, allow_http: the base URL
    (None, None, None, False): DEFAULT_HOST,
    ("", None, None, False): DEFAULT_HOST,
    ("  ", "https", None, False): DEFAULT_HOST,
    ("https://api.codat.io", None, None, False): DEFAULT_HOST,
    ("https://api.codat.io/", None, None, False): DEFAULT_HOST,
    ("HTTPS://API.codat.io", None, None, False): DEFAULT_HOST,
    ("api.codat.io", None, None, False): DEFAULT_HOST,
    ("api.codat.io", "https", 443, False): f"{DEFAULT_HOST}:443",
    ("api.codat.io:8443", None, None, False): f"{DEFAULT_HOST}:8443",
    ("https://api.codat.io:8443", "http", 9, False): f"{DEFAULT_HOST}:8443",
    ("https://gateway.example/codat/", None, None, False): "https://gateway.example/codat",
    ("gateway.example/codat", None, 8443, False): "https://gateway.example:8443/codat",
    ("http://127.0.0.1:8080", None, None, False): "http://127.0.0.1:8080",
    ("127.0.0.1", "http", 8080, False): "http://127.0.0.1:8080",
    ("localhost:8080", "http", None, False): "http://localhost:8080",
    ("http://[::1]:8080", None, None, False): "http://[::1]:8080",
    ("http://127.9.9.9", None, None, False): "http://127.9.9.9",
    ("http://gateway.example", None, None, True): "http://gateway.example",
    ("gateway.example", "http", 80, True): "http://gateway.example:80",
    ("https://gateway_1.example", None, None, False): "https://gateway_1.example",
}
REFUSED_ADDRESSES = {
    ("http://api.codat.io", None): "is not https",
    ("api.codat.io", "http"): "is not https",
    ("http://10.0.0.7", None): "is not https",
    ("http://0.0.0.0", None): "is not https",
    ("http://localhost.example", None): "is not https",
    ("http://127.0.0.1.example", None): "is not https",
    ("ftp://api.codat.io", None): "is not the address of an API",
    ("file:///etc/passwd", None): "is not the address of an API",
    ("api.codat.io", "ftp"): "is not the address of an API",
    ("https://", None): "is not the address of an API",
    ("https://:8443", None): "is not the address of an API",
    ("https://api.codat.io:port", None): "is not the address of an API",
    ("https://api.codat.io:99999", None): "is not the address of an API",
    ("https://api.codat.io?a=b", None): "is not the address of an API",
    ("https://api.codat.io#a", None): "is not the address of an API",
    ("https://[::1", None): "is not the address of an API",
    ("https://api..codat.io", None): "is not the address of an API",
    (f"https://{'a' * 64}.io", None): "is not the address of an API",
    ("https://[::1::2]", None): "is not the address of an API",
    ("https://g\u00e4teway.example", None): "is not the address of an API",
    ("https://api.codat.io/a\x00b", None): "is not the address of an API",
    ("https://api codat.io", None): "is not the address of an API",
    ("https://api.codat.io\\evil.example", None): "is not the address of an API",
    ("https://api.codat.io\u2100evil.example", None): "is not the address of an API",
}


@pytest.mark.parametrize(("given_", "base_url"), ADDRESSES.items(), ids=str)
def test_host_schema_and_port_make_the_base_url(given_, base_url):
    host, schema, port, allow_http = given_
    assert read({"allow_http": allow_http}, host=host, schema=schema, port=port).base_url == base_url


@pytest.mark.parametrize(("given_", "reason"), REFUSED_ADDRESSES.items(), ids=str)
def test_an_address_that_will_not_do_is_refused_and_shown(given_, reason):
    host, schema = given_
    with pytest.raises(CodatInputError, match=f"^connection 'my_codat': host .*{reason}") as raised:
        read(host=host, schema=schema)
    assert repr(host)[1:] in str(raised.value)


def test_an_address_with_a_user_is_refused_and_not_shown():
    with pytest.raises(CodatInputError, match="the host is not the address") as raised:
        read(host=f"https://user:{KEY}@api.codat.io")
    assert KEY not in "".join(traceback.format_exception(raised.value))


@given(st.text() | st.from_regex(r"(https?://)?[\[\]a-z0-9.:@\\/%-]{1,30}"), st.none() | st.text(max_size=6))
@example("https://[::1", None)
@example("https://a\u2100b", None)
def test_any_other_text_is_an_address_or_refused(host, schema):
    try:
        base_url = read_base_url(host, schema, None, allow_http=False)
    except CodatInputError:
        return
    assert base_url.startswith(("https://", "http://127.", "http://localhost", "http://[::1]", "http://[0"))
    assert not set("?#@\\ ") & set(base_url.partition("://")[2].partition("/")[0])


@pytest.mark.parametrize(
    ("name", "loopback"),
    [("localhost", True), ("LOCALHOST", True), ("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("a", False)],  # noqa: S104
)
def test_what_is_this_machine(name, loopback):
    assert is_loopback(name) is loopback


# -- the extra ---------------------------------------------------------------------------------------------------------

DEFAULTS = {
    "connect_timeout": 10,
    "read_timeout": 60,
    "max_attempts": 5,
    "max_retry_wait": 60,
    "retry_for": 120,
    "requests_per_minute": 900,
    "max_concurrent_requests": 10,
    "sync_schedule_shape": None,
}
GOOD_EXTRAS = [
    ("connect_timeout", 0.5, 0.5),
    ("connect_timeout", "2.5", 2.5),
    ("read_timeout", 7, 7),
    ("read_timeout", " 7 ", 7),
    ("max_attempts", 1, 1),
    ("max_attempts", "3", 3),
    ("max_attempts", 3.0, 3),
    ("max_retry_wait", 0, 0),
    ("retry_for", "300", 300),
    ("max_retry_wait", "0", 0),
    ("requests_per_minute", "10", 10),
    ("max_concurrent_requests", 1, 1),
    ("sync_schedule_shape", "object", "object"),
    ("sync_schedule_shape", "integer", "integer"),
    *((name, empty, default) for name, default in DEFAULTS.items() for empty in (None, "")),
]
BAD_EXTRAS = [
    *(
        (name, value, "seconds, a number above 0")
        for name in ("connect_timeout", "read_timeout")
        for value in (0, -1, "soon", True, [5], {"s": 5}, "nan", "inf", "1e999", 10**400)
    ),
    *(("max_attempts", value, "a whole number of 1 or more") for value in (0, -1, 1.5, "two", True, [], {}, "inf")),
    *(("requests_per_minute", value, "a whole number of 10 or more") for value in (9, 0, "fast", True, 60.5)),
    *(("max_concurrent_requests", value, "a whole number of 1 or more") for value in (0, "many", False, 1.5)),
    *(
        (name, value, "seconds, a number of 0 or more")
        for name in ("max_retry_wait", "retry_for")
        for value in (-1, "-0.1", "long", False, [1])
    ),
    *(("sync_schedule_shape", value, "'integer' or 'object'") for value in ("Object", "int", 1, True, [], ["object"])),
    *(("allow_http", value, "true or false") for value in ("yes", "1", 1, 0, [], {})),
]


def setting(settings, name):
    retry = settings.retry
    values = {"max_attempts": retry.max_attempts, "max_retry_wait": retry.max_wait, "retry_for": retry.retry_for}
    return values[name] if name in values else getattr(settings, name)


def test_the_defaults():
    assert {name: setting(read(), name) for name in DEFAULTS} == DEFAULTS
    assert read().retry == RetryPolicy()
    assert set(EXTRA_FIELDS) == {*DEFAULTS, "allow_http", "webhook_secrets"}


@pytest.mark.parametrize(("name", "value", "meant"), GOOD_EXTRAS, ids=str)
def test_an_extra_is_read_as_a_value_or_as_text(name, value, meant):
    assert setting(read({name: value}), name) == meant


@pytest.mark.parametrize(
    ("value", "allowed"),
    [(True, True), ("true", True), (" True ", True), (False, False), ("false", False), (None, False)],
)
def test_plain_http_is_allowed_only_on_demand(value, allowed):
    if allowed:
        assert read({"allow_http": value}, host="http://gateway.example").base_url == "http://gateway.example"
        return
    with pytest.raises(CodatInputError, match="set the extra 'allow_http'"):
        read({"allow_http": value}, host="http://gateway.example")


@pytest.mark.parametrize(("name", "value", "expected"), BAD_EXTRAS, ids=lambda value: repr(value)[:30])
def test_a_wrong_extra_is_refused_with_connection_field_value_and_remedy(name, value, expected):
    with pytest.raises(CodatInputError) as raised:
        read({name: value})
    assert str(raised.value) == f"connection 'my_codat': extra {name!r} is {value!r}: give {expected}"


@pytest.mark.parametrize("extra", [[1, 2], "text", 7], ids=str)
def test_an_extra_that_is_no_object_is_refused(extra):
    # Airflow 3.1 refuses it before we do; the others hand it over.
    with pytest.raises(CodatInputError, match="connection 'my_codat': the extra must be a JSON object, not"):
        read(extra)


# -- webhook secrets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["whsec_a whsec_b", " whsec_a,whsec_b ", "whsec_a\n\twhsec_b", "whsec_a, whsec_b,"])
def test_webhook_secrets_are_a_list_in_a_text(text):
    assert read({"webhook_secrets": text}).webhook_secrets == ("whsec_a", "whsec_b")


@pytest.mark.parametrize("empty", [{}, {"webhook_secrets": None}, {"webhook_secrets": ""}], ids=str)
def test_a_connection_may_have_no_webhook_secret(empty):
    assert read(empty).webhook_secrets == ()


def test_webhook_secrets_are_masked_and_not_shown():
    settings = read({"webhook_secrets": "whsec_c2VjcmV0"})
    assert "whsec_c2VjcmV0" in settings.secrets
    assert "c2VjcmV0" not in repr(settings)
    with pytest.raises(CodatInputError, match="extra 'webhook_secrets' is list: give text") as raised:
        read({"webhook_secrets": ["whsec_c2VjcmV0"]})
    assert "c2VjcmV0" not in str(raised.value)


def test_unknown_keys_are_kept_for_a_warning():
    assert read({"max_attemps": 3, "region": "uk", "max_attempts": 3}).unknown == ("max_attemps", "region")


def test_settings_do_not_show_the_key():
    settings = read(password=f"Basic {BASE64}")
    assert KEY not in repr(settings)
    assert BASE64 not in repr(settings)


# -- as Airflow hands it over ------------------------------------------------------------------------------------------


@pytest.fixture
def airflow_connection(monkeypatch):
    """Return a function that sets the connection ``my_codat`` and returns its hook."""

    def set_connection(value):
        monkeypatch.setenv("AIRFLOW_CONN_MY_CODAT", value if isinstance(value, str) else json.dumps(value))
        return CodatHook("my_codat")

    return set_connection


def test_a_connection_as_a_uri_holds_its_extras_as_text(airflow_connection):
    hook = airflow_connection(
        f"codat://:{KEY}@127.0.0.1:8080/http?max_attempts=2&max_retry_wait=0.5&read_timeout=3&allow_http=false"
    )
    assert hook.settings.base_url == "http://127.0.0.1:8080"
    assert hook.settings.authorization == f"Basic {BASE64}"
    assert hook.settings.retry == RetryPolicy(max_attempts=2, max_wait=0.5)
    assert hook.settings.read_timeout == 3


def test_a_connection_as_a_uri_may_hold_the_whole_header(airflow_connection):
    assert (
        airflow_connection("codat://:Basic%20" + BASE64.replace("=", "%3D") + "@/").settings.authorization
        == f"Basic {BASE64}"
    )


def test_a_connection_needs_nothing_but_the_key(airflow_connection):
    assert airflow_connection({"conn_type": "codat", "password": KEY}).settings.base_url == DEFAULT_HOST


def test_unknown_keys_are_warned_of_once(airflow_connection, logged):
    hook = airflow_connection({"conn_type": "codat", "password": KEY, "extra": {"max_attemps": 3}})
    assert hook.settings is hook.settings
    text = logged()
    assert text.count("unknown keys in its extra: max_attemps. Known keys are connect_timeout") == 1
