"""What the sensors' tests need of Airflow, and a company whose data ages in virtual time."""

import json
import warnings
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG
from refresh_runs import refreshes
from sensor_driver import Driver
from trigger_runner import through_the_database

from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor
from airflow_provider_codat.tasks.start_from_trigger import triggerer_starts_tasks

collect_ignore = [] if triggerer_starts_tasks() else ["test_freshness_without_worker.py", "test_start_from_trigger.py"]

HOUR = 3600.0


@pytest.fixture
def in_dag():
    """Return a function that returns what ``make`` makes in a DAG that can be serialized, and what was warned of."""

    from airflow.serialization.serialized_objects import DagSerialization  # Airflow 3.3

    def in_dag(make, **dag_arguments):
        with warnings.catch_warnings(record=True) as caught, DAG("dag", schedule=None, **dag_arguments) as dag:
            warnings.simplefilter("always")
            made = make()
        DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
        return made, [str(each.message) for each in caught if each.category is UserWarning]

    return in_dag


@pytest.fixture
def codat(simulate, clock, request):
    """Return a simulator, with options if the test is parametrized with a dict of them."""
    clock.let_pass(100 * HOUR)  # so that there is a past
    return simulate(**getattr(request, "param", {}))


@pytest.fixture
def refreshed(codat, company, clock):
    return refreshes(codat, company, clock)


@pytest.fixture
def sense(company, clock, monkeypatch, store):
    """Return a function that runs a sensor in a mode, and returns its XCom. Its ``driver`` is that of the last run."""
    began = clock.now()

    def sense(mode, data_types="invoices", *, has_store=True, try_number=1, max_tries=1, **arguments):
        ti = {"task": SimpleNamespace(retries=1), "try_number": try_number, "max_tries": max_tries}
        context = {"dag_run": SimpleNamespace(start_date=began, clear_number=0)}
        context |= {"task_state_store": store} if has_store else {}

        def make(**how):
            given = {"task_id": "fresh", "company_id": company.id, "data_types": data_types, "timeout": 24 * HOUR}
            return CodatDataFreshnessSensor(**given | arguments | how)

        sense.driver = Driver(clock, monkeypatch, ti, context)
        return through_the_database(sense.driver.run(mode, make))

    return sense
