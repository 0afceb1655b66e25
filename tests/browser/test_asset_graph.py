"""What a person sees of assets in the interface of a real Airflow 3.3: their DAGs, watchers and events."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from browser.chromium import PATIENCE, Browser, button, link
from webhook_messages import COMPANY, PATH, SECRET

from airflow_provider_codat.assets import all_data_uri, data_uri

if TYPE_CHECKING:
    from airflow_runs import AirflowStack

    from airflow_provider_codat.simulator import CodatSimulator, Company

pytestmark = pytest.mark.timeout(10 * PATIENCE)

ANY_INVOICES = all_data_uri("invoices")
WATCHED_INVOICES = data_uri(COMPANY, "invoices")

ON_REFRESH, ON_WEBHOOK = "codat_extract_on_refresh", "codat_extract_on_webhook"

GRAPH = '//*[@data-testid="rf__wrapper"]'
HEADER = '//*[@data-testid="header-card"]'
EVENTS = '//*[@data-testid="card-list"]'
#: Where a part of the extra of an event can be unfolded.
FOLDED = '//*[contains(@class, "codicon-folding-collapsed")]'


@pytest.fixture(scope="module")
def started(airflow: AirflowStack, codat: CodatSimulator, company: Company) -> None:
    """Let a watcher and a webhook each report a refresh, until both have started a DAG."""
    connect(airflow, codat)
    watch(airflow, codat)
    codat.refreshes.add(COMPANY, "invoices")
    codat.webhooks.add(f"{airflow.url}{PATH}", ["read.completed", "read.completed.initial"], secret=SECRET)
    codat.refreshes.add(company.id, "invoices")
    for dag_id in (ON_REFRESH, ON_WEBHOOK):
        airflow.wait_until(f"a run of {dag_id}", lambda dag_id=dag_id: has_started(airflow, dag_id), timeout=PATIENCE)


def connect(airflow: AirflowStack, codat: CodatSimulator) -> None:
    """Store the connection with a secret of webhooks. Another test may have stored it without one."""
    fields = json.loads(codat.connection(webhook_secrets=SECRET))
    fields |= {"connection_id": "codat_default", "port": None, "extra": json.dumps(fields["extra"])}
    create = {"action": "create", "entities": [fields], "action_on_existence": "overwrite"}
    answer = airflow.write("PATCH", "/connections", json={"actions": [create]})
    assert answer["create"]["errors"] == []


def watch(airflow: AirflowStack, codat: CodatSimulator) -> None:
    """Unpause the DAG with the watcher, and wait until the watcher knows what has ended so far."""
    codat.add_company("Garden Cafe", id=COMPANY)
    airflow.wait_until("the assets", lambda: bool(assets(airflow, WATCHED_INVOICES)), timeout=PATIENCE)
    dag = airflow.write("PATCH", f"/dags/{ON_REFRESH}", json={"is_paused": False})
    # Airflow starts a watcher when it parses the file again, which it does every two minutes.
    airflow.write("PUT", f"/parseDagFile/{dag['file_token']}")
    [asset] = assets(airflow, WATCHED_INVOICES)
    cursors = f"/assets/{asset['id']}/state-store"
    airflow.wait_until(
        "the watcher's first poll", lambda: airflow.call("GET", cursors)["total_entries"] > 0, timeout=PATIENCE
    )


def assets(airflow: AirflowStack, uri: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = airflow.call("GET", "/assets", params={"uri_pattern": uri})["assets"]
    return found


def has_started(airflow: AirflowStack, dag_id: str) -> bool:
    """Whether an asset event has started a run of a DAG.

    As long as such a run is queued, Airflow cannot show the event: https://github.com/apache/airflow/issues/71360.
    """
    runs = airflow.call("GET", f"/dags/{dag_id}/dagRuns")["dag_runs"]
    return any(run["run_type"] == "asset_triggered" and run["start_date"] for run in runs)


@dataclass(frozen=True)
class Page:
    """The page of an asset, as the interface showed it.

    :param graph: the nodes of its graph.
    :param header: what is above the list of its events.
    :param event: its only event, with the extra unfolded.
    """

    graph: str
    header: str
    event: str


def open_page(browser: Browser, airflow: AirflowStack, asset: str, dag_id: str, *, last_entry: str) -> Page:
    """Go to an asset from the list of all.

    :param last_entry: of the extra of its event.
    """
    browser.resize(1920, 1000)
    browser.open(f"{airflow.url}/assets")
    browser.click(f"//table{link(asset)}")
    event = browser.click_until(last_entry, EVENTS, FOLDED)
    return Page(browser.see(dag_id, GRAPH), browser.text(HEADER), event)


@pytest.fixture(scope="module")
def of_webhooks(browser: Browser, airflow: AirflowStack, started: None) -> Page:
    page = open_page(browser, airflow, ANY_INVOICES, ON_WEBHOOK, last_entry='"eventId"')
    browser.picture("asset-of-webhooks")
    return page


@pytest.fixture(scope="module")
def of_watcher(browser: Browser, airflow: AirflowStack, started: None) -> Page:
    """Open the page of the watched asset, and the list of its watchers on it."""
    page = open_page(browser, airflow, WATCHED_INVOICES, ON_REFRESH, last_entry='"codatConnId"')
    browser.click(button("1 Watcher"))
    browser.see("codat", '//*[@data-scope="popover" and @data-part="content"]')
    browser.picture("asset-of-watcher")
    return page


def without_spaces(extra: str) -> str:
    """Return an extra that was read, without its indents and the ends of its lines, some of which are within an id."""
    return re.sub(r"\s+", "", extra)


def test_the_graph_leads_from_an_asset_to_the_dag_that_it_starts(of_webhooks: Page, of_watcher: Page) -> None:
    assert {ANY_INVOICES, ON_WEBHOOK} <= {*of_webhooks.graph.splitlines()}
    assert {WATCHED_INVOICES, ON_REFRESH} <= {*of_watcher.graph.splitlines()}


def test_only_a_watched_asset_shows_a_watcher(of_webhooks: Page, of_watcher: Page) -> None:
    assert "Watcher" not in of_webhooks.header
    assert "Scheduled Dags\n1 Dag\nWatchers\n1 Watcher" in of_watcher.header


def test_the_event_of_a_webhook_has_a_source_and_ids(of_webhooks: Page, company: Company) -> None:
    assert re.search(r"Source:\s+API\n", of_webhooks.event)
    assert re.search(rf"Triggered Dag Run:\s+{ON_WEBHOOK}\n", of_webhooks.event)
    assert {*re.findall(r'"(\w+)":', of_webhooks.event)} == {
        *("eventType", "companyId", "connectionId", "dataType", "status"),
        *("codatConnId", "messageId", "eventId"),
    }
    assert f'"companyId":"{company.id}"' in without_spaces(of_webhooks.event)
    assert company.name not in of_webhooks.event


def test_the_event_of_a_watcher_has_a_source_and_ids(of_watcher: Page) -> None:
    assert re.search(r"Source:\s+Trigger\n", of_watcher.event)
    assert re.search(rf"Triggered Dag Run:\s+{ON_REFRESH}\n", of_watcher.event)
    assert f'"companyId":"{COMPANY}"' in without_spaces(of_watcher.event)
    assert "Garden Cafe" not in of_watcher.event
