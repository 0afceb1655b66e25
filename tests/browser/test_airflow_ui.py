"""What a person sees of this provider in the interface of a real Airflow 3.3, from the connection to the log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from browser.chromium import PATIENCE, Browser, Field, button, link

from airflow_provider_codat.hooks.form import EXTRA_FIELDS, STANDARD_FIELDS
from airflow_provider_codat.simulator import UNDECIDED, CodatSimulator, Outcome

if TYPE_CHECKING:
    from airflow_runs import AirflowStack

    from airflow_provider_codat.simulator import Company

pytestmark = pytest.mark.timeout(10 * PATIENCE)

DIALOG = '//*[@role="dialog" and @data-state="open"]'
OPEN_SECTION = f'{DIALOG}//*[@role="region" and not(@hidden or @data-state="closed")]'
SAVE = f"{DIALOG}{button('Save')}"
DAG_ID = "codat_gate_on_push"


# -- the connection ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """The fields of the form, by their labels, in its two sections."""

    standard: dict[str, Field]
    extra: dict[str, Field]


def field(name: str) -> str:
    return f'{DIALOG}//*[@name="{name}"]'


def press_test(browser: Browser, airflow: AirflowStack, title: str) -> str:
    """Press the test button of the only connection, and return what Airflow reports, with its title.

    The title is drawn before the text below it, so a title alone is not yet the report.
    """
    browser.open(f"{airflow.url}/connections")
    browser.click(button("Test Connection"))
    return browser.match(rf"(?s){title}\s+\S.*", '//*[@data-scope="toast" and @data-part="root"]')[0]


@pytest.fixture(scope="module")
def form(browser: Browser, airflow: AirflowStack, codat: CodatSimulator) -> Form:
    """Add a connection, with a key that is none."""
    address = urlsplit(codat.url)
    browser.resize(1280, 1800)
    browser.open(f"{airflow.url}/connections")
    browser.click(button("Add Connection"))
    browser.fill(field("connection_id"), "codat_default")
    browser.choose(f'{DIALOG}//input[@role="combobox"]', "Codat")
    browser.see(STANDARD_FIELDS["password"].label, OPEN_SECTION)
    standard = browser.fields(OPEN_SECTION)
    browser.picture("connection-form", DIALOG)
    browser.fill(field("host"), f"{address.scheme}://{address.hostname}")
    # Airflow 3.3.1 and 3.3.2 do not test a connection without one: https://github.com/apache/airflow/pull/73298.
    browser.fill(field("port"), str(address.port))
    browser.fill(field("password"), "no-such-key")
    browser.click(f"{DIALOG}{button('Extra Fields')}")
    browser.see(EXTRA_FIELDS["connect_timeout"].label, OPEN_SECTION)
    extra = browser.fields(OPEN_SECTION)
    browser.picture("connection-settings", DIALOG)
    browser.click(SAVE)
    browser.resize(1280, 720)
    browser.see("codat_default", "//table")
    return Form(standard, extra)


@pytest.fixture(scope="module")
def refused(browser: Browser, airflow: AirflowStack, form: Form) -> str:
    words = press_test(browser, airflow, "Test Connection Failed")
    browser.picture("connection-refused")
    return words


@pytest.fixture(scope="module")
def accepted(browser: Browser, airflow: AirflowStack, codat: CodatSimulator, company: Company, refused: str) -> str:
    """Correct the key, and test again."""
    browser.click(button("Edit Connection"))
    browser.fill(field("password"), codat.api_key)
    browser.click(SAVE)
    browser.wait_until("the dialog to close", lambda: not browser.shows(DIALOG))
    words = press_test(browser, airflow, "Test Connection Successful")
    browser.picture("connection-test")
    return words


def test_the_form_shows_the_standard_fields_that_apply(form: Form) -> None:
    shown = {label: each.placeholder for label, each in form.standard.items()}
    expected = {each.label: each.placeholder for each in STANDARD_FIELDS.values()}
    assert shown == {"Description": "", **expected}


def test_the_key_cannot_be_read_over_a_shoulder(form: Form) -> None:
    assert {label for label, each in form.standard.items() if each.type == "password"} == {"API key"}


def test_the_form_explains_every_setting(form: Form) -> None:
    assert {label: each.help for label, each in form.extra.items()} == {
        each.label: each.description for each in EXTRA_FIELDS.values()
    }


def test_the_form_shows_the_defaults(form: Form) -> None:
    for each in EXTRA_FIELDS.values():
        if each.type in ("integer", "number"):
            assert float(form.extra[each.label].value) == each.default, each.label


def test_a_refused_key_is_reported_in_words(refused: str, codat: CodatSimulator) -> None:
    assert f"{codat.url} refuses the API key" in refused
    assert "no-such-key" not in refused


def test_a_connection_that_works_is_reported_in_words(accepted: str, codat: CodatSimulator) -> None:
    assert f"{codat.url} answers and accepts the API key; it sees 1 company." in accepted


# -- a run -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Waiting:
    """A run whose sensor waits, as the interface showed it.

    :param run: its page.
    :param sensor: its sensor's page.
    :param address: where the sensor's link leads.
    :param followed: where a click on it went.
    """

    run: str
    sensor: str
    address: str
    followed: str


@pytest.fixture(scope="module")
def waiting(browser: Browser, airflow: AirflowStack, codat: CodatSimulator, company: Company, accepted: str) -> Waiting:
    """Trigger the example, and follow its link while its sensor waits."""
    codat.outcome(UNDECIDED, company_id=company.id)
    airflow.wait_until(
        DAG_ID, lambda: DAG_ID in map(itemgetter("dag_id"), airflow.call("GET", "/dags")["dags"]), timeout=PATIENCE
    )
    browser.open(f"{airflow.url}/dags/{DAG_ID}")
    browser.click('//*[@data-testid="trigger-dag-button"]')
    browser.fill(field("element_company_id"), company.id)
    browser.fill(field("element_connection_id"), company.connection_id)
    browser.click(f"{DIALOG}{button('Trigger')}")
    browser.see("Deferred", bill_landed := '//tr[contains(., "bill_landed")]')
    browser.open(browser.address)  # the grid beside the table is drawn at its own pace
    browser.see("Deferred", bill_landed)
    run = browser.text()
    browser.picture("task-deferred")
    browser.click(f"//table{link('bill_landed')}")
    browser.click(link("Details"))
    browser.see("CodatPushOperationTrigger")
    sensor = browser.text()
    browser.picture("task-link")
    address = browser.attribute("href", link("Codat company"))
    followed = browser.follow(link("Codat company"))
    return Waiting(run, sensor, address, followed)


@pytest.fixture(scope="module")
def log(browser: Browser, codat: CodatSimulator, waiting: Waiting) -> str:
    """Read the sensor's log, in which the push's key stands, and again when the push has ended."""
    browser.click(link("Logs"))
    key = browser.match(r"Push operation (\S+) is Pending\.")[1]
    codat.finish(key, Outcome(record_id="bill-1"))
    browser.match(r"\nbill_landed\nSuccess\n")
    # The page asks for the log no more once the task has ended, and may not have its last lines yet.
    browser.open(browser.address)
    browser.see(f"Push operation {key} ended as Success.")
    browser.picture("task-log")
    return browser.text()


def test_the_waiting_task_is_shown_as_deferred(waiting: Waiting) -> None:
    assert waiting.run.count("Deferred") == 1
    assert "airflow_provider_codat.triggers.codat.CodatPushOperationTrigger" in waiting.sensor


def test_the_link_leads_to_the_company_in_the_codat_portal(waiting: Waiting, company: Company) -> None:
    expected = f"https://app.codat.io/companies/{company.id}/summary"
    assert (waiting.address, waiting.followed) == (expected, expected)


def test_the_log_says_how_the_push_went_on(log: str) -> None:
    logged = re.findall(r"Push operation (\S+) is (\w+)\.", log)
    assert len({key for key, _ in logged}) == 1
    assert list(dict.fromkeys(status for _, status in logged)) == ["Pending", "Success"]
