"""Lists that Codat does not order or filter, shows late, or refuses; an operation that it does not know."""

from itertools import pairwise

import pytest
from company_waits import BY_KEY, INTERVAL, LIST, pushes
from virtual_clock import START

from airflow_provider_codat.api import errors
from airflow_provider_codat.simulator import Fault, Outcome

LISTS = {
    "honoured": {},
    "query ignored": {"query_support": "ignore"},
    "query refused": {"query_support": "refuse"},
    "order ignored": {"order_by_support": "ignore"},
    "both ignored": {"order_by_support": "ignore", "query_support": "ignore"},
    "order ignored, query refused": {"order_by_support": "ignore", "query_support": "refuse"},
    "fresh ones missing": {"hidden_lists": 3},
    "fresh ones missing everywhere": {"hidden_lists": 3, "hidden_gets": 2},
}


@pytest.mark.parametrize("older", [0, 600])
@pytest.mark.parametrize("options", LISTS.values(), ids=LISTS)
def test_whatever_becomes_of_the_list_the_result_is_the_same_and_costs_no_more(options, older, simulate, waits, clock):
    codat = simulate(**options)
    company = codat.add_company()
    for _ in range(older):
        codat.add_push(company.id, status="Success", requested_on=START - 1000)
    for number in range(20):
        outcome = Outcome("Failed" if number % 4 == 0 else "Success", latency=3.0 * (number + 1))
        waits.add(company, codat.add_push(company.id, outcome=outcome))
    assert waits.run() == (["Failed"] + ["Success"] * 3) * 5
    one_by_one = sum(1 + -(-3 * (number + 1) // 5) for number in range(20))
    # the list, tried now and then, costs less than a twentieth
    assert len(clock.requested_at()) <= 1.05 * one_by_one


def test_a_list_in_ascending_order_is_read_from_its_other_end(simulate, waits, clock):
    codat = simulate(order_by_support="ignore")
    company = codat.add_company()
    for number in range(600):
        codat.add_push(company.id, status="Success", requested_on=START - 1000 + number)
    for key in pushes(codat, company, 20):
        waits.add(company, key)
    assert waits.run() == ["Success"] * 20
    assert len(clock.requested_at()) <= 1 + 7
    assert clock.requested_at(BY_KEY) == []


def test_the_order_is_found_out_once_for_all_companies_of_a_connection(simulate, waits):
    codat = simulate(order_by_support="ignore")
    for number in range(3):
        company = codat.add_company()
        for older in range(150):
            codat.add_push(company.id, status="Success", requested_on=START - 1000 + older)
        for key in pushes(codat, company, 6):
            waits.add(company, key, after=number * 40)
    assert set(waits.run()) == {"Success"}
    lists = [request.path for request in codat.requests if request.is_for("GET", LIST)]
    by_key = codat.count("GET", BY_KEY)
    assert by_key == 0
    assert len(lists) <= 3 * 7 + 3


def test_an_order_that_is_refused_is_left_out(codat, waits):
    codat.fault(Fault("status", status=400, path=LIST, times=1))
    company = codat.add_company()
    for key in pushes(codat, company, 8):
        waits.add(company, key)
    assert set(waits.run()) == {"Success"}
    lists = [request.query for request in codat.requests if request.is_for("GET", LIST)]
    assert ["orderBy" in query for query in lists[:2]] == [True, False]
    assert not any("orderBy" in query for query in lists[2:])
    assert codat.count("GET", BY_KEY) == 0


@pytest.mark.parametrize(
    "fault", [{"kind": "status", "status": 500}, {"kind": "html"}, {"kind": "status", "status": 403}]
)
def test_a_list_that_does_not_work_is_done_without(fault, codat, waits, clock):
    codat.fault(Fault(path=LIST, times=None, **fault))
    company = codat.add_company()
    for key in pushes(codat, company, 10):
        waits.add(company, key)
    assert waits.run() == ["Success"] * 10
    assert len(clock.requested_at(BY_KEY)) <= 7 * 10
    assert len(clock.requested_at(LIST)) <= 2


@pytest.mark.parametrize("fault", [{"status": status} for status in (400, 403, 404, 500)] + [{"kind": "html"}])
def test_a_list_that_does_not_work_harms_no_wait_that_is_due_alone(fault, codat, waits, clock):
    """Three that are due one after another, so that there is never another check to spare for the list."""
    codat.fault(Fault(path=LIST, times=None, **({"kind": "status"} | fault)))
    company = codat.add_company()
    for number in range(3):
        key = codat.add_push(company.id, outcome=Outcome(latency=100 if number else 3))
        waits.add(company, key, not_before=START + number)
    assert waits.run() == ["Success"] * 3
    assert min(waits.ended_at.values()) <= 3 + 2 * INTERVAL + 1
    assert max(waits.ended_at.values()) <= 100 + 2 * INTERVAL + 1
    assert len(clock.requested_at()) <= 2 + 2 * 24


def test_nobody_is_starved_for_a_list_that_shows_nothing(simulate, waits, clock):
    codat = simulate({"requests_per_minute": 6000}, hidden_lists=10**6, quota=10**6)
    company = codat.add_company()
    for _ in range(99):
        waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=40)))
    last = waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=20)))
    assert waits.run() == ["Success"] * 100
    assert waits.ended_at[last] <= 20 + 2 * INTERVAL
    checks = clock.requested_at(f".*/{last}")
    assert max(later - earlier for earlier, later in pairwise(checks)) <= 2 * INTERVAL + 1


def test_checks_of_others_do_not_pay_for_a_list_that_does_not_help(simulate, waits, clock):
    """Many that check seldom are listed; three that check often are not, and each check costs them three requests."""
    codat = simulate(order_by_support="ignore", query_support="ignore")
    company = codat.add_company()
    for _ in range(300):
        waits.add(company, codat.add_push(company.id, outcome=Outcome(latency=150)), interval=100)
    for number in range(3):
        waits.add(company, f"never-heard-of-{number}", interval=5, timeout=50)
    waits.run()
    in_the_first_half_of_the_long_pause = [at for at in clock.requested_at() if 1 < at < 49]
    assert len(in_the_first_half_of_the_long_pause) <= 3 * 10


def test_a_page_grows_with_the_operations_that_come_between(codat, waits, clock):
    company = codat.add_company()
    for key in pushes(codat, company, 3):
        codat.outcome(Outcome(latency=60), key=key)
        waits.add(company, key)
    others = [60] + [10] * 14
    for number, count in enumerate(others):
        clock.after(
            4 * number, lambda count=count: [codat.add_push(company.id, status="Success") for _ in range(count)]
        )
    assert waits.run() == ["Success"] * 3
    assert clock.requested_at(BY_KEY) == []


def test_few_among_many_cost_no_more_than_one_by_one(codat, waits, clock):
    company = codat.add_company()
    old = pushes(codat, company, 3)
    for _ in range(2000):
        codat.add_push(company.id, status="Success")
    for key in old:
        waits.add(company, key)
    assert waits.run() == ["Success"] * 3
    assert len(clock.requested_at(BY_KEY)) <= 3 * 7
    assert len(clock.requested_at(LIST)) == 1


def test_an_operation_codat_never_heard_of_is_its_own_waits_trouble_only(codat, waits):
    company = codat.add_company()
    lost = waits.add(company, "nobody-knows-me")
    for key in pushes(codat, company, 5, latency=20):
        waits.add(company, key)
    ended = waits.run()
    assert isinstance(ended[0], errors.CodatNotFoundError)
    assert waits.ended_at[lost] == pytest.approx(60, abs=6)
    assert ended[1:] == ["Success"] * 5


def test_an_id_no_url_can_hold_is_refused_before_any_request(codat, waits):
    waits.add(codat.add_company(), "None")
    (ended,) = waits.run()
    assert isinstance(ended, errors.CodatInputError)
    assert codat.count() == 0
