"""The data types Codat documents: to warn by, not to refuse by.

Source: https://docs.codat.io/core-concepts/data-type-settings.
"""

from __future__ import annotations

KNOWN_DATA_TYPES = frozenset(
    {
        "accountTransactions",
        "balanceSheet",
        "bankAccounts",
        "bankTransactions",
        "billCreditNotes",
        "billPayments",
        "bills",
        "cashFlowStatement",
        "chartOfAccounts",
        "company",
        "creditNotes",
        "customers",
        "directCosts",
        "directIncomes",
        "invoices",
        "itemReceipts",
        "items",
        "journalEntries",
        "journals",
        "paymentMethods",
        "payments",
        "profitAndLoss",
        "purchaseOrders",
        "salesOrders",
        "suppliers",
        "taxRates",
        "trackingCategories",
        "transfers",
        "banking-accountBalances",
        "banking-accounts",
        "banking-transactionCategories",
        "banking-transactions",
        "commerce-companyInfo",
        "commerce-customers",
        "commerce-disputes",
        "commerce-locations",
        "commerce-orders",
        "commerce-paymentMethods",
        "commerce-payments",
        "commerce-productCategories",
        "commerce-products",
        "commerce-taxComponents",
        "commerce-transactions",
    }
)

SEGMENTS = {"chartOfAccounts": "accounts"}
"""Data type -> the path segment at which it is written, where that is not its name."""

_BY_NAME = {name.casefold(): name for name in KNOWN_DATA_TYPES} | {
    segment.casefold(): name for name, segment in SEGMENTS.items()
}


def known_data_type(name: object) -> str | None:
    """Return the data type that a name or a path segment (``bills``, ``Bills``, ``accounts``) stands for, if known."""
    return _BY_NAME.get(name.casefold()) if isinstance(name, str) else None


def are_different(one: object, other: object) -> bool:
    """Whether two names or path segments stand for known data types, and not for the same.

    Bank transactions are written below a bank account, and Codat may name either.
    """
    known = {known_data_type(each) for each in (one, other)}
    return len(known) == 2 and None not in known and known != {"bankAccounts", "bankTransactions"}


REPORT_DATA_TYPES = frozenset({"balanceSheet", "profitAndLoss", "cashFlowStatement"})
"""The data types that ``monthsToSync`` is for."""
