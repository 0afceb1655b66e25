"""What the triggers' tests need of Airflow."""

import pytest

from airflow_provider_codat.tasks.start_from_trigger import triggerer_starts_tasks
from airflow_provider_codat.triggers import watcher
from airflow_provider_codat.triggers.codat import CodatEventTrigger

collect_ignore = [] if triggerer_starts_tasks() else ["test_task_instance.py"]
if watcher.BaseEventTrigger is None:  # Airflow 2
    collect_ignore += ["test_last_lines.py", "test_watcher.py"]
if not hasattr(watcher.SharedStreamProducer, "advance"):
    collect_ignore += ["test_watcher_stream.py"]


@pytest.fixture
def company(codat_simulator, codat_connection):
    return codat_simulator.add_company()


@pytest.fixture
def trigger(company):
    """Return a function that makes a trigger that watches the company."""

    def trigger(**arguments):
        usual = {"asset_name": "an-asset", "company_id": company.id, "poll_interval": 60.0}
        return CodatEventTrigger(**usual | arguments)

    return trigger
