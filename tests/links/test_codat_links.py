"""The link to a company in the Codat Portal: where it leads, and when a task has it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow_process import Script

from airflow_provider_codat.get_provider_info import get_provider_info
from airflow_provider_codat.links.codat import CodatCompanyLink, company_address, store_company_link

AIRFLOW_2 = "airflow.sdk" not in sys.modules
IDS = {"dag_id": "dag", "task_id": "task", "run_id": "run", "map_index": 2}
RUN = Script(Path(__file__).with_name("run_and_show_links.py"))
COMPANY = "8a210b68-6988-11ed-a1eb-0242ac120002"


# -- where it leads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("company_id", "address"),
    [
        (COMPANY, f"https://app.codat.io/companies/{COMPANY}/summary"),
        ("a+b&c=ü;", "https://app.codat.io/companies/a%2Bb%26c%3D%C3%BC%3B/summary"),
        *((no_id, "") for no_id in (None, "", "None", "..", "a/b", "a?b", "a#b", "{{ params.company_id }}", 7)),
    ],
    ids=repr,
)
def test_the_address_of_a_company(company_id, address):
    assert company_address(company_id) == address


def test_the_link_of_a_known_company_needs_no_stored_one():
    # With an id for a task that Airflow has never heard of, reading what is stored would raise.
    address = CodatCompanyLink().get_link(SimpleNamespace(company_id=COMPANY), ti_key=None)
    assert address == company_address(COMPANY)


# -- when a task has it ------------------------------------------------------------------------------------------------


def test_every_task_of_a_run_has_its_own():
    assert RUN.output() == {
        "literal[-1]": company_address("literal"),
        "template[-1]": company_address("from-params"),
        "xcom[-1]": company_address("from-xcom"),
        "deferred[-1]": company_address("from-params"),
        "mapped[0]": company_address("mapped-0"),
        "mapped[1]": company_address("mapped-1"),
        "mapped_alike[0]": company_address("from-params"),
        "mapped_alike[1]": company_address("from-params"),
        "failed[-1]": "",
    }


class Supervisor:
    """Takes the place of the process above a worker or a triggerer of Airflow 3, which stores XComs."""

    def __init__(self):
        self.stored = []

    def send(self, message):
        ids = {name: getattr(message, name) for name in IDS}
        self.stored.append({"key": message.key, "value": message.value, **ids})


if not AIRFLOW_2:  # where `get_link` reads what was stored, as the run above shows

    def test_it_is_stored_where_airflow_looks_for_it_past_any_backend(monkeypatch):
        from airflow.sdk.bases.xcom import BaseXCom
        from airflow.sdk.execution_time import task_runner, xcom

        class Backend(BaseXCom):
            """Keeps values somewhere, and in Airflow's database where that is."""

            @staticmethod
            def serialize_value(*_, **__):
                return "somewhere"

        supervisor = Supervisor()
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
        monkeypatch.setattr(xcom, "XCom", Backend)
        store_company_link(SimpleNamespace(**IDS), COMPANY)
        assert supervisor.stored == [{**IDS, "key": CodatCompanyLink().xcom_key, "value": company_address(COMPANY)}]


@pytest.mark.parametrize("task_instance", [None, SimpleNamespace(), SimpleNamespace(**IDS)], ids=str)
def test_a_link_that_cannot_be_stored_fails_nothing_and_warns_of_nothing(task_instance, logged):
    store_company_link(task_instance, COMPANY)
    assert "warn" not in logged().lower()


def test_airflow_knows_the_link():
    assert get_provider_info()["extra-links"] == [f"{CodatCompanyLink.__module__}.{CodatCompanyLink.__name__}"]
