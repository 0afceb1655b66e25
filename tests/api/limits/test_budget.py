"""The budget of a process: how share, brake, quota and counter work together."""

from datetime import UTC, datetime

import pytest

from airflow_provider_codat.api.http.response import RateLimit
from airflow_provider_codat.api.limits.brake import DOWN_AFTER, FIRST_PAUSE
from airflow_provider_codat.api.limits.budget import Budget
from airflow_provider_codat.api.limits.share import IDLE

NOW = 1_000.0
WALL = 1_800_000_000.0
DAY = 24 * 60 * 60


def headers(used, limit=1_000_000):
    return RateLimit(limit, limit - used, datetime.fromtimestamp(WALL + DAY, UTC))


def send(budget, now, used=None):
    """Return the budget after a request and its answer at once."""
    shown = None if used is None else headers(used)
    return budget.sent(now).answered(shown, now, WALL, is_probe=False)


def test_the_first_request_in_a_process_does_not_wait():
    assert Budget().wait(NOW) == 0


def test_the_longest_wait_counts():
    busy = send(Budget(), NOW, used=50_000)
    busy = busy.sent(NOW).sent(NOW)
    assert 0 < busy.wait(NOW) < 60
    paused = busy.refused(100, None, NOW, WALL, is_probe=False)
    assert paused.wait(NOW) == 100
    short = busy.sent(NOW).answered(headers(990, limit=1000), NOW, WALL, is_probe=False).sent(NOW)
    assert short.wait(NOW) == pytest.approx(DAY)
    assert short.wait(NOW, spreads_quota=False) < 60


def test_every_end_of_a_request_is_counted():
    budget = Budget()
    for _ in range(4):
        budget = budget.sent(NOW)
    budget = budget.answered(None, NOW, WALL, is_probe=False).failed(NOW, NOW, is_probe=False)
    budget = budget.refused(None, None, NOW, WALL, is_probe=False).abandoned(is_probe=False)
    assert budget.share.under_way == 0


def fast():
    """Return the budget of a process that sends at a high pace."""
    budget = Budget()
    for number in range(200):
        budget = send(budget, NOW + number / 10, used=number)
    assert budget.share.pace > 5 * budget.share.first_pace
    return budget


def test_after_a_pause_a_process_starts_slowly():
    refused = fast().sent(NOW + 20).refused(1, None, NOW + 20, WALL, is_probe=False)
    failed = fast()
    for _ in range(DOWN_AFTER):
        assert failed.share.pace > failed.share.first_pace
        failed = failed.sent(NOW + 20).failed(NOW + 20, NOW + 20, is_probe=False)
    assert failed.wait(NOW + 20) == FIRST_PAUSE
    assert refused.share.pace == failed.share.pace == Budget().share.first_pace


@pytest.mark.parametrize("is_probe", [True, False])
def test_only_the_probe_makes_way_for_another_one(is_probe):
    probing = Budget().sent(NOW).refused(20, None, NOW, WALL, is_probe=False).sent(NOW + 20)
    assert probing.abandoned(is_probe=is_probe).brake.is_probing == (not is_probe)


def test_a_process_that_sends_fast_already_is_not_slowed_by_another_start():
    assert fast().starting_with(1 / 12).share.pace == fast().share.pace


def test_another_limit_holds_at_once():
    assert fast().with_limit(60).share.pace == 1
    assert fast().with_limit(9_000).share.limit == 9_000


def test_without_headers_the_own_requests_are_counted():
    budget = Budget()
    for second in range(100):
        budget = send(budget, NOW + second)
    assert budget.counter is None
    assert budget.share.last_minute(NOW + 99) == pytest.approx(60, abs=2)


def test_a_proxys_answers_do_not_change_how_requests_are_counted():
    budget = send(send(Budget(), NOW, used=50), NOW + 1)
    assert budget.share.marks[-1] == (NOW, 50)


def test_headers_that_no_longer_come_are_no_longer_waited_for():
    budget = send(send(Budget(), NOW, used=50), NOW + IDLE + 1)
    assert budget.counter is None
    budget = send(budget, NOW + IDLE + 2)
    assert budget.share.marks[-1] == (NOW + IDLE + 2, 3)


def test_the_account_is_counted_as_soon_as_headers_come():
    budget = send(send(Budget(), NOW), NOW + 1, used=700)
    assert budget.share.last_minute(NOW + 1) == 700
    assert budget.share.marks[-1] == (NOW + 1, 700)
