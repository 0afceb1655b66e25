"""Codat's data types, the writes and reads that each supports, and the paths of these.

Sources: https://docs.codat.io/codat-api#/schemas/DataType for the types, https://docs.codat.io/accounting-api for the
writes. A write that the second page does not document is refused with 404, as
https://docs.codat.io/using-the-api/errors says.
"""

from __future__ import annotations

from typing import Literal

from airflow_provider_codat.simulator.errors import ApiError

ChangeType = Literal["Created", "Modified", "Deleted", "AttachmentUploaded"]

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


#: The data types whose records are read at ``/companies/{id}/data/{segment}``.
OF_COMPANY = frozenset(
    {
        *("billCreditNotes", "billPayments", "bills", "chartOfAccounts", "creditNotes", "customers", "invoices"),
        *("items", "journalEntries", "journals", "paymentMethods", "payments", "purchaseOrders", "salesOrders"),
        *("suppliers", "taxRates", "trackingCategories", "banking-transactions"),
    }
)
#: Those read below a connection, at ``/companies/{id}/connections/{id}/data/{segment}``.
OF_CONNECTION = frozenset(
    {
        *("accountTransactions", "bankAccounts", "directCosts", "directIncomes", "itemReceipts", "payments"),
        *("transfers", "banking-accountBalances", "banking-accounts", "banking-transactionCategories"),
        *("banking-transactions", "commerce-customers", "commerce-disputes", "commerce-locations", "commerce-orders"),
        *("commerce-paymentMethods", "commerce-payments", "commerce-productCategories", "commerce-products"),
        *("commerce-taxComponents", "commerce-transactions"),
    }
)
#: The data types that have records, and not a report or one description of the company.
OF_RECORDS = OF_COMPANY | OF_CONNECTION | {BANK_TRANSACTIONS}
#: Those of which no single record is read, by scope.
_WITHOUT_ONE = {OF_COMPANY: {"banking-transactions"}, OF_CONNECTION: {"banking-accountBalances", "payments"}}
#: The list that is not paged, https://docs.codat.io/commerce-api.
NOT_PAGED = "commerce-locations"
#: Records without an id.
WITHOUT_ID = frozenset({"banking-accountBalances"})
#: Records without ``modifiedDate``, by Codat's description.
WITHOUT_MODIFIED_DATE = frozenset({"commerce-products"})


def keeps_deleted(data_type: str) -> bool:
    """Return whether the cache keeps records that the source has deleted, marked in their ``metadata``.

    Only records of accounting software have ``metadata``. That others vanish with the next refresh is a choice.
    """
    return data_type.partition("-")[0] not in ("banking", "commerce") and data_type != BANK_TRANSACTIONS


def read_at(segment: str, scope: frozenset[str], *, one: bool = False) -> str:
    """Return the data type that is read at ``data/{segment}``.

    :param scope: the data types of the path: :data:`OF_COMPANY` or :data:`OF_CONNECTION`.
    :param one: whether one record is read, and not the list; default ``False``.
    :raises ApiError: 404 if there is none.
    """
    data_type = {segment_of(name): name for name in scope}.get(segment)
    if data_type is None or (one and data_type in _WITHOUT_ONE[scope]):
        raise unsupported(segment, f"records are read at {', '.join(sorted(map(segment_of, scope)))}")
    return data_type


def segment_of(data_type: str) -> str:
    """Return the path segment of a data type."""
    return _SEGMENTS.get(data_type, data_type)


def check_known(data_type: str) -> None:
    """Refuse a data type that Codat does not have.

    :raises ApiError: 404.
    """
    if data_type not in DATA_TYPES:
        raise unsupported(data_type, "Codat does not have it")


def written_at(segment: str, change: ChangeType) -> str:
    """Return the data type that is written at ``push/{segment}``.

    :raises ApiError: 404 if there is none, or if it does not support the change.
    """
    if segment not in _BY_SEGMENT:
        raise unsupported(segment, f"records are written at {', '.join(sorted(_BY_SEGMENT))}")
    data_type = _BY_SEGMENT[segment]
    if change not in WRITES[data_type]:
        documented = ", ".join(METHODS[possible] for possible in WRITES[data_type])
        raise unsupported(data_type, f"{METHODS[change]} is not documented for it, but {documented}")
    return data_type


def attached_at(data_type: str) -> str:
    """Return the last segment of the path at which files are attached to a data type."""
    return _ATTACHED_AT.get(data_type, "attachment")


def check_writable(data_type: str) -> None:
    """Refuse a data type without writes.

    :raises ApiError: 404.
    """
    if data_type not in WRITES:
        raise unsupported(data_type, f"records are written to {', '.join(WRITES)}")


def unsupported(data_type: str, reason: str) -> ApiError:
    """Return the error for a data type that does not support a request."""
    return ApiError(404, f"Datatype '{data_type}' not supported by platform(s) 'Codat Sandbox': {reason}.")
