"""Waits for what Codat lists nowhere: each is read by its own request, however many there are."""

import asyncio
import time
from dataclasses import replace

from company_waits import LogByTask

from airflow_provider_codat.api.refreshing.freshness import FreshnessWait, Requirement
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.simulator import RefreshOutcome
from airflow_provider_codat.triggers.shared_polls import wait_for_end


def test_what_has_no_list_is_read_by_single_requests(codat, clock):
    company = codat.add_company()
    codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=12))
    one = FreshnessWait.of(company.id, Requirement(("invoices",)), LogByTask(), time.time)

    async def wait_for_all():
        waits = [replace(one, key=f"key {number}") for number in range(5)]
        ends = [wait_for_end("codat_default", each, Pace(5.0, False, 60.0), clock.time() + 60) for each in waits]
        states = await asyncio.gather(*ends)
        return [wait.end(state).is_success for wait, state in zip(waits, states, strict=True)]

    assert clock.run(wait_for_all()) == [True] * 5
    assert {each.path for each in codat.requests} == {f"/companies/{company.id}/dataStatus"}
