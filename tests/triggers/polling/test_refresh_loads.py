"""What 500 waits for refreshes cost at the default pace, and how late their ends are seen, on the virtual clock."""

import math
import random
from collections import Counter

import pytest
from company_waits import Waits, one_get_an_interval, percentile

from airflow_provider_codat.api.endpoints.pull_operations import PULL_OPERATION
from airflow_provider_codat.api.waiting.pace import Pace
from airflow_provider_codat.operators.codat import CodatRefreshOperator
from airflow_provider_codat.simulator import RefreshOutcome
from airflow_provider_codat.triggers import company_poll

COMPANIES = 50
DATA_TYPES = (
    *("invoices", "bills", "items", "payments", "suppliers"),
    *("customers", "journals", "creditNotes", "billPayments", "chartOfAccounts"),
)
SHORTEST, LONGEST = 30.0, 7200.0
DAY = 86400.0


@pytest.fixture(autouse=True)
def phases_are_random(simulate, monkeypatch):
    monkeypatch.setattr(company_poll, "random", random.Random(2))  # noqa: S311 - no secret


def test_500_refreshes_in_50_companies_cost_twenty_times_less_than_one_get_an_interval(simulate, clock):
    """Durations are spread evenly over their logarithms, so there are as many of a minute as of an hour."""
    codat, waits, dice = simulate(), Waits(clock), random.Random(1)  # noqa: S311 - no secret
    operator = CodatRefreshOperator(task_id="refresh", company_id="any")
    pace = operator.pace
    assert pace == Pace(5.0, None, 600.0)
    durations = []
    for _ in range(COMPANIES):
        company = codat.add_company()
        for data_type in DATA_TYPES:
            lasts = math.exp(dice.uniform(math.log(SHORTEST), math.log(LONGEST)))
            key = codat.refreshes.add(company.id, data_type, outcome=RefreshOutcome(latency=lasts))
            durations.append(lasts)
            waits.due_at[key] = clock.passed + lasts
            waits.add_paced(company, key, pace, kind=PULL_OPERATION, patience=DAY)
    assert set(waits.run()) == {"Complete"}

    sent = [each.at for each in clock.sent]
    usual, usual_delays = one_get_an_interval(durations)
    peak = max(Counter(int(at // 60) for at in sent).values())
    shares = sorted(waits.ended_at[key] - due for key, due in waits.due_at.items())
    print(f"requests {len(sent)}, one GET an operation and interval {usual}: {usual / len(sent):.1f} times fewer")
    print(f"busiest minute {peak} requests, one GET an interval {500 * 12}")
    print(f"delay: median {percentile(shares, 0.5):.1f} s, 95% {percentile(shares, 0.95):.1f} s, {shares[-1]:.1f} s")
    print(f"with one GET an interval: median {percentile(usual_delays, 0.5):.1f} s, {usual_delays[-1]:.1f} s")
    late = {key: (waits.ended_at[key] - due) / due for key, due in waits.due_at.items()}
    print(f"delay as a share of the duration: 95% {percentile(sorted(late.values()), 0.95):.3f}")
    assert len(sent) <= usual / 20
    assert peak <= COMPANIES * 13
    assert percentile(shares, 0.5) <= 60
