"""The environment's proxies: the blocking and the asynchronous side go by the same rules, those of requests."""

import base64
import os
from urllib.parse import urlsplit

import pytest

from airflow_provider_codat.exceptions import CodatConnectionError

COMPANY = b'{"id": "company"}'


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


THROUGH_THE_PROXY, DIRECT = True, False
ENVIRONMENTS = [
    ({}, DIRECT),
    ({"HTTP_PROXY": "{proxy}"}, THROUGH_THE_PROXY),
    ({"http_proxy": "{proxy}"}, THROUGH_THE_PROXY),
    ({"ALL_PROXY": "{proxy}"}, THROUGH_THE_PROXY),
    ({"all_proxy": "{proxy}"}, THROUGH_THE_PROXY),
    ({"HTTPS_PROXY": "{proxy}"}, DIRECT),
    ({"HTTP_PROXY": "{bare}"}, THROUGH_THE_PROXY),
    ({"HTTP_PROXY": "HTTP://{bare}"}, THROUGH_THE_PROXY),
    ({"HTTP_PROXY": "{proxy}/"}, THROUGH_THE_PROXY),
    ({"HTTP_PROXY": ""}, DIRECT),
    *(
        ({"HTTP_PROXY": "{proxy}", "NO_PROXY": no_proxy}, way)
        for no_proxy, way in {
            "": THROUGH_THE_PROXY,
            "*": DIRECT,
            "127.0.0.1": DIRECT,
            "127.0.0.1,fd07::/64": DIRECT,
            "fd07::/64": THROUGH_THE_PROXY,
            "fd07::1": THROUGH_THE_PROXY,
            "[::1]": THROUGH_THE_PROXY,
            "::1, 127.0.0.1": DIRECT,
            "127.0.0.0/8": DIRECT,
            "127.0.0.0/33": THROUGH_THE_PROXY,
            "10.0.0.0/8": THROUGH_THE_PROXY,
            "127.0.0.1:{port}": THROUGH_THE_PROXY,
            "127.0.0.1:1": THROUGH_THE_PROXY,
            "codat.example, .example": THROUGH_THE_PROXY,
            "http://127.0.0.1": THROUGH_THE_PROXY,
            ",, ,": THROUGH_THE_PROXY,
        }.items()
    ),
    ({"http_proxy": "{proxy}", "no_proxy": "127.0.0.1"}, DIRECT),
    ({"ALL_PROXY": "{proxy}", "no_proxy": "127.0.0.1"}, DIRECT),
]


@pytest.mark.parametrize(("environment", "way"), ENVIRONMENTS, ids=str)
def test_both_sides_take_the_same_way(serve, http, connect, do, monkeypatch, environment, way):
    proxy, codat = serve(http(200, COMPANY)), serve(http(200, COMPANY))
    for name, value in environment.items():
        port, bare = urlsplit(codat.url).port, proxy.url.removeprefix("http://")
        monkeypatch.setenv(name, value.format(proxy=proxy.url, bare=bare, port=port))
    assert do(connect(host=codat.url, max_attempts=1).get_company, "c").id == "company"
    assert [seen.target for seen in proxy.seen] == ([f"{codat.url}/companies/c"] if way is THROUGH_THE_PROXY else [])
    assert [seen.target for seen in codat.seen] == ([] if way is THROUGH_THE_PROXY else ["/companies/c"])


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({"HTTPS_PROXY": "{proxy}"}, THROUGH_THE_PROXY),
        ({"https_proxy": "{bare}"}, THROUGH_THE_PROXY),
        ({"ALL_PROXY": "{proxy}"}, THROUGH_THE_PROXY),
        ({"HTTP_PROXY": "{proxy}"}, DIRECT),
        ({"HTTPS_PROXY": "{proxy}", "NO_PROXY": "fd07::/64,127.0.0.1"}, DIRECT),
    ],
    ids=str,
)
def test_both_sides_ask_the_same_proxy_for_a_tunnel(serve, http, connect, do, monkeypatch, environment, way):
    proxy = serve(http(403))
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(proxy=proxy.url, bare=proxy.url.removeprefix("http://")))
    with pytest.raises(CodatConnectionError) as raised:
        do(connect(host="https://127.0.0.1:1", max_attempts=1).get_company, "c")
    assert raised.value.was_sent is False
    tunnels = [(seen.method, seen.target) for seen in proxy.seen]
    assert tunnels == ([("CONNECT", "127.0.0.1:1")] if way is THROUGH_THE_PROXY else [])


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST"])
def test_a_name_is_kept_from_the_proxy_as_well(serve, http, connect, do, monkeypatch, host):
    proxy, codat = serve(http(200, COMPANY)), serve(http(200, COMPANY))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "localhost")
    do(connect(host=f"http://{host}:{urlsplit(codat.url).port}").get_company, "c")
    assert (len(proxy.seen), len(codat.seen)) == (0, 1)


def test_the_proxys_own_password_goes_to_the_proxy(serve, http, connect, do, monkeypatch):
    proxy = serve(http(200, COMPANY))
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//user:p%40ss@"))
    do(connect(host="http://codat.example", allow_http=True).get_company, "c")
    expected = base64.b64encode(b"user:p@ss").decode()
    assert [seen.headers["proxy-authorization"] for seen in proxy.seen] == [f"Basic {expected}"]


def test_a_proxy_over_tls_that_is_not_there_ends_as_an_error_of_ours(connect, do, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "HTTPS://127.0.0.1:1")
    with pytest.raises(CodatConnectionError) as raised:
        do(connect(host="http://codat.example", allow_http=True, max_attempts=1).get_company, "c")
    assert raised.value.was_sent is False
