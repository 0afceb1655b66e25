"""On which connections data types are refreshed."""

import logging

import pytest

from airflow_provider_codat.api.endpoints.connections import DataConnection
from airflow_provider_codat.api.endpoints.pull_operations import PullOperation
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.refreshing.decision import Target
from airflow_provider_codat.api.refreshing.queueing import Queueing
from airflow_provider_codat.api.refreshing.stored import EarlierTries

BOOKS, BANK, SHOP, OTHER = (
    DataConnection(name, "Linked", source_type=name.capitalize())
    for name in ("accounting", "banking", "commerce", "expenses")
)
OTHER_BANK = DataConnection("other-bank", "Linked", source_type="Banking")
UNLINKED = DataConnection("old", "Deauthorized", source_type="Accounting")


def targets(connections, *data_types):
    """Return what is queued for a company with these connections."""
    kept = []
    steps = Queueing(
        company_id="company-1",
        data_types=data_types,
        connection_id=None,
        max_tries=0,
        earlier_tries=EarlierTries(is_first_try=True),
        log=logging.getLogger(__name__),
        keep=kept.append,
        clock=lambda: 0.0,
    ).steps()
    request, number = next(steps), 0
    assert request.path.endswith("/connections")
    answer = Page(tuple(connections), 1, 100, None, has_next=False)
    try:
        while True:
            request, number = steps.send(answer), number + 1
            assert request.method == "POST"
            answer = PullOperation(f"pull-{number}", "Queued")
    except StopIteration:
        assert [each.is_whole for each in kept] == [False] * (number - 1) + [True]
        return [*kept[-1].operations]


@pytest.mark.parametrize(
    ("connections", "data_type", "expected"),
    [
        ([], "invoices", [None]),
        ([BOOKS], "invoices", [None]),
        ([UNLINKED], "invoices", [None]),
        ([BOOKS, UNLINKED], "invoices", [None]),
        ([BOOKS, BANK, SHOP], "invoices", [None]),
        ([BOOKS, BANK, OTHER_BANK], "banking-accounts", ["banking", "other-bank"]),
        ([BOOKS, SHOP, OTHER], "commerce-orders", ["commerce", "expenses"]),
        ([BOOKS, OTHER], "invoices", ["accounting", "expenses"]),
        ([BANK, SHOP], "invoices", ["banking", "commerce"]),
    ],
)
def test_a_data_type_is_refreshed_where_it_can_be(connections, data_type, expected):
    assert targets(connections, data_type) == [Target(data_type, each) for each in expected]


def test_each_data_type_has_connections_of_its_own():
    assert targets([BOOKS, OTHER, BANK], "invoices", "banking-accounts") == [
        Target("invoices", "accounting"),
        Target("invoices", "expenses"),
        Target("banking-accounts", "expenses"),
        Target("banking-accounts", "banking"),
    ]
