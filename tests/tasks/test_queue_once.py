"""What a sensor queues of stale data, if Codat refuses some of it."""

import logging

import pytest
from refresh_runs import context, queued

from airflow_provider_codat.exceptions import CodatPlanLimitError, CodatRefreshFailed
from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.operators.codat import CodatRefreshOperator
from airflow_provider_codat.simulator import Fault
from airflow_provider_codat.tasks.earlier_refreshes import queue_once


@pytest.fixture
def codat(codat_simulator, codat_connection, clock):
    return codat_simulator


@pytest.fixture
def queue(codat, clock, store):
    """Return a function that queues data types of a company as one task instance does."""
    task = CodatRefreshOperator(task_id="refresh", company_id="company-1", retries=2)

    def queue(company, *data_types):
        given = context(task, clock, store)
        return queue_once(CodatHook(), given, company.id, data_types, logging.getLogger(__name__))

    return queue


def refuse(codat, status, text, data_type):
    body = {"statusCode": status, "error": text}
    path = f".*/queue/{data_type}"
    codat.fault(Fault("status", times=None, method="POST", path=path, status=status, body=body))


def test_the_others_are_queued_before_the_refusal_of_one_is_raised(queue, codat):
    company = codat.add_company()
    refuse(codat, 402, "Not in the plan", "invoices")
    with pytest.raises(CodatPlanLimitError, match="Not in the plan"):
        queue(company, "invoices", "bills")
    codat.clear_faults()
    assert [each.data_type for each in queue(company, "invoices", "bills").operations] == ["invoices"]
    assert [each["dataType"] for each in codat.refreshes.of_company(company.id)] == ["bills", "invoices"]


def test_several_refusals_are_raised_together(queue, codat):
    company = codat.add_company()
    refuse(codat, 402, "Not in the plan", "invoices")
    refuse(codat, 403, "No rights", "items")
    with pytest.raises(CodatRefreshFailed) as raised:
        queue(company, "invoices", "bills", "items")
    assert all(each in str(raised.value) for each in ("Not in the plan", "No rights", "bills Queued"))


def test_what_codat_says_is_in_progress_is_not_queued_again_now_but_by_the_next_poke(queue, codat, clock):
    company = codat.add_company()
    refuse(codat, 409, "DatasetAlreadyInProgressException", "invoices")
    refresh = queue(company, "invoices", "bills")
    assert [each.status for each in refresh.operations] == ["Refused", "Queued"]
    assert clock.passed == 0
    codat.clear_faults()
    queue(company, "invoices", "bills")
    assert [sent.path.rpartition("/")[2] for sent in queued(codat)] == ["invoices", "bills", "invoices"]
