"""The error of a write whose outcome is unknown: what its text says."""

import pickle

import pytest
from write_course import LONG_AGO, NOW, ROOT, TARGET

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.writing.outcome import OutcomeUnknown

CANDIDATE = PushOperation("a", "Pending", requested_on="then")
UNKNOWN = OutcomeUnknown("it was cut off.", TARGET, ROOT, LONG_AGO, [CANDIDATE], "a gap", NOW)


def test_an_unknown_outcome_says_all_one_needs_to_look_for_it():
    text = str(UNKNOWN)
    for part_of_it in ("bills of company company-1", "it was cut off.", ROOT, "2027-01-15T07:40:00+00:00", "a gap"):
        assert part_of_it in text
    assert "push operation a, Pending, requested then" in text
    assert "mark the task as a success; if it is not, set resubmit=True and clear the task" in text


def test_until_when_a_clear_asks_again_is_said_where_it_does():
    assert "Until 2027-01-15T08:00:00+00:00 you can clear the task" in str(UNKNOWN)
    assert "Until" not in str(OutcomeUnknown("cut off", TARGET, ROOT, LONG_AGO))


@pytest.mark.parametrize(
    ("candidates", "gap", "is_said"), [((), None, True), ((CANDIDATE,), None, False), ((), "a gap", False)]
)
def test_nothing_found_is_said_only_where_that_is_known(candidates, gap, is_said):
    text = str(OutcomeUnknown("cut off", TARGET, ROOT, LONG_AGO, candidates, gap))
    assert ("  none" in text.splitlines()) is is_said


def test_an_unknown_outcome_survives_the_way_between_processes():
    again = pickle.loads(pickle.dumps(UNKNOWN))  # noqa: S301
    assert vars(again) == vars(UNKNOWN)
    assert str(again) == str(UNKNOWN)


def test_an_unknown_outcome_pickles_with_arguments_by_name_and_shows_no_operation():
    refused = PushOperation("a", "Pending", error_message="Supplier ACME owes 4711.")
    unknown = OutcomeUnknown("cut off", TARGET, idempotency_key=ROOT, since=LONG_AGO, candidates=[refused])
    unknown.may_have_landed = True
    again = pickle.loads(pickle.dumps(unknown))  # noqa: S301
    assert (again.candidates, again.may_have_landed) == ((refused,), True)
    assert repr(again) == repr(unknown) == "OutcomeUnknown('cut off')"
