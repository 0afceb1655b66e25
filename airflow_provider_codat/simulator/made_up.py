"""Made-up records, the same at each run, so that there is something to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_codat.simulator.cache import Record

_CURRENCIES = ("GBP", "EUR", "USD")
_STATUSES = ("Submitted", "Paid", "PartiallyPaid", "Draft")


def made_up_record(data_type: str, number: int) -> Record:
    """Return a record without its id, about as large as an invoice with two lines.

    :param number: from 0; the record depends on it and on the data type alone.
    """
    quantity, price = number % 9 + 1, round(number % 997 * 1.25 + 5, 2)
    lines = [_line(each, quantity + each, price) for each in range(2)]
    total = round(sum(line["totalAmount"] for line in lines), 2)
    return {
        "reference": f"{data_type[:3].upper()}-{number:06}",
        "note": f"Made-up record {number} of {data_type}",
        "issueDate": f"2025-{number % 12 + 1:02}-{number % 28 + 1:02}T00:00:00",
        "currency": _CURRENCIES[number % len(_CURRENCIES)],
        "status": _STATUSES[number % len(_STATUSES)],
        "accountId": f"account-{number % 5}",
        "lineItems": lines,
        "totalAmount": total,
    }


def _line(position: int, quantity: int, price: float) -> dict[str, Any]:
    return {
        "lineNumber": f"{position + 1}",
        "description": f"Item {quantity}",
        "quantity": quantity,
        "unitAmount": price,
        "totalAmount": round(quantity * price, 2),
        "accountRef": {"id": f"account-{quantity % 5}", "name": "Sales"},
        "taxRateRef": {"id": "standard", "name": "20% (VAT on Income)", "effectiveTaxRate": 20},
    }
