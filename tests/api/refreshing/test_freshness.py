"""When data counts as fresh."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_codat.api.endpoints.data_status import DataStatus
from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.refreshing.freshness import Freshness, Requirement

NOW = 1_800_000_000.0


def state(name, ago, status="Complete"):
    return DataStatus(name, status, datetime.fromtimestamp(NOW - ago, UTC))


STATES = {"invoices": state("invoices", 100), "bills": state("bills", 700, "FetchError"), "items": DataStatus("items")}


@pytest.mark.parametrize(
    ("data_types", "requirement", "stale"),
    [
        (["invoices", "bills"], {}, []),
        (["items"], {}, ["items"]),
        (["nothing of this name"], {}, ["nothing of this name"]),
        (["invoices", "bills"], {"max_age": 700}, []),
        (["invoices", "bills"], {"max_age": 699}, ["bills"]),
        (["invoices", "bills"], {"since": NOW - 700}, []),
        (["invoices", "bills"], {"since": NOW - 699}, ["bills"]),
        (["invoices", "bills"], {"max_spread": 600}, []),
        (["invoices", "bills"], {"max_spread": 599}, ["bills"]),
        (["bills"], {"max_spread": 0}, []),
        (["invoices", "bills"], {"max_age": 50, "since": NOW - 1000, "max_spread": 1000}, ["invoices", "bills"]),
    ],
)
def test_each_requirement_has_to_hold(data_types, requirement, stale):
    judged = Requirement(tuple(data_types), **requirement).judge(STATES, NOW)
    assert list(judged.stale) == stale
    assert judged.is_terminal == (not stale)


def test_the_reason_says_when_it_was_refreshed_and_how_the_last_try_went():
    judged = Requirement(("invoices", "bills", "items"), max_age=60, since=NOW).judge(STATES, NOW)
    assert judged.stale == {
        "invoices": "was refreshed at 2027-01-15T07:58:20+00:00, more than 0:01:00 ago",
        "bills": "was refreshed at 2027-01-15T07:48:20+00:00, more than 0:01:00 ago (now FetchError)",
        "items": "was never refreshed with success",
    }
    assert judged.status.startswith("stale: invoices was refreshed at")


AGES = st.dictionaries(st.sampled_from(["invoices", "bills", "items"]), st.integers(0, 10_000), min_size=1)


@given(AGES, st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_refresh_of_what_is_stale_makes_all_fresh_but_for_the_spread(ages, max_age, since, max_spread):
    requirement = Requirement(tuple(ages), max_age=max_age, since=NOW - since, max_spread=max_spread)
    states = {name: state(name, ago) for name, ago in ages.items()}
    judged = requirement.judge(states, NOW)
    fresh = all(ago <= min(max_age, since) for ago in ages.values())
    assert judged.is_terminal == (fresh and max(ages.values()) - min(ages.values()) <= max_spread)
    states |= {name: state(name, 0) for name in judged.stale}
    again = requirement.judge(states, NOW)
    assert not set(again.stale) & set(judged.stale)


@given(AGES)
def test_it_is_read_from_an_event_as_it_was(ages):
    judged = Requirement(tuple(ages)).judge({name: state(name, ago) for name, ago in ages.items()}, NOW)
    assert Freshness.from_json(json.loads(json.dumps(judged.to_json()))) == judged


@pytest.mark.parametrize("stored", [None, [], {"invoices": None}, {"invoices": "yesterday"}, {"invoices": 7}])
def test_an_event_that_cannot_be_read_is_refused(stored):
    with pytest.raises(CodatResponseError):
        Freshness.from_json(stored)
