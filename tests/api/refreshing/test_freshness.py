"""When data counts as fresh."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_log import KeptLog

from airflow_provider_codat.api.endpoints.data_status import DataStatus
from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.refreshing.freshness import CompanyStatus, Freshness, FreshnessWait, Requirement

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


QUEUED = st.none() | st.sets(st.sampled_from(["invoices", "bills", "items"]))


@given(AGES, st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_refresh_of_what_is_to_queue_makes_all_fresh(ages, max_age, max_spread):
    requirement = Requirement(tuple(ages), max_age=max_age, max_spread=max_spread)
    states = {name: state(name, ago) for name, ago in ages.items()}
    judged = requirement.judge(states, NOW, queued=())
    assert bool(judged.to_queue) == bool(judged.stale)
    assert set(judged.stale) <= set(judged.to_queue)
    again = requirement.judge(states | {name: state(name, 0) for name in judged.to_queue}, NOW, queued=())
    assert again.is_success


@pytest.mark.parametrize(
    ("requirement", "queued", "to_queue"),
    [
        ({}, None, []),
        ({}, [], ["items"]),
        ({}, ["items"], []),
        ({"max_spread": 600}, [], ["bills", "items"]),
        ({"max_spread": 600}, ["bills"], ["items"]),
        ({"max_spread": 600}, ["items"], []),  # the refresh of items may take long: bills is judged after it
        ({"max_spread": 99}, ["items"], ["invoices", "bills"]),
        ({"max_spread": 700}, [], ["items"]),
    ],
)
def test_what_is_to_queue_is_stale_or_would_be(requirement, queued, to_queue):
    judged = Requirement(("invoices", "bills", "items"), **requirement).judge(STATES, NOW, queued=queued)
    assert list(judged.to_queue) == to_queue
    assert judged.is_terminal == bool(to_queue)


@pytest.mark.parametrize(
    ("ago", "reports", "not_supported", "to_queue"),
    [
        (700, True, ["bills"], ["items"]),
        (700, False, [], ["bills", "items"]),
        (50, True, [], ["items"]),
        (None, True, ["bills"], ["items"]),
    ],
)
def test_what_is_stale_and_not_supported_is_not_queued_but_reported(ago, reports, not_supported, to_queue):
    bills = DataStatus("bills", "NotSupported") if ago is None else state("bills", ago, "NotSupported")
    requirement = Requirement(("bills", "items"), max_age=600)
    judged = requirement.judge({"bills": bills}, NOW, queued=[], reports_not_supported=reports)
    assert (list(judged.not_supported), list(judged.to_queue)) == (not_supported, to_queue)


def test_a_wait_logs_what_has_changed_only():
    log = KeptLog()
    wait = FreshnessWait.of("company-1", Requirement(("bills",), max_age=600), log, lambda: NOW)
    for ago in (700, 700, 800, 100):
        wait.answered(CompanyStatus("company-1", {"bills": state("bills", ago)}))
    assert [line.partition(", ")[0] for _, line in log.lines] == [
        "The data of company company-1 is stale: bills was refreshed at 2027-01-15T07:48:20+00:00",
        "The data of company company-1 is stale: bills was refreshed at 2027-01-15T07:46:40+00:00",
        "The data of company company-1 is fresh.",
    ]


@given(AGES, QUEUED, st.booleans(), st.sampled_from(["Complete", "NotSupported"]), st.integers(0, 10_000))
def test_it_is_read_from_an_event_as_it_was(ages, queued, reports, status, max_age):
    states = {name: state(name, ago, status) for name, ago in ages.items()}
    requirement = Requirement((*ages, "suppliers"), max_age=max_age)
    judged = requirement.judge(states, NOW, queued=queued, reports_not_supported=reports)
    assert Freshness.from_json(json.loads(json.dumps(judged.to_json()))) == judged


def test_an_earlier_event_has_the_times_alone():
    judged = Freshness.from_json({"invoices": "2027-01-15T07:58:20+00:00"})
    assert judged == Freshness({"invoices": datetime(2027, 1, 15, 7, 58, 20, tzinfo=UTC)})
    assert judged.is_success


@pytest.mark.parametrize(
    "stored",
    [
        *(None, [], {"invoices": None}, {"invoices": "yesterday"}, {"invoices": 7}),
        *({"synced": {"invoices": None}}, {"synced": None}, {"synced": {}, "stale": 7}, {"synced": {}, "toQueue": "x"}),
    ],
)
def test_an_event_that_cannot_be_read_is_refused(stored):
    with pytest.raises(CodatResponseError):
        Freshness.from_json(stored)
