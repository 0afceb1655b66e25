"""400 waits that lose one triggerer after the other: one is frozen, the other killed for good."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
from distributed.runs import PATIENCE, Deferral, Runs, Wait
from distributed_airflow import TRIGGERERS

from airflow_provider_codat.simulator import Outcome

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from distributed_airflow import DistributedAirflow

    from airflow_provider_codat.simulator import CodatSimulator

pytestmark = pytest.mark.timeout(1800)

COMPANIES = 20
#: Waits of each company with a worker, and as many without.
EACH = 10
#: Seconds for which a triggerer is frozen.
FREEZE = 40
#: One operation in so many fails.
ONE_IN = 20
REFUSED = Outcome("Failed", error_message="The ledger is closed.")


class Story:
    """What happens, and what is seen of it."""

    def __init__(self, airflow: DistributedAirflow, codat: CodatSimulator) -> None:
        self.airflow = airflow
        self.codat = codat
        self.runs = Runs(airflow, "codat_default")
        self.outcomes: dict[str, Outcome] = {}
        self.moments: list[dict[int, Deferral]] = []
        self.holders: list[Counter[int | None]] = []
        self.seconds: dict[str, float] = {}

    def play(self) -> None:
        """Freeze a triggerer until the other has its waits, kill the other, and let the first go on."""
        companies = [self.codat.add_company(f"Company {number} of the waits") for number in range(COMPANIES)]
        with_worker, without = ([self._wait(each.id) for each in companies * EACH] for _ in range(2))
        waits = with_worker + without
        self.runs.defer(with_worker)
        self.runs.defer_without_worker(without)
        self._wait_until("all to be deferred", lambda: self.runs.counts() == {"deferred": len(waits)})
        self._wait_until("triggerers", lambda: None not in self.runs.triggerers())
        self._look()

        frozen, killed = TRIGGERERS
        thaw = time.monotonic() + FREEZE
        self.airflow.signal(frozen, signal.SIGSTOP)
        self._wait_for_one_triggerer("after SIGSTOP")
        self._finish(waits[0::3])
        self._wait_until("an end", lambda: self.runs.counts()["success"] > 0)

        self.airflow.kill(killed)
        self._finish(waits[1::3])
        self._look()
        self._wait_until("the end of the freeze", lambda: time.monotonic() > thaw)
        self.airflow.signal(frozen, signal.SIGCONT)
        self._wait_for_one_triggerer("after SIGCONT")

        self._finish(waits[2::3])
        self.runs.wait_for_the_end()
        self.airflow.start(killed)

    def _wait(self, company_id: str) -> Wait:
        return Wait(company_id, self.codat.add_push(company_id))

    def _finish(self, waits: list[Wait]) -> None:
        for wait in waits:
            outcome = self.outcomes[wait.key] = Outcome() if len(self.outcomes) % ONE_IN else REFUSED
            self.codat.finish(wait.key, outcome)

    def _wait_until(self, what: str, condition: Callable[[], bool]) -> None:
        self.airflow.wait_until(what, condition, timeout=PATIENCE)

    def _look(self) -> None:
        self.moments.append(self.runs.deferrals())
        self.holders.append(self.runs.triggerers())

    def _wait_for_one_triggerer(self, name: str) -> None:
        """Wait until another triggerer than before has all waits, or one where two had them."""
        before = self.holders[-1].keys()
        began = time.monotonic()

        def has_all() -> bool:
            now = self.runs.triggerers().keys()
            return len(now) == 1 and now != before

        self._wait_until("one triggerer to have all waits", has_all)
        self.seconds[name] = time.monotonic() - began
        self._look()


@pytest.fixture(scope="module")
def story(
    airflow: DistributedAirflow, codat: CodatSimulator, record_testsuite_property: Callable[[str, object], None]
) -> Story:
    story = Story(airflow, codat)
    story.play()
    for name, seconds in story.seconds.items():
        record_testsuite_property(f"seconds until one triggerer had all waits, {name}", round(seconds, 1))
    return story


def test_first_both_triggerers_have_waits_then_the_one_then_the_other(story: Story) -> None:
    both, one, same, other = (holders.keys() for holders in story.holders)
    assert len(both) == 2
    assert one == same
    assert one | other == both
    assert one != other


def test_every_task_ends_in_the_state_its_operation_asks_for(story: Story) -> None:
    expected = {
        instance: "success" if story.outcomes[key].status == "Success" else "failed"
        for instance, key in story.runs.keys.items()
    }
    assert story.runs.states() == expected


def test_the_xcom_is_the_operation(story: Story) -> None:
    expected = {}
    for instance, key in story.runs.keys.items():
        if story.outcomes[key].status == "Success":
            operation = story.codat.push(key)
            expected[instance] = {**operation, "recordId": operation["changes"][0]["recordRef"]["id"]}
    assert story.runs.xcoms() == expected


def test_no_deadline_moves(story: Story) -> None:
    first, *later = story.moments
    assert len(first) == len(story.runs.keys)
    for moment in later:
        assert moment.items() <= first.items()


def test_every_task_is_started_and_ended_once(story: Story) -> None:
    """In a worker where it needs one: a sensor that has none starts one only to fail."""
    workers = {
        instance: 2 if instance.map_index >= 0 else 1
        for instance, key in story.runs.keys.items()
        if instance.map_index >= 0 or story.outcomes[key].status != "Success"
    }
    assert story.runs.starts() == workers, story.runs.lost_tries()
