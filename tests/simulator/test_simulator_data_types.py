"""The writes of each data type and their paths, as https://docs.codat.io/accounting-api has them."""

from __future__ import annotations

import re

import pytest

DOCUMENTED = {
    "accounts": "POST",
    "bankAccounts": "POST PUT",
    "billCreditNotes": "POST PUT attachment",
    "billPayments": "POST DELETE",
    "bills": "POST PUT DELETE attachments",
    "creditNotes": "POST PUT",
    "customers": "POST PUT",
    "directCosts": "POST DELETE attachment",
    "directIncomes": "POST attachment",
    "invoices": "POST PUT DELETE attachment",
    "items": "POST",
    "journalEntries": "POST DELETE",
    "journals": "POST",
    "payments": "POST",
    "purchaseOrders": "POST PUT",
    "suppliers": "POST PUT",
    "transfers": "POST attachment",
}
READ_ONLY = ["bankTransactions", "chartOfAccounts", "itemReceipts", "salesOrders", "taxRates", "commerce-orders"]
UNKNOWN = ["bils", "Bills", "options"]
DATA_TYPES = {"accounts": "chartOfAccounts"}


def write(client, segment, what):
    """Write in one of the ways above, and return the answer."""
    if what in ("attachment", "attachments"):
        return client.post(client.push_path(f"{segment}/1/{what}"), files={"file": ("a.txt", b"a")})
    if what == "POST":
        return client.post(client.push_path(segment), json={})
    return client.request(what, client.push_path(f"{segment}/1"), json={})


@pytest.mark.parametrize("segment", [*DOCUMENTED, *READ_ONLY, *UNKNOWN])
def test_what_is_documented_is_taken_and_nothing_else(client, segment):
    documented = DOCUMENTED.get(segment, "").split()
    taken = 0
    for what in ("POST", "PUT", "DELETE", "attachment", "attachments"):
        answer = write(client, segment, what)
        assert answer.status_code == (200 if what in documented else 404), (what, answer.text)
        if what in documented:
            taken += 1
            assert answer.json()["dataType"] == DATA_TYPES.get(segment, segment)
        elif not what.startswith("attachment"):
            assert answer.json()["error"].startswith("Datatype '")
    assert client.listed()["totalResults"] == taken == len(documented)


@pytest.mark.parametrize(
    ("segment", "what", "error"),
    [
        ("bils", "POST", r"'bils' not supported by platform\(s\) 'Codat Sandbox': records are written at accounts,"),
        ("customers", "DELETE", "'customers' .*: DELETE is not documented for it, but POST, PUT[.]"),
        ("items", "PUT", "'items' .*: PUT is not documented for it, but POST[.]"),
        ("payments", "attachment", "'payments' .*: POST of an attachment is not documented for it, but POST[.]"),
    ],
)
def test_a_refusal_says_what_can_be_done(client, segment, what, error):
    assert re.search(error, write(client, segment, what).json()["error"])


def test_bank_transactions_are_written_below_an_account(client):
    push = client.create("bankAccounts/a-1/bankTransactions", {"transactions": [{"amount": 1}]})
    assert push["dataType"] == "bankTransactions"
    (change,) = client.read(push["pushOperationKey"])["changes"]
    assert change["recordRef"]["dataType"] == "bankTransactions"
    (written,) = client.codat.records[client.company.id, "bankTransactions"].values()
    assert written["transactions"] == [{"amount": 1}]


def options(client, data_type):
    return client.get(client.path(f"/connections/{client.company.connection_id}/options/{data_type}"))


@pytest.mark.parametrize("segment", [*DOCUMENTED, "bankTransactions"])
def test_the_options_of_a_data_type(client, segment):
    data_type = DATA_TYPES.get(segment, segment)
    answer = options(client, data_type).json()
    assert (answer["type"], answer["displayName"], answer["required"]) == ("Object", data_type, True)


@pytest.mark.parametrize("data_type", ["bils", "accounts", "taxRates", "commerce-orders"])
def test_there_are_no_options_of_what_cannot_be_written(client, data_type):
    answer = options(client, data_type)
    assert answer.status_code == 404
    assert answer.json()["error"].startswith(f"Datatype '{data_type}' not supported by platform(s)")
