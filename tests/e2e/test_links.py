"""The link to the company in the Codat Portal, as a real Airflow shows it while a task waits, and when it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from airflow_provider_codat.simulator import UNDECIDED

if TYPE_CHECKING:
    from airflow_runs import AirflowStack, DagRun

    from airflow_provider_codat.simulator import CodatSimulator

pytestmark = pytest.mark.timeout(1200)
#: Who waits for whose push. Both that are mapped wait for the same two.
WAITING = {
    "deferred": "deferred",
    "worker_free": "worker_free",
    "push": "push",
    "mapped[0]": "first",
    "mapped[1]": "second",
    "mapped_worker_free[0]": "first",
    "mapped_worker_free[1]": "second",
}
ENDED = {**WAITING, "schedule": "schedule"}

Links = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Shown:
    """The links by task, while all that can wait was deferred, and after the run; and where they should lead."""

    waiting: Links
    ended: Links
    states: dict[str, str | None]
    addresses: dict[str, str]

    def expected(self, companies: dict[str, str]) -> Links:
        return {task: {"Codat company": self.addresses[name]} for task, name in companies.items()}


def links(run: DagRun) -> Links:
    """Return the links of every task that has any."""
    found = {each.name: run.links(each.task_id, each.map_index) for each in run.task_instances()}
    return {name: links for name, links in found.items() if any(links.values())}


def keys(codat: CodatSimulator, company_id: str) -> list[str]:
    """Return the keys of a company's pushes."""
    listed = httpx.get(f"{codat.url}/companies/{company_id}/push", headers=codat.auth_headers, trust_env=False)
    return [push["pushOperationKey"] for push in listed.raise_for_status().json()["results"]]


@pytest.fixture(scope="module")
def shown(codat: CodatSimulator, airflow: AirflowStack) -> Shown:
    companies = {name: codat.add_company(name) for name in set(ENDED.values())}
    ids = {name: {"company_id": each.id, "connection_id": each.connection_id} for name, each in companies.items()}
    for name in ("deferred", "worker_free", "first", "second"):
        ids[name]["push_operation_key"] = codat.add_push(companies[name].id, outcome=UNDECIDED)
    codat.outcome(UNDECIDED, company_id=companies["push"].id)
    mapped = [
        {"company_id": ids[name]["company_id"], "push_operation_key": ids[name]["push_operation_key"]}
        for name in ("first", "second")
    ]
    run = airflow.trigger("codat_links", {"ids": ids, "mapped": mapped})

    def all_wait() -> bool:
        return WAITING.keys() <= {name for name, state in run.states().items() if state == "deferred"}

    def checks() -> dict[str, int]:
        return {each.id: codat.count("GET", rf"/companies/{each.id}/push.*") for each in companies.values()}

    airflow.wait_until("all to be deferred", all_wait, timeout=240)
    # Only the triggerer sends requests now. At its second check Airflow has stored the last deferral, too: a trigger
    # that fires sooner makes Airflow take the resumed task for one that was killed.
    before = checks()
    due = {company.id for name, company in companies.items() if name != "schedule"}
    airflow.wait_until(
        "two checks of each", lambda: all(checks()[each] - before[each] >= 2 for each in due), timeout=240
    )
    waiting = {name: each for name, each in links(run).items() if name in WAITING}
    for company in companies.values():
        for key in keys(codat, company.id):
            codat.finish(key)
    run.wait(timeout=240)
    addresses = {name: f"https://app.codat.io/companies/{each.id}/summary" for name, each in companies.items()}
    return Shown(waiting, links(run), run.states(), addresses)


def test_what_waits_has_its_link(shown: Shown) -> None:
    assert shown.waiting == shown.expected(WAITING)


def test_what_has_ended_has_its_link(shown: Shown) -> None:
    assert shown.states == dict.fromkeys([*ENDED, "list_pushes"], "success")
    assert shown.ended == shown.expected(ENDED)
