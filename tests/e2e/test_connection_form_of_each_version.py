"""What the connection form shows and its test button says, asked of a running Airflow: the same on every version."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_codat.demo.airflow_stack import AirflowStack
from airflow_provider_codat.hooks.form import EXTRA_FIELDS, HIDDEN_FIELDS, STANDARD_FIELDS
from airflow_provider_codat.simulator import CodatSimulator

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds that Airflow may take to start on a machine that has much else to do.
PATIENCE = 300
pytestmark = pytest.mark.timeout(2 * PATIENCE)


@dataclass(frozen=True)
class Form:
    """What a form shows.

    :param standard: label and placeholder of the fields that every connection has, where they are Codat's own.
    :param hidden: those of them that are not shown.
    :param extra: label, help and filled-in value of the fields of the extra.
    """

    standard: dict[str, tuple[str, str]]
    hidden: set[str]
    extra: dict[str, tuple[str, str, Any]]


@pytest.fixture(scope="module")
def account() -> Iterator[CodatSimulator]:
    """Return an account with one company, and no other test's."""
    with CodatSimulator() as codat:
        codat.add_company("Corner Bakery")
        yield codat


@pytest.fixture(scope="module")
def form(airflow: AirflowStack) -> Form:
    with httpx.Client(base_url=airflow.url, trust_env=False, timeout=PATIENCE, follow_redirects=True) as client:
        read = read_page if airflow.airflow_version.startswith("2.") else read_api
        return read(client, {"username": airflow.username, "password": airflow.password})


def read_api(client: httpx.Client, login: dict[str, str]) -> Form:
    """Read what the interface of Airflow 3 makes its form of."""
    token = client.post("/auth/token", json=login).raise_for_status().json()["access_token"]
    answer = client.get("/ui/connections/hook_meta", headers={"Authorization": f"Bearer {token}"}).raise_for_status()
    (codat,) = (each for each in answer.json() if each["connection_type"] == "codat")
    standard = {name.removeprefix("url_"): each for name, each in codat["standard_fields"].items() if each}
    return Form(
        {name: (each["title"], each["placeholder"]) for name, each in standard.items() if not each["hidden"]},
        # There is no hiding the extra's JSON.
        {name for name, each in standard.items() if each["hidden"]} | {"extra"},
        {
            name: (each["schema"]["title"], each["description"], each["value"])
            for name, each in codat["extra_fields"].items()
        },
    )


#: A field of the page, as Flask AppBuilder draws it.
ROW = re.compile(
    r'<label for="extra__codat__(\w+)"[^>]*>\s*(.*?)\s*</label>'
    r'.*?<input ([^>]*)>\s*<span class="help-block">(.*?)</span>',
    re.DOTALL,
)


def read_page(client: httpx.Client, login: dict[str, str]) -> Form:
    """Read the page of Airflow 2: all types' fields are in it, and what a script makes of them for each type."""
    token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', client.get("/login/").text)
    assert token is not None
    client.post("/login/", data={**login, "csrf_token": token[1]})
    page = client.get("/connection/add").raise_for_status().text
    script = re.search(r'<script id="field_behaviours"[^>]*>(.*?)</script>', page)
    assert script is not None
    behaviour = json.loads(unescape(script[1]))["codat"]
    placeholders = behaviour["placeholders"]
    return Form(
        {name: (label, placeholders[name]) for name, label in behaviour["relabeling"].items()},
        set(behaviour["hidden_fields"]),
        {name: (label, unescape(help), filled_in(attributes)) for name, label, attributes, help in ROW.findall(page)},
    )


def filled_in(attributes: str) -> Any:
    """Return what an input element holds."""
    if 'type="checkbox"' in attributes:
        return "checked" in attributes.split()
    value = re.search(r'value="(.*?)"', attributes)
    return value and value[1]


def test_the_form_shows_the_standard_fields_that_apply(form: Form) -> None:
    assert form.standard == {name: (each.label, each.placeholder) for name, each in STANDARD_FIELDS.items()}
    assert form.hidden == set(HIDDEN_FIELDS)


def test_the_form_explains_every_setting_and_shows_its_default(form: Form) -> None:
    shown = {
        name: (label, help, value if value in (None, "") else EXTRA_FIELDS[name].read(value))
        for name, (label, help, value) in form.extra.items()
    }
    # A text that is not set is an empty one on the page of Airflow 2.
    empty = form.extra["sync_schedule_shape"][2]
    assert empty in (None, "")
    assert shown == {
        name: (each.label, each.description, empty if each.default is None else each.default)
        for name, each in EXTRA_FIELDS.items()
    }


@pytest.mark.parametrize(
    ("filled", "status", "words"),
    [
        ({}, True, "{url} answers and accepts the API key; it sees 1 company."),
        ({"password": "no-such-key"}, False, "{url} refuses the API key: check the connection's password"),
        ({"host": "http://api.codat.io"}, False, "is not https"),
        ({"extra": '{"max_attempts": 0}'}, False, "'max_attempts' is 0: give a whole number of 1 or more"),
    ],
    ids=["works", "refused", "not https", "wrong setting"],
)
# After the form, for an API server of Airflow 3.1 that has loaded a hook for anything else first shows no form at all.
@pytest.mark.usefixtures("form")
def test_the_test_button_answers_in_words(
    airflow: AirflowStack, account: CodatSimulator, filled: dict[str, str], status: bool, words: str
) -> None:
    connection = {"connection_id": "codat_new", "conn_type": "codat", "host": account.url, "password": account.api_key}
    report = airflow.call("POST", "/connections/test", json=connection | filled)
    assert report["status"] is status
    assert words.format(url=account.url) in report["message"]
    assert account.api_key not in report["message"]
