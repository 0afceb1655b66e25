"""The data types that Codat documents.

A data type that is not among them causes a warning. It is an error only as a literal ``data_type`` of an extraction.

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
"""Data type -> path segment of its writes, for data types whose segment is not their name."""

_BY_NAME = {name.casefold(): name for name in KNOWN_DATA_TYPES} | {
    segment.casefold(): name for name, segment in SEGMENTS.items()
}


def known_data_type(name: object) -> str | None:
    """Return the known data type of a name or path segment (``bills``, ``Bills``, ``accounts``), or ``None``."""
    return _BY_NAME.get(name.casefold()) if isinstance(name, str) else None


def did_you_mean(name: object) -> str:
    """Return the question whether the closest known data type is meant, or an empty text if none is close."""
    import difflib  # needed for mistakes only

    near = difflib.get_close_matches(str(name).casefold(), _BY_NAME, n=1)
    return f" Did you mean {_BY_NAME[near[0]]!r}?" if near else ""


def are_different(one: object, other: object) -> bool:
    """Whether two names or path segments stand for two different known data types.

    ``bankAccounts`` and ``bankTransactions`` do not count as different: bank transactions are written below a bank
    account, and Codat may name either.
    """
    known = {known_data_type(each) for each in (one, other)}
    return len(known) == 2 and None not in known and known != {"bankAccounts", "bankTransactions"}


REPORT_DATA_TYPES = frozenset({"balanceSheet", "profitAndLoss", "cashFlowStatement"})
"""The data types whose sync setting has ``monthsToSync``."""
