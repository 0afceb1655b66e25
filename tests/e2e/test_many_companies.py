"""A refresh that is mapped over twenty companies, on real Airflow processes: more than run at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_codat.simulator import RefreshOutcome

if TYPE_CHECKING:
    from airflow_runs import AirflowStack

    from airflow_provider_codat.simulator import CodatSimulator

#: Seconds that the run may take.
PATIENCE = 300
pytestmark = pytest.mark.timeout(2 * PATIENCE)
COMPANIES, REVOKED = 20, 17


def test_one_company_that_is_not_authorized_fails_alone(codat: CodatSimulator, airflow: AirflowStack) -> None:
    companies = [codat.add_company(f"Company {number}") for number in range(COMPANIES)]
    codat.set_connection_status(companies[REVOKED].id, "Deauthorized")
    for each in companies:
        codat.refreshes.outcome(RefreshOutcome(latency=2.0), company_id=each.id)
    run = airflow.trigger("codat_many_companies", {"company_ids": [each.id for each in companies]})
    assert run.wait(timeout=PATIENCE) == "failed"
    expected = {f"refresh[{number}]": "success" for number in range(COMPANIES) if number != REVOKED}
    assert run.states() == {"list_companies": "success", f"refresh[{REVOKED}]": "failed", **expected}
    assert {each.tries for each in run.task_instances()} == {1}
    assert "The customer has to authorize it at http" in run.log("refresh", REVOKED)
    assert {codat.count("POST", f"/companies/{each.id}/data/queue/invoices") for each in companies} == {1}
