"""What tries store of a refresh, as Airflow's database keeps it."""

import json

import pytest

from airflow_provider_codat.api.refreshing.decision import Target
from airflow_provider_codat.api.refreshing.stored import StoredRefresh

GOLDEN = {
    "maxTries": 2,
    "isWhole": True,
    "operations": [
        {"dataType": "invoices", "connectionId": None, "id": "pull-1"},
        {"dataType": "banking-accounts", "connectionId": "connection-1", "id": "pull-2"},
    ],
}
"""What this version stores. Later versions have to read it."""
STORED = StoredRefresh(2, {Target("invoices"): "pull-1", Target("banking-accounts", "connection-1"): "pull-2"}, True)


def test_it_is_stored_and_read_as_ever():
    assert json.loads(json.dumps(STORED.to_json())) == GOLDEN
    assert StoredRefresh.from_json(GOLDEN) == STORED


@pytest.mark.parametrize(
    "stored",
    [
        *(None, "text", [], {}, {"maxTries": 2}),
        GOLDEN | {"operations": [{"dataType": "invoices"}]},
        GOLDEN | {"operations": ["invoices"]},
        GOLDEN | {"operations": [{"dataType": "invoices", "connectionId": None, "id": 7}]},
        GOLDEN | {"operations": [{"dataType": [], "connectionId": None, "id": "7"}]},
        GOLDEN | {"isWhole": None},
    ],
)
def test_anything_else_counts_as_nothing_stored(stored):
    assert StoredRefresh.from_json(stored) is None
