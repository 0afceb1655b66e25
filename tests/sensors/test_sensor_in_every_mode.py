"""One table: a push that ends one way or another means the same in each mode of the sensor."""

from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout, AirflowSkipException, AirflowTaskTimeout
from sensor_driver import MODES, Driver

from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatAuthenticationError,
    CodatForbiddenError,
    CodatNotFoundError,
    CodatPushOperationFailed,
)
from airflow_provider_codat.sensors.codat import CodatPushOperationSensor
from airflow_provider_codat.simulator import Fault, Outcome

FAILED = Outcome(
    "Failed", polls=2, error_message="Not accepted.", errors=[{"itemId": "lines[0]", "message": "Unknown account."}]
)
TIMED_OUT = Outcome("TimedOut", polls=2)
AFTER_TWO_CHECKS = Outcome(polls=2, record_id="record-1")
NEVER = Outcome(latency=float("inf"))
STAYS = None


@dataclass
class Case:
    """A push, what happens to its checks, and how the sensor must end.

    :param outcome: how the push ends.
    :param faults: what hits the first requests.
    :param over_after: virtual seconds after which all faults are over.
    :param sensor: arguments of the sensor.
    :param error: the exact type raised, or ``None`` for the operation as XCom.
    :param says: what the error's message holds.
    :param silent: what it does not hold.
    :param takes: at least and at most how many virtual seconds pass.
    """

    outcome: Outcome = AFTER_TWO_CHECKS
    faults: tuple[Fault, ...] = ()
    over_after: float | None = None
    sensor: dict = field(default_factory=dict)
    error: type[BaseException] | None = None
    says: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    takes: tuple[float, float] = (0, 1000)
    status: str = "Pending"


def trouble(kind, *, times=2, **details):
    return (Fault(kind, times=times, path=".*/push/.*", **details),)


CASES = {
    # how the push ends
    "success at the first check": Case(Outcome(record_id="record-1"), takes=(0, 0)),
    "success after two checks": Case(AFTER_TWO_CHECKS, takes=(10, 11)),
    "success after Processing": Case(AFTER_TWO_CHECKS, status="Processing"),
    "failed": Case(
        FAILED,
        error=CodatPushOperationFailed,
        says=("bills", "Failed", "Not accepted.", "lines[0]: Unknown account."),
    ),
    "failed at the first check": Case(Outcome("Failed"), error=CodatPushOperationFailed, takes=(0, 0)),
    "timed out": Case(TIMED_OUT, error=CodatPushOperationFailed, says=("TimedOut",)),
    "failed, soft_fail": Case(FAILED, sensor={"soft_fail": True}, error=AirflowSkipException),
    "failed at the first check, soft_fail": Case(
        Outcome("Failed"), sensor={"soft_fail": True}, error=AirflowSkipException, takes=(0, 0)
    ),
    "timed out, soft_fail": Case(TIMED_OUT, sensor={"soft_fail": True}, error=AirflowSkipException),
    "failed, never_fail": Case(FAILED, sensor={"never_fail": True}, error=AirflowSkipException),
    "failed, returned": Case(FAILED, sensor={"fail_on_unsuccessful": False}),
    "timed out, returned": Case(TIMED_OUT, sensor={"fail_on_unsuccessful": False}),
    "failed, returned in spite of soft_fail": Case(FAILED, sensor={"fail_on_unsuccessful": False, "soft_fail": True}),
    # a status nobody knows
    "unknown status, then success": Case(faults=trouble("unknown_status", status_word="Queued")),
    "unknown status that stays": Case(
        faults=trouble("unknown_status", status_word="Queued", times=STAYS),
        sensor={"timeout": 60},
        error=AirflowSensorTimeout,
        says=("last status seen: Queued",),
    ),
    # the wait's own limits
    "timeout": Case(
        NEVER,
        sensor={"timeout": 60},
        error=AirflowSensorTimeout,
        says=("timeout of 0:01:00", "last status seen: Pending", "The push itself goes on"),
        takes=(60, 61),
    ),
    "timeout shorter than the pause": Case(NEVER, sensor={"timeout": 3}, error=AirflowSensorTimeout, takes=(3, 9)),
    "timeout, with backoff": Case(
        NEVER, sensor={"timeout": 100, "exponential_backoff": True}, error=AirflowSensorTimeout, takes=(100, 101)
    ),
    "timeout, soft_fail": Case(NEVER, sensor={"timeout": 60, "soft_fail": True}, error=AirflowSkipException),
    "timeout, never_fail": Case(NEVER, sensor={"timeout": 60, "never_fail": True}, error=AirflowSkipException),
    "a success at the last moment": Case(Outcome(polls=12), sensor={"timeout": 60}, takes=(60, 61)),
    "a check longer than execution_timeout": Case(
        faults=trouble("hold"),
        sensor={"execution_timeout": timedelta(seconds=0.3)},
        error=AirflowTaskTimeout,
    ),
    "a check longer than execution_timeout, soft_fail": Case(
        faults=trouble("hold"),
        sensor={"execution_timeout": timedelta(seconds=0.3), "soft_fail": True},
        error=AirflowSkipException,
    ),
    # waiting cannot help
    "401": Case(faults=trouble("status", status=401), error=CodatAuthenticationError, says=("401",), takes=(0, 0)),
    "401, soft_fail": Case(
        faults=trouble("status", status=401), sensor={"soft_fail": True}, error=CodatAuthenticationError, takes=(0, 0)
    ),
    "401, never_fail": Case(
        faults=trouble("status", status=401), sensor={"never_fail": True}, error=AirflowSkipException, takes=(0, 0)
    ),
    "401 after 500": Case(
        faults=(Fault("status", status=500), *trouble("status", status=401)),
        error=CodatAuthenticationError,
        says=("401", "Unauthorized"),
        takes=(5, 6),
    ),
    "403 after 500, soft_fail": Case(
        faults=(Fault("status", status=500), *trouble("status", status=403)),
        sensor={"soft_fail": True},
        error=CodatForbiddenError,
        takes=(5, 6),
    ),
    "418": Case(faults=trouble("status", status=418), error=CodatApiError, takes=(0, 0)),
    "400": Case(faults=trouble("status", status=400), error=CodatApiError, takes=(0, 0)),
    # a fresh push
    "404 that turns up": Case(faults=trouble("not_found", times=4), takes=(20, 40)),
    "404 that stays": Case(
        faults=trouble("not_found", times=STAYS),
        error=CodatNotFoundError,
        says=("check that the two belong together",),
        takes=(60, 80),
    ),
    "404 that stays, soft_fail": Case(
        faults=trouble("not_found", times=STAYS), sensor={"soft_fail": True}, error=CodatNotFoundError, takes=(60, 80)
    ),
    # transient errors
    "429": Case(faults=trouble("status", status=429)),
    "429 with seconds": Case(faults=trouble("status", status=429, retry_after=90), takes=(180, 200)),
    "429 with a date": Case(
        faults=lambda clock: trouble(
            "status", status=429, times=1, retry_after=format_datetime(clock.now() + timedelta(seconds=90), usegmt=True)
        ),
        takes=(90, 110),
    ),
    "429 for longer than the timeout": Case(
        faults=trouble("status", status=429, retry_after=86400, times=STAYS),
        sensor={"timeout": 60},
        error=AirflowSensorTimeout,
        says=("its status was not seen",),
        takes=(60, 76),  # in the triggerer, the last check would have 15 seconds
    ),
    "429 with a fraction of a second": Case(faults=trouble("status", status=429, retry_after="30.5"), takes=(61, 81)),
    "408": Case(faults=trouble("status", status=408)),
    "425": Case(faults=trouble("gateway", status=425)),
    "500": Case(faults=trouble("status", status=500)),
    "529, which only a proxy answers": Case(faults=trouble("status", status=529)),
    "503 with seconds": Case(faults=trouble("status", status=503, retry_after=90), takes=(180, 200)),
    "reset": Case(faults=trouble("reset")),
    "reset after the request was handled": Case(faults=trouble("reset_after")),
    "truncated": Case(faults=trouble("truncated")),
    "html": Case(faults=trouble("html")),
    "trouble that lasts for ten minutes": Case(
        faults=trouble("reset", times=STAYS), over_after=600, sensor={"exponential_backoff": True}, takes=(600, 800)
    ),
    "trouble that outlasts the timeout": Case(
        faults=trouble("status", status=500, times=STAYS),
        sensor={"timeout": 60},
        error=AirflowSensorTimeout,
        says=("its status was not seen; at the last check: Codat answered 500 to GET",),
        silent=("Failed", "failed"),
    ),
}


@pytest.fixture
def driver(clock, monkeypatch):
    return Driver(clock, monkeypatch)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_sensor_ends_alike(case, mode, codat_simulator, codat_connection, clock, driver):
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id, status=case.status, outcome=case.outcome)
    for fault in case.faults(clock) if callable(case.faults) else case.faults:
        codat_simulator.fault(fault)
    if "execution_timeout" in case.sensor:
        clock.let_hang(".*")
    if case.over_after is not None:
        clock.after(case.over_after, codat_simulator.clear_faults)
    arguments = {"poke_interval": 5, "exponential_backoff": False, "timeout": 3600} | case.sensor

    def make(**how):
        return CodatPushOperationSensor(
            task_id="wait", company_id=company.id, push_operation_key=key, **arguments, **how
        )

    if case.error is None:
        xcom = driver.run(mode, make)
        written = codat_simulator.records.get((company.id, "bills"), {})
        assert xcom == codat_simulator.push(key) | {"recordId": next(iter(written), None)}
    else:
        with pytest.raises(case.error) as raised:
            driver.run(mode, make)
        assert type(raised.value) is case.error
        message = str(raised.value)
        assert [text for text in case.says if text not in message] == []
        assert [text for text in case.silent if text in message] == []
        assert codat_simulator.api_key not in message
    if "execution_timeout" in case.sensor:
        codat_simulator.wait_until_held()
        codat_simulator.release()
    at_least, at_most = case.takes
    assert at_least <= clock.passed <= at_most
    # checks with a pause between each two; the timeout cuts the last pause short
    assert codat_simulator.count() == len(clock.sent)
    assert all(pause >= 2 for pause in clock.pauses()[:-1])
    assert all(pause > 0 for pause in clock.pauses())


@pytest.mark.parametrize(
    ("mode", "error", "passes"),
    [
        ("poke", AirflowTaskTimeout, 30),
        ("deferrable", AirflowTaskTimeout, 30),
        # Airflow's execution_timeout counts the running time alone, which leaves out the pauses of this mode.
        ("reschedule", AirflowSensorTimeout, 60),
    ],
)
def test_execution_timeout_holds_over_the_time_airflow_counts(
    mode, error, passes, codat_simulator, codat_connection, clock, driver
):
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id)

    def make(**how):
        return CodatPushOperationSensor(
            task_id="wait",
            company_id=company.id,
            push_operation_key=key,
            timeout=60,
            execution_timeout=timedelta(seconds=30),
            exponential_backoff=False,
            **how,
        )

    with pytest.raises(error):
        driver.run(mode, make)
    assert passes <= clock.passed < passes + 1


@pytest.mark.parametrize("mode", MODES)
def test_the_pause_grows_up_to_the_longest(mode, codat_simulator, codat_connection, clock, driver):
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id, outcome=NEVER)
    ids = {"company_id": company.id, "push_operation_key": key}
    with pytest.raises(AirflowSensorTimeout):
        driver.run(mode, lambda **how: CodatPushOperationSensor(task_id="wait", timeout=1200, **ids, **how))
    # By default 5 seconds, then a tenth of the time waited, up to 60. An interval of 5 seconds alone would take 240.
    assert 45 <= codat_simulator.count("GET") <= 52
    assert clock.pauses()[0] == pytest.approx(5, abs=0.5)
    assert max(clock.pauses()) == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_trouble_at_the_end_does_not_hide_the_last_status(mode, codat_simulator, codat_connection, clock, driver):
    company = codat_simulator.add_company()
    key = codat_simulator.add_push(company.id, outcome=NEVER)
    clock.after(1, lambda: codat_simulator.fault(Fault("status", status=500, times=None)))
    ids = {"company_id": company.id, "push_operation_key": key}
    with pytest.raises(AirflowSensorTimeout, match="last status seen: Pending; at the last check: Codat answered 500"):
        driver.run(mode, lambda **how: CodatPushOperationSensor(task_id="wait", timeout=60, **ids, **how))
