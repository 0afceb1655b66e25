"""Codat's data types, the writes that each supports, and the paths of these.

Sources: https://docs.codat.io/codat-api#/schemas/DataType for the types, https://docs.codat.io/accounting-api for the
writes. A write that the second page does not document is refused with 404, as
https://docs.codat.io/using-the-api/errors says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_codat.simulator.errors import ApiError

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.push import ChangeType

#: The request of a write, by the change of the record.
METHODS: dict[ChangeType, str] = {
    "Created": "POST",
    "Modified": "PUT",
    "Deleted": "DELETE",
    "AttachmentUploaded": "POST of an attachment",
}
_CREATE, _UPDATE, _DELETE, _ATTACH = METHODS

#: The changes that a data type supports.
WRITES: dict[str, tuple[ChangeType, ...]] = {
    "bankAccounts": (_CREATE, _UPDATE),
    "bankTransactions": (_CREATE,),
    "billCreditNotes": (_CREATE, _UPDATE, _ATTACH),
    "billPayments": (_CREATE, _DELETE),
    "bills": (_CREATE, _UPDATE, _DELETE, _ATTACH),
    "chartOfAccounts": (_CREATE,),
    "creditNotes": (_CREATE, _UPDATE),
    "customers": (_CREATE, _UPDATE),
    "directCosts": (_CREATE, _DELETE, _ATTACH),
    "directIncomes": (_CREATE, _ATTACH),
    "invoices": (_CREATE, _UPDATE, _DELETE, _ATTACH),
    "items": (_CREATE,),
    "journalEntries": (_CREATE, _DELETE),
    "journals": (_CREATE,),
    "payments": (_CREATE,),
    "purchaseOrders": (_CREATE, _UPDATE),
    "suppliers": (_CREATE, _UPDATE),
    "transfers": (_CREATE, _ATTACH),
}

DATA_TYPES = frozenset(WRITES).union(
    ("accountTransactions", "balanceSheet", "cashFlowStatement", "company", "itemReceipts", "paymentMethods"),
    ("profitAndLoss", "salesOrders", "taxRates", "trackingCategories"),
    ("banking-accountBalances", "banking-accounts", "banking-transactionCategories", "banking-transactions"),
    ("commerce-companyInfo", "commerce-customers", "commerce-disputes", "commerce-locations", "commerce-orders"),
    ("commerce-paymentMethods", "commerce-payments", "commerce-productCategories", "commerce-products"),
    ("commerce-taxComponents", "commerce-transactions"),
)

#: Written below a bank account, and so without a path segment of its own.
BANK_TRANSACTIONS = "bankTransactions"
#: Data types whose path segment differs from their name.
_SEGMENTS = {"chartOfAccounts": "accounts"}
_BY_SEGMENT = {_SEGMENTS.get(name, name): name for name in WRITES if name != BANK_TRANSACTIONS}
#: The last segment of a data type's path for attachments, where it is not ``attachment``.
_ATTACHED_AT = {"bills": "attachments"}


def written_at(segment: str, change: ChangeType) -> str:
    """Return the data type that is written at ``push/{segment}``.

    :raises ApiError: 404 if there is none, or if it does not support the change.
    """
    if segment not in _BY_SEGMENT:
        raise _unsupported(segment, f"records are written at {', '.join(sorted(_BY_SEGMENT))}")
    data_type = _BY_SEGMENT[segment]
    if change not in WRITES[data_type]:
        documented = ", ".join(METHODS[possible] for possible in WRITES[data_type])
        raise _unsupported(data_type, f"{METHODS[change]} is not documented for it, but {documented}")
    return data_type


def attached_at(data_type: str) -> str:
    """Return the last segment of the path at which files are attached to a data type."""
    return _ATTACHED_AT.get(data_type, "attachment")


def check_writable(data_type: str) -> None:
    """Refuse a data type without writes.

    :raises ApiError: 404.
    """
    if data_type not in WRITES:
        raise _unsupported(data_type, f"records are written to {', '.join(WRITES)}")


def _unsupported(data_type: str, reason: str) -> ApiError:
    return ApiError(404, f"Datatype '{data_type}' not supported by platform(s) 'Codat Sandbox': {reason}.")
