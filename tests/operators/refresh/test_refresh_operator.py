"""The refresh operator: what it queues, how it waits in the worker and the triggerer, and what comes of each end."""

from datetime import timedelta

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, AirflowTaskTimeout
from push_runs import names_all
from refresh_runs import HISTORY, MODES, context, ids, queued, refresh, run

from airflow_provider_codat.api.endpoints.pull_operations import WHAT_TO_DO
from airflow_provider_codat.exceptions import (
    CodatAuthenticationError,
    CodatError,
    CodatForbiddenError,
    CodatInputError,
    CodatNotFoundError,
    CodatRefreshFailed,
    CodatRefreshNotPossible,
    CodatWaitTimeout,
)
from airflow_provider_codat.operators.codat import CodatRefreshOperator
from airflow_provider_codat.simulator import Fault, RefreshOutcome

FINAL = {"AuthError", "PermissionsError"}


# -- what is queued, and what comes of it ------------------------------------------------------------------------------


@MODES
def test_a_refresh_is_queued_and_waited_for_and_its_xcom_has_its_operation(mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=100))
    xcom = run(refresh(company, "invoices", **mode), clock)
    [operation] = codat.refreshes.of_company(company.id)
    assert xcom == {
        "invoices": {
            "status": "Complete",
            "pullOperationId": operation["id"],
            "connectionId": company.connection_id,
            "statusDescription": None,
            "errorMessage": None,
            "requested": operation["requested"],
            "completed": operation["completed"],
        }
    }
    assert 100 <= clock.passed <= 110
    [sent] = queued(codat)
    assert sent.path == f"/companies/{company.id}/data/queue/invoices"
    assert "idempotency-key" not in sent.headers  # Codat would replay an "in progress" for 90 minutes


@MODES
def test_several_data_types_are_waited_for_together(mode, codat, company, clock):
    for number, data_type in enumerate(("bills", "invoices", "items"), start=1):
        codat.refreshes.outcome(RefreshOutcome(latency=40 * number), data_type=data_type)
    xcom = run(refresh(company, ["items", "bills", "invoices", "bills"], **mode), clock)
    assert {data_type: each["status"] for data_type, each in xcom.items()} == dict.fromkeys(
        ("items", "bills", "invoices"), "Complete"
    )
    assert 120 <= clock.passed <= 132
    assert len(queued(codat)) == 3


@pytest.mark.parametrize("deferrable", [False, True])
def test_without_waiting_the_operations_are_returned_as_queued(deferrable, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=100))
    xcom = run(refresh(company, wait_for_completion=False, deferrable=deferrable), clock)
    assert xcom["invoices"]["status"] == "Queued"
    assert clock.passed == 0


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("accounts", ["chartOfAccounts"]),
        ('["bills", "Invoices"]', ["bills", "invoices"]),
        (("bills",), ["bills"]),
    ],
)
def test_data_types_are_named_in_any_way(given, asked, codat, company, clock):
    assert list(run(refresh(company, given), clock)) == asked


def test_a_data_type_that_is_misspelled_is_warned_of(codat, company, clock, logged):
    run(refresh(company, ["bills", "invoises"]), clock)
    assert "invoises is not a data type that this version knows" in logged()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"data_types": []}, "data_types is empty"),
        ({"data_types": "["}, "tojson"),
        ({"data_types": ["a/b"]}, "data_types"),
        ({"data_types": [7]}, "data_types"),
        ({"company_id": ""}, "company_id is empty"),
        ({"connection_id": "a b"}, "connection_id"),
        ({"on_not_supported": "ignore"}, "on_not_supported is 'ignore'"),
        ({"poke_interval": 0}, "poke_interval is 0"),
    ],
)
def test_a_wrong_literal_fails_at_dag_parse(arguments, says):
    with pytest.raises(CodatInputError, match=says):
        CodatRefreshOperator(**{"task_id": "refresh", "company_id": "company-1"} | arguments)


def test_templates_are_rendered(codat, company, clock):
    operator = refresh(company, "{{ params.types | tojson }}", company_id="{{ params.company }}")
    given = context(operator, clock) | {"params": {"types": ["bills", "items"], "company": company.id}}
    operator.render_template_fields(given)
    assert list(operator.execute(given)) == ["bills", "items"]


def test_it_is_not_run_outside_of_a_task(company):
    with pytest.raises(CodatInputError, match="no ti"):
        refresh(company).execute({})


# -- each end ----------------------------------------------------------------------------------------------------------


@MODES
@pytest.mark.parametrize("fail_on_error", [True, False])
@pytest.mark.parametrize("status", [each for each in WHAT_TO_DO if each != "NotSupported"])
def test_an_end_with_an_error(status, fail_on_error, mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(status, latency=20, error_message="It broke."), data_type="bills")
    operator = refresh(company, ["invoices", "bills"], **mode, fail_on_error=fail_on_error)
    if not fail_on_error:
        xcom = run(operator, clock)
        assert (xcom["bills"]["status"], xcom["bills"]["errorMessage"]) == (status, "It broke.")
        assert xcom["invoices"]["status"] == "Complete"
        return
    with pytest.raises(CodatRefreshFailed) as raised:
        run(operator, clock)
    assert isinstance(raised.value, AirflowFailException) == (status in FINAL)
    assert isinstance(raised.value, CodatRefreshNotPossible) == (status in FINAL)
    [key] = ids(codat, company, "bills")
    assert names_all(raised.value, (company.id, "bills", status, key, "It broke."))
    assert str(raised.value).endswith("The others: invoices Complete")
    assert [each.status for each in raised.value.refresh.operations] == ["Complete", status]


@MODES
def test_an_authorization_that_has_expired_names_the_address_to_link_again(mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    clock.after(30, lambda: codat.set_connection_status(company.id, "Deauthorized"))
    with pytest.raises(CodatRefreshNotPossible, match="The customer has to authorize it at http"):
        run(refresh(company, **mode), clock)


def test_the_failure_is_told_even_if_the_connections_cannot_be_read(codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome("AuthError", latency=7))
    clock.after(6, lambda: codat.fault(Fault("status", path=r".*/connections", times=None, status=400)))
    with pytest.raises(CodatRefreshNotPossible, match="AuthError"):
        run(refresh(company), clock)


@MODES
@pytest.mark.parametrize("on_not_supported", ["skip", "fail"])
@pytest.mark.parametrize("data_types", ["bills", ["bills", "invoices"]])
@pytest.mark.parametrize("is_refused", [False, True], ids=["as the end", "at once"])
def test_a_data_type_that_the_platform_does_not_have(
    is_refused, data_types, on_not_supported, mode, codat, company, clock, logged
):
    if is_refused:
        body = {"statusCode": 404, "error": "Datatype bills is not supported by platform Xero."}
        codat.fault(Fault("status", status=404, body=body, path=r".*/queue/bills"))
    else:
        codat.refreshes.outcome(RefreshOutcome("NotSupported", latency=20), data_type="bills")
    operator = refresh(company, data_types, **mode, on_not_supported=on_not_supported)
    if on_not_supported == "fail":
        with pytest.raises(CodatRefreshNotPossible, match="does not have bills: leave it out of data_types"):
            run(operator, clock)
    elif data_types == "bills":
        with pytest.raises(AirflowSkipException, match="does not have bills"):
            run(operator, clock)
    else:
        xcom = run(operator, clock)
        assert (xcom["invoices"]["status"], xcom["bills"]["status"]) == ("Complete", "NotSupported")
        assert ("bills: NotSupported" if "end_from_trigger" in mode else "does not have bills: left out") in logged()


@MODES
def test_a_status_that_this_version_does_not_know_is_waited_out(mode, codat, company, clock, logged):
    codat.refreshes.outcome(RefreshOutcome(latency=50, course=["Queued", "Reconciling"]))
    assert run(refresh(company, **mode), clock)["invoices"]["status"] == "Complete"
    assert logged().count("'Reconciling', which this version does not know") <= 2  # structlog, and a copy


@MODES
@pytest.mark.parametrize("flags", [{"is_completed": True}, {"is_errored": True}])
def test_an_unknown_word_ends_a_refresh_if_a_flag_says_so(flags, mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome("Reconciling", latency=20, **flags))
    operator = refresh(company, **mode)
    if "is_completed" in flags:
        assert run(operator, clock)["invoices"]["status"] == "Reconciling"
    else:
        with pytest.raises(CodatRefreshFailed, match="ended as Reconciling"):
            run(operator, clock)


# -- waiting -----------------------------------------------------------------------------------------------------------


@MODES
@pytest.mark.parametrize("kind", ["gateway", "reset", "truncated", "html"])
def test_a_check_that_fails_is_made_up_for_by_the_next(kind, mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=12))
    codat.fault(Fault(kind, path=HISTORY + ".*", status=503))
    assert run(refresh(company, **mode), clock)["invoices"]["status"] == "Complete"


@MODES
@pytest.mark.parametrize(("status", "error"), [(401, CodatAuthenticationError), (403, CodatForbiddenError)])
def test_a_check_that_is_refused_ends_the_try_and_the_next_one_waits_for_the_same_refresh(
    status, error, mode, codat, company, clock
):
    codat.refreshes.outcome(RefreshOutcome(latency=600))
    codat.fault(Fault("status", status=status, path=HISTORY + ".*", times=None))
    with pytest.raises(error):
        run(refresh(company, **mode), clock)
    assert clock.passed < 60
    codat.clear_faults()
    xcom = run(refresh(company, **mode), clock, try_number=2)
    assert [(xcom["invoices"]["pullOperationId"], xcom["invoices"]["status"])] == [(ids(codat, company)[0], "Complete")]
    assert len(queued(codat)) == 1


@MODES
def test_a_check_that_comes_too_often_is_made_up_for_when_codat_allows_it(mode, codat, company, clock):
    """The worker waits for longer than the 60 seconds that its requests wait for one answer."""
    codat.refreshes.outcome(RefreshOutcome(latency=20))
    codat.fault(Fault("status", status=429, headers={"Retry-After": "300"}, path=HISTORY + ".*"))
    assert run(refresh(company, **mode), clock)["invoices"]["status"] == "Complete"
    first, second, *_ = clock.requested_at(HISTORY + ".*")
    assert first < 20
    assert 300 <= second - first < 340


TYPES = ["bills", "invoices", "items", "payments", "suppliers", "customers"]


def test_three_or_more_are_read_by_one_page_of_the_list(codat, company, clock):
    for number, data_type in enumerate(TYPES, start=1):
        codat.refreshes.outcome(RefreshOutcome(latency=100 * number), data_type=data_type)
    xcom = run(refresh(company, TYPES), clock)
    assert {each["status"] for each in xcom.values()} == {"Complete"}
    assert 600 <= clock.passed <= 665
    assert 25 < codat.count("GET", HISTORY) <= 33  # up to the end of the fourth, at 400 s
    assert 2 < codat.count("GET", HISTORY + "/.+") < 12  # the last two, each by itself


def test_two_are_read_by_themselves(codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    run(refresh(company, TYPES[:2]), clock)
    assert codat.count("GET", HISTORY) == 0


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 400}, {"kind": "reset"}], ids=str)
def test_each_is_read_by_itself_after_a_page_that_failed(fault, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    codat.fault(Fault(**fault, path=HISTORY))
    assert {each["status"] for each in run(refresh(company, TYPES), clock).values()} == {"Complete"}
    assert codat.count("GET", HISTORY) == 1


def test_each_is_read_by_itself_if_the_page_does_not_show_them(simulate, clock):
    codat = simulate(list_lag=10_000.0)
    company = codat.add_company()
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    assert {each["status"] for each in run(refresh(company, TYPES), clock).values()} == {"Complete"}
    assert codat.count("GET", HISTORY) == 1
    assert clock.passed < 70


def test_one_that_the_page_does_not_show_is_read_by_itself(codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=60))
    codat.refreshes.add(company.id, "bills", requested_on=clock.time() - 3600, outcome=RefreshOutcome(latency=3700))
    for number in range(200):
        codat.refreshes.add(company.id, "transfers", requested_on=clock.time() - 1800 + number)
    assert {each["status"] for each in run(refresh(company, TYPES), clock).values()} == {"Complete"}
    assert codat.count("GET", HISTORY) > 1
    assert codat.count("GET", HISTORY + "/.+") > 1


@MODES
def test_an_operation_that_cannot_be_read_at_first_is_waited_for(mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=12))
    codat.fault(Fault("not_found", path=HISTORY + "/.*", times=3))
    assert run(refresh(company, **mode), clock)["invoices"]["status"] == "Complete"


@MODES
def test_an_operation_that_stays_missing_fails_the_task(mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=1200))
    codat.fault(Fault("not_found", path=HISTORY + ".*", times=None))
    with pytest.raises(CodatNotFoundError):
        run(refresh(company, **mode), clock)
    assert 60 <= clock.passed <= 90


@MODES
def test_a_pause_at_codat_is_logged_and_no_check_comes_before_its_end(mode, codat, company, clock, logged):
    """Fetching begins after 20 s, and is paused for 300 s. The last check before shows when the pause ends."""
    codat.refreshes.outcome(RefreshOutcome(latency=400, paused_for=300))
    run(refresh(company, **mode), clock)
    seen = [at for at in clock.requested_at(HISTORY + ".*") if 20 <= at < 320]
    assert len(seen) == 1
    assert "Fetching (Paused until 2027-01-15T08:05:20" in logged()


def test_a_long_pause_is_checked_every_max_wait(codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=7300, paused_for=7200))
    run(refresh(company, max_wait=900), clock)
    during = [pause for pause in clock.pauses(HISTORY + ".*") if pause > 100]
    assert during[:8] == pytest.approx([900] * 8, abs=1)


def test_a_fixed_interval_is_kept_over_a_pause(codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=400, paused_for=300))
    run(refresh(company, poke_interval=30, exponential_backoff=False), clock)
    assert clock.pauses(HISTORY + ".*") == pytest.approx([30] * 13, abs=0.1)


def test_the_default_pace_reaches_ten_minutes(codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=20 * 3600))
    run(refresh(company), clock)
    assert max(clock.pauses()) == pytest.approx(600, abs=1)
    assert len(clock.sent) < 180


@MODES
def test_the_wait_ends_after_a_day_and_the_refresh_goes_on(mode, codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=1e6, course=["Queued"], status_description="The machine is off"))
    with pytest.raises(CodatWaitTimeout) as raised:
        run(refresh(company, ["invoices", "bills"], **mode), clock)
    assert 86400 <= clock.passed < 86402
    assert names_all(raised.value, ("Queued (The machine is off)", "refresh itself goes on at Codat", company.id))
    assert raised.value.last_status == ("invoices Queued (The machine is off), bills Queued (The machine is off)")


def test_execution_timeout_limits_a_deferral(codat, company, clock):
    codat.refreshes.outcome(RefreshOutcome(latency=1e6))
    with pytest.raises(AirflowTaskTimeout, match="execution_timeout of 0:10:00"):
        run(refresh(company, deferrable=True, execution_timeout=timedelta(minutes=10)), clock)
    assert 600 <= clock.passed < 602


@pytest.mark.parametrize("event", [{"error": "Trigger failure", "traceback": ["boom"]}, {}])
def test_a_trigger_that_broke_says_nothing_of_the_refresh(event, codat, company, clock):
    operator = refresh(company, deferrable=True)
    with pytest.raises(CodatError, match="the refresh's status is not known"):
        operator.resume_execution("__fail__", event, context(operator, clock))
    with pytest.raises(CodatWaitTimeout, match=r"refresh of invoices of company .* had not ended within the timeout"):
        operator.resume_execution("__fail__", {"error": "Trigger timeout"}, context(operator, clock))


def test_a_task_that_is_killed_says_that_codat_cannot_cancel_the_refresh(codat, company, clock, logged):
    operator = refresh(company, ["invoices", "bills"], timeout=30)
    operator.on_kill()
    assert "Codat may have queued the refresh" in logged()
    codat.refreshes.outcome(RefreshOutcome(latency=100))
    with pytest.raises(CodatWaitTimeout):
        run(operator, clock)
    operator.on_kill()
    said = logged()
    assert all(f"get_pull_operation({company.id!r}, {key!r})" in said for key in ids(codat, company))
