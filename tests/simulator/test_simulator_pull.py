"""Refreshes from the request to the end, as https://docs.codat.io/core-concepts/status describes them."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_codat.simulator import RefreshOutcome
from airflow_provider_codat.simulator.outcomes import COURSE, REFRESH_TERMINAL_STATUSES


def history(client, **params):
    return client.get(client.path("/data/history"), params=params).json()["results"]


def statuses(client, pull, reads):
    return [client.pulled(pull)["status"] for _ in range(reads)]


# --- one refresh -----------------------------------------------------------------------------------------------------


def test_a_refresh_is_queued_and_complete_at_the_next_read(client):
    queued = client.refresh()
    assert queued == {
        "id": queued["id"],
        "companyId": client.company.id,
        "connectionId": client.company.connection_id,
        "dataType": "invoices",
        "status": "Queued",
        "statusDescription": None,
        "errorMessage": None,
        "requested": "2030-01-01T00:00:00.000000Z",
        "progress": 0,
        "isCompleted": False,
        "isErrored": False,
    }
    ended = {"status": "Complete", "completed": queued["requested"], "progress": 100, "isCompleted": True}
    assert client.pulled(queued) == queued | ended


def test_the_statuses_share_the_latency(client, clock):
    client.codat.refreshes.outcome(RefreshOutcome(latency=50))
    pull, seen = client.refresh(), []
    for _ in range(6):
        shown = client.pulled(pull)
        seen.append((shown["status"], shown["progress"], shown["isCompleted"]))
        clock.now += 10
    assert seen == [
        *((status, 20 * position, False) for position, status in enumerate(COURSE)),
        ("Complete", 100, True),
    ]
    assert client.pulled(pull)["completed"] == "2030-01-01T00:00:50.000000Z"


def test_a_course_of_its_own(client):
    course = ["Initial", "Queued", "Reconciling"]
    client.codat.refreshes.outcome(RefreshOutcome(polls=4, course=course))
    pull = client.refresh()
    assert pull["status"] == "Initial"
    assert statuses(client, pull, 5) == [*course, "Reconciling", "Complete"]


def test_a_pause_says_until_when(client, clock):
    client.codat.refreshes.outcome(RefreshOutcome(latency=3650, paused_for=3600))
    pull, seen = client.refresh(), []
    for seconds in (0, 10, 3599, 1, 10, 30):
        clock.now += seconds
        shown = client.pulled(pull)
        seen.append((shown["status"], shown["statusDescription"]))
    paused = ("Fetching", "Paused until 2030-01-01T01:00:10.000000Z")
    assert seen == [
        ("Queued", None),
        paused,
        paused,
        ("Fetching", None),
        ("Mapping", None),
        ("Complete", None),
    ]


def test_a_description_while_it_runs(client):
    text = "Waiting for QuickBooks Desktop"
    client.codat.refreshes.outcome(RefreshOutcome(polls=1, status_description=text))
    pull = client.refresh()
    assert [client.pulled(pull)["statusDescription"] for _ in range(2)] == [text, None]


def test_one_that_never_ends(client, clock):
    client.codat.refreshes.outcome(RefreshOutcome(latency=math.inf))
    pull = client.refresh()
    clock.now += 1e6
    assert client.pulled(pull)["status"] == "Queued"
    client.codat.refreshes.finish(pull["id"])
    assert client.pulled(pull)["status"] == "Complete"
    with pytest.raises(ValueError, match="has already ended as Complete"):
        client.codat.refreshes.finish(pull["id"])


@pytest.mark.parametrize("status", sorted(REFRESH_TERMINAL_STATUSES))
def test_every_end(client, status):
    client.codat.refreshes.outcome(RefreshOutcome(status, error_message="why"))
    shown = client.pulled(client.refresh())
    assert (shown["status"], shown["errorMessage"], "completed" in shown) == (status, "why", True)
    assert (shown["isCompleted"], shown["isErrored"]) == (status == "Complete", status.endswith("Error"))


@pytest.mark.parametrize("flag", ["is_completed", "is_errored"])
def test_an_end_that_nobody_knows(client, flag):
    client.codat.refreshes.outcome(RefreshOutcome("SourceError", **{flag: False}))
    shown = client.pulled(client.refresh())
    assert shown["status"] == "SourceError"
    assert (shown["isCompleted"], shown["isErrored"]) == (False, flag == "is_completed")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"status": "Finished"}, "not as 'Finished'; for another word"),
        ({"course": []}, "at least one status"),
        ({"paused_for": 10}, "a pause of 10 s needs that latency"),
        ({"paused_for": 10, "latency": math.inf}, "a pause of 10 s needs that latency"),
        ({"paused_for": 10, "latency": 20, "course": ["Queued"]}, "and Fetching in the course"),
    ],
)
def test_an_outcome_that_cannot_be(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        RefreshOutcome(**arguments)


@pytest.mark.parametrize(
    ("status", "last"),
    [("FetchError", "Fetching"), ("AuthError", "Fetching"), ("MapError", "Mapping"), ("ValidationError", "Validating")],
)
def test_an_error_ends_the_course_where_it_happens(status, last):
    assert RefreshOutcome(status).statuses[-1] == last


@given(
    latency=st.floats(0.001, 1e5),
    pause=st.floats(0, 1),
    course=st.permutations(COURSE),
    shares=st.lists(st.floats(0, 1, exclude_max=True), min_size=2),
)
@example(latency=5.0, pause=0.9999999999999999, course=[*COURSE], shares=[0.5, 0.9999999999999998])
def test_statuses_come_in_their_order_and_a_pause_is_within_fetching(latency, pause, course, shares):
    outcome = RefreshOutcome(latency=latency, paused_for=latency * pause, course=course)
    moments = [outcome.moment(latency * share, 0) for share in sorted(shares)]
    positions = [course.index(moment.status) for moment in moments]
    assert positions == sorted(positions)
    assert [moment.progress for moment in moments] == [20 * position for position in positions]
    for share, moment in zip(sorted(shares), moments, strict=True):
        if moment.pause_ends is not None:
            assert moment.status == "Fetching"
            assert latency * share <= moment.pause_ends <= latency * (1 + 1e-9)


def test_the_validation_of_an_operation(client):
    error = {"ruleId": "r1", "itemId": "7", "message": "no number", "validatorName": "Invoices"}
    client.codat.refreshes.outcome(RefreshOutcome("ValidationError", polls=1, errors=[error], warnings=["odd"]))
    path = client.path(f"/sync/{client.refresh()['id']}/validation")
    assert client.get(path).json() == {"errors": [], "warnings": []}
    statuses(client, {"id": path.split("/")[-2]}, 2)
    assert client.get(path).json() == {"errors": [error], "warnings": [{"message": "odd"}]}


def test_operations_of_others_are_unknown(client):
    other = client.codat.add_company()
    key = client.codat.refreshes.add(other.id, "invoices")
    for path in ("/data/history/none", f"/data/history/{key}", "/sync/none/validation", f"/sync/{key}/validation"):
        assert client.get(client.path(path)).status_code == 404


# --- which outcome ---------------------------------------------------------------------------------------------------


def test_the_most_specific_outcome_wins(client):
    codat, other = client.codat, client.codat.add_company()
    second = codat.add_connection(client.company.id)
    for text, scope in {
        "any": {},
        "type": {"data_type": "invoices"},
        "connection": {"connection_id": second.id},
        "company": {"company_id": client.company.id},
        "both": {"company_id": client.company.id, "data_type": "invoices"},
    }.items():
        codat.refreshes.outcome(RefreshOutcome("FetchError", error_message=text), **scope)

    def ended(*place):
        return codat.refreshes.get(codat.refreshes.add(*place))["errorMessage"]

    assert ended(other.id, "bills") == "any"
    assert ended(other.id, "invoices") == "type"
    assert ended(client.company.id, "bills") == "company"
    assert ended(client.company.id, "invoices") == "both"
    codat.refreshes.outcome(
        RefreshOutcome("FetchError", error_message="all"), company_id=client.company.id, connection_id=second.id
    )
    assert ended(client.company.id, "invoices", second.id) == "all"
    codat.refreshes.outcomes([RefreshOutcome("FetchError", error_message="first")])
    assert [ended(other.id, "bills") for _ in range(2)] == ["first", "any"]


def test_a_connection_counts_before_a_data_type(client):
    codat = client.codat
    codat.refreshes.outcome(RefreshOutcome("MapError"), connection_id=client.company.connection_id)
    codat.refreshes.outcome(RefreshOutcome("FetchError"), data_type="invoices")
    assert client.pulled(client.refresh())["status"] == "MapError"


def test_the_first_fails_and_the_next_succeeds(client):
    client.codat.refreshes.outcomes([RefreshOutcome("FetchError"), RefreshOutcome()])
    assert [client.pulled(client.refresh())["status"] for _ in range(3)] == ["FetchError", "Complete", "Complete"]


def test_a_distribution_is_drawn_from_reproducibly(simulate):
    def draw():
        client = simulate()
        client.codat.refreshes.outcomes([RefreshOutcome(), RefreshOutcome("MapError")], weights=[3, 1], seed=7)
        return [client.pulled(client.refresh())["status"] for _ in range(40)]

    first = draw()
    assert first == draw()
    assert 0 < first.count("MapError") < first.count("Complete")


def test_the_outcome_of_a_running_refresh(client, clock):
    client.codat.refreshes.outcome(RefreshOutcome(latency=10))
    pull = client.refresh()
    client.codat.refreshes.outcome(RefreshOutcome("FetchError", latency=20), id=pull["id"])
    clock.now += 15
    assert client.pulled(pull)["isErrored"] is False
    clock.now += 5
    assert client.pulled(pull)["status"] == "FetchError"


def test_the_default_latency(simulate, clock):
    client = simulate(refresh_latency=5)
    pull = client.refresh()
    assert client.pulled(pull)["status"] == "Queued"
    clock.now += 5
    assert client.pulled(pull)["status"] == "Complete"


def test_a_data_type_that_codat_does_not_have_is_refused(client):
    assert client.post(client.path("/data/queue/bils")).json()["error"].startswith("Datatype 'bils' not supported")
    for call in (
        lambda: client.codat.refreshes.add(client.company.id, "bils"),
        lambda: client.codat.refreshes.outcome(RefreshOutcome(), data_type="bils"),
        lambda: client.codat.source(client.company.id, "bils"),
    ):
        with pytest.raises(ValueError, match="data_type is 'bils', but Codat has"):
            call()


# --- the history -----------------------------------------------------------------------------------------------------


def test_the_history_is_paged_queried_and_ordered(client, clock):
    client.codat.refreshes.outcome(RefreshOutcome("NotSupported"), data_type="items")
    for data_type in ("invoices", "items", "bills"):
        client.refresh(data_type)
        clock.now += 60
    assert [pull["dataType"] for pull in history(client, orderBy="-requested", pageSize=2)] == ["bills", "items"]
    assert [pull["dataType"] for pull in history(client, query="requested>=2030-01-01T00:01:00Z")] == ["items", "bills"]
    assert [pull["dataType"] for pull in history(client, query="status!=Complete&&status!=NotSupported")] == []
    refused = client.get(client.path("/data/history"), params={"query": "isCompleted=true"})
    assert (refused.status_code, "isCompleted" in refused.json()["error"]) == (400, True)


def test_a_history_that_lags(simulate, clock):
    client = simulate(list_lag=30)
    pull = client.codat.refreshes.add(client.company.id, "invoices", outcome=RefreshOutcome(latency=50))
    clock.now += 29
    assert history(client) == []
    clock.now += 21
    assert client.codat.refreshes.get(pull)["status"] == "Complete"
    assert [each["status"] for each in history(client)] == ["Mapping"]
    clock.now += 30
    assert [each["status"] for each in history(client)] == ["Complete"]


def test_new_operations_may_be_hidden(simulate):
    client = simulate(hidden_gets=1, hidden_lists=1)
    pull = client.refresh()
    assert client.get(client.path(f"/data/history/{pull['id']}")).status_code == 404
    assert (client.pulled(pull)["status"], history(client), len(history(client))) == ("Complete", [], 1)


def test_a_list_is_a_read_of_each(client):
    client.codat.refreshes.outcome(RefreshOutcome(polls=2))
    client.refresh()
    assert [history(client)[0]["status"] for _ in range(3)] == ["Queued", "Fetching", "Complete"]
