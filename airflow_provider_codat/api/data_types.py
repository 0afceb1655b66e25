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

REPORT_DATA_TYPES = frozenset({"balanceSheet", "profitAndLoss", "cashFlowStatement"})
"""The data types that ``monthsToSync`` is for."""
