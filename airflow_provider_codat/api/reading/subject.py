"""What is extracted: the requests that read it, and the lines that it becomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from airflow_provider_codat.api.endpoints.read_records import (
    INFOS,
    READ_ENDPOINTS,
    REPORTS,
    get_info,
    get_report,
    list_records,
)
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.paging import Page
from airflow_provider_codat.api.http.request import Request

Record = dict[str, Any]

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class Subject:
    """A data type of a company, or of one of its connections.

    :param connection_id: the connection, for data types that are read from one; default none.
    :param account_id: the bank account, for ``bankTransactions``; default none.
    :param period_length: the months in one period of a report; default none.
    :param periods_to_compare: the number of periods of a report; default none.
    :param start_month: a day of the month with which a report begins; default Codat's own.
    """

    company_id: str
    data_type: str
    connection_id: str | None = None
    account_id: str | None = None
    period_length: int | None = None
    periods_to_compare: int | None = None
    start_month: date | str | None = None

    def __str__(self) -> str:
        where = f", connection {self.connection_id}" if self.connection_id else ""
        return f"{self.data_type} of company {self.company_id}{where}"

    @property
    def variant(self) -> str | None:
        """What tells it apart from others of its data type: the account, or the periods of a report."""
        if self.data_type in REPORTS:
            return "-".join(
                str(each) for each in (self.period_length, self.periods_to_compare, self.start_month or "now")
            )
        return self.account_id

    @property
    def has_modified_date(self) -> bool:
        """Whether it has records with a ``modifiedDate``. Of an unknown data type this is assumed."""
        if self.data_type in REPORTS or self.data_type in INFOS:
            return False
        endpoint = READ_ENDPOINTS.get(self.data_type)
        return endpoint is None or (endpoint.has_modified_date and endpoint.is_paged)

    def request(self, place: Mapping[str, int], since: datetime | None) -> Request[Page[Record]]:
        """Return the request for one page.

        :param place: the ``page`` and ``page_size``.
        :param since: only records that Codat has changed at or after this time; ``None`` for all.
        :raises CodatInputError: an argument is missing, malformed or not for this data type.
        """
        if self.data_type in REPORTS:
            return self._report()
        self._refuse(period_length=self.period_length, periods_to_compare=self.periods_to_compare)
        self._refuse(start_month=self.start_month)
        if self.data_type in INFOS:
            self._refuse(account_id=self.account_id)
            return _as_page(get_info(self.company_id, self.data_type, connection_id=self.connection_id))
        return list_records(
            self.company_id,
            self.data_type,
            page=place["page"],
            page_size=place["page_size"],
            modified_since=since if self.has_modified_date else None,
            order_by="modifiedDate" if self.has_modified_date else None,
            connection_id=self.connection_id,
            account_id=self.account_id,
        )

    def _report(self) -> Request[Page[Record]]:
        self._refuse(connection_id=self.connection_id, account_id=self.account_id)
        for name in ("period_length", "periods_to_compare"):
            if getattr(self, name) is None:
                raise CodatInputError(f"{name} is missing, which the report {self.data_type} needs: give a number")
        return _as_page(
            get_report(
                self.company_id,
                self.data_type,
                period_length=self.period_length,  # type: ignore[arg-type]  # not None: see above
                periods_to_compare=self.periods_to_compare,  # type: ignore[arg-type]  # not None: see above
                start_month=self.start_month,
            )
        )

    def _refuse(self, **arguments: object) -> None:
        for name, value in arguments.items():
            if value is not None:
                raise CodatInputError(
                    f"{name} is {value!r}, but data_type is {self.data_type!r}, which does not take it: leave it out"
                )

    def line(self, record: Record) -> bytes:
        """Return a record as one line of JSON, as Codat sent it, with ``companyId``, ``connectionId`` and ``dataType``.

        With the ``id`` they are a key: Codat's ids are unique only within a company.
        """
        ours = {"companyId": self.company_id, "connectionId": self.connection_id, "dataType": self.data_type}
        return f"{_encode(record | ours)}\n".encode()


def _as_page(request: Request[Record]) -> Request[Page[Record]]:
    """Return a request for one object as one for a list with this object alone."""

    def read(body: Any) -> Page[Record]:
        return Page((request.read(body),), number=1, size=1, total=None, has_next=False)

    return replace(request, read=read)  # type: ignore[return-value]  # dataclasses.replace keeps the old type
