"""On which connections data types are refreshed."""

import pytest
from kept_log import KeptLog

from airflow_provider_codat.api.endpoints.connections import DataConnection
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.refreshing.decision import Target
from airflow_provider_codat.api.refreshing.targets import choose_targets

BOOKS, BANK, SHOP, CARDS, ODD = (
    DataConnection(name, "Linked", source_type=source_type)
    for name, source_type in {
        "accounting": "Accounting",
        "banking": "Banking",
        "commerce": "Commerce",
        "cards": "Expense",
        "odd": None,
    }.items()
)
OTHER_BOOKS = DataConnection("other-books", "Linked", source_type="Accounting")
OTHER_BANK = DataConnection("other-bank", "Linked", source_type="Banking")
OLD = DataConnection("old", "Deauthorized", source_type="Accounting")
NEVER = DataConnection("never", "PendingAuth", source_type="Accounting")


def choose(connections, *data_types):
    """Return the targets in a company with these connections, and what was logged."""
    log = KeptLog()
    steps = choose_targets("company-1", data_types, log)
    assert next(steps).path.endswith("/connections")
    with pytest.raises(StopIteration) as done:
        steps.send(Page(tuple(connections), 1, 100, None, has_next=False))
    return done.value.value, [line for _, line in log.lines]


@pytest.mark.parametrize(
    ("connections", "data_type", "expected"),
    [
        ([], "invoices", [None]),
        ([BOOKS], "invoices", [None]),
        ([BANK], "invoices", [None]),
        ([OLD], "invoices", [None]),
        ([OLD, OLD], "invoices", [None]),
        ([BOOKS, OLD], "invoices", ["accounting"]),
        ([OLD, BANK], "invoices", ["old"]),
        ([OLD, NEVER, BANK, ODD], "invoices", ["old", "never"]),
        ([OLD, BANK], "commerce-orders", ["banking"]),
        ([BOOKS, OTHER_BOOKS], "invoices", ["accounting", "other-books"]),
        ([BOOKS, BANK, SHOP], "invoices", ["accounting"]),
        ([BOOKS, BANK, OTHER_BANK], "banking-accounts", ["banking", "other-bank"]),
        ([BOOKS, SHOP, CARDS], "commerce-orders", ["commerce"]),
        ([BOOKS, ODD], "invoices", ["accounting"]),
        ([BANK, ODD], "invoices", ["banking", "odd"]),
        ([BANK, SHOP], "invoices", ["banking", "commerce"]),
    ],
)
def test_a_data_type_is_refreshed_where_it_can_be(connections, data_type, expected):
    targets, _ = choose(connections, data_type)
    assert targets == [Target(data_type, each) for each in expected]


def test_each_data_type_has_connections_of_its_own():
    targets, _ = choose([BOOKS, OTHER_BOOKS, BANK], "invoices", "banking-accounts")
    assert targets == [
        Target("invoices", "accounting"),
        Target("invoices", "other-books"),
        Target("banking-accounts", "banking"),
    ]


def test_what_is_left_out_is_logged_unless_it_has_none_of_the_data_types():
    _, lines = choose([BOOKS, OLD, ODD, BANK, CARDS], "invoices", "bills")
    assert len(lines) == 2
    assert lines[0].startswith("Connection old is Deauthorized")
    assert "Connection odd has the source type None, whose data types this version does not know" in lines[1]
    assert "left out for invoices, bills" in lines[1]


def test_a_connection_that_is_refreshed_although_it_is_not_linked_is_not_said_to_be_left_out():
    targets, lines = choose([OLD, BANK], "invoices", "banking-accounts")
    assert targets == [Target("invoices", "old"), Target("banking-accounts", "banking")]
    assert lines == []


def test_a_connection_of_an_unknown_source_type_that_is_refreshed_is_not_logged():
    assert choose([BANK, ODD], "invoices")[1] == []
