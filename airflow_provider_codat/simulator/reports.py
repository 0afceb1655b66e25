"""Financial reports with made-up figures, https://docs.codat.io/accounting-api#/operations/get-accounting-balance-sheet.

The figures of a month are always the same. A report reaches back from the month of the last refresh, or from
``startMonth``. That there are three years of it is a choice.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_codat.simulator import timestamps
from airflow_provider_codat.simulator.errors import standard_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Months before the newest one that are available.
MONTHS = 36


def report(data_type: str, params: Mapping[str, str], synced_on: date) -> dict[str, Any]:
    """Return a report as Codat answers it.

    :param data_type: a key of :data:`REPORTS`.
    :param params: ``periodLength`` and ``periodsToCompare``, both required, and ``startMonth``, a date.
    :param synced_on: the day of the last refresh.
    :raises ApiError: 400 for a parameter that is missing or malformed.
    """
    length, count = _number(params, "periodLength"), _number(params, "periodsToCompare")
    newest, wanted = _month(synced_on), params.get("startMonth")
    start = newest
    if wanted is not None:
        parsed = timestamps.parse(wanted)
        if parsed is None:
            raise standard_error(400)
        start = min(newest, _month(parsed.date()))
    periods = [(start - length * (position + 1) + 1, start - length * position) for position in range(count)]
    oldest = newest - MONTHS + 1
    return {
        "currency": "GBP",
        "reports": [REPORTS[data_type](first, last) for first, last in periods if last >= oldest],
        "mostRecentAvailableMonth": _first_day(newest),
        "earliestAvailableMonth": _first_day(oldest),
    }


def _balance_sheet(_: int, last: int) -> dict[str, Any]:
    assets, liabilities = _amount(last, 90_000), _amount(last, 40_000)
    return {
        "date": _last_day(last),
        "netAssets": assets - liabilities,
        "assets": _line("Assets", assets),
        "liabilities": _line("Liabilities", liabilities),
        "equity": _line("Equity", assets - liabilities),
    }


def _profit_and_loss(first: int, last: int) -> dict[str, Any]:
    income, expenses = _sum(first, last, 12_000), _sum(first, last, 9_000)
    return {
        "fromDate": _first_day(first),
        "toDate": _last_day(last),
        "netProfit": income - expenses,
        "income": _line("Income", income),
        "expenses": _line("Expenses", expenses),
    }


def _cash_flow_statement(first: int, last: int) -> dict[str, Any]:
    return {
        "fromDate": _first_day(first),
        "toDate": _last_day(last),
        "cashReceipts": _line("Receipts", _sum(first, last, 11_000)),
        "cashPayments": _line("Payments", _sum(first, last, 9_500)),
    }


#: Data type -> what makes its report of the months from the first to the last.
REPORTS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "balanceSheet": _balance_sheet,
    "profitAndLoss": _profit_and_loss,
    "cashFlowStatement": _cash_flow_statement,
}


def _month(day: date) -> int:
    return day.year * 12 + day.month - 1


def _day(month: int) -> date:
    return date(month // 12, month % 12 + 1, 1)


def _first_day(month: int) -> str:
    return f"{_day(month)}T00:00:00"


def _last_day(month: int) -> str:
    return f"{_day(month + 1) - timedelta(days=1)}T00:00:00"


def _amount(month: int, about: int) -> int:
    return about + month % 12 * 100


def _sum(first: int, last: int, about: int) -> int:
    return sum(_amount(month, about) for month in range(first, last + 1))


def _line(name: str, value: int) -> dict[str, Any]:
    return {"name": name, "value": value, "items": []}


def _number(params: Mapping[str, str], name: str) -> int:
    text = params.get(name, "")
    # Two digits are more than there are months, and fewer than int() refuses to read.
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 3 else 0
    if number < 1:
        raise standard_error(400)
    return number
