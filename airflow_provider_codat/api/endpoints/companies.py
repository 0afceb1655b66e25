"""Companies (https://docs.codat.io/platform-api#/operations/list-companies)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from airflow_provider_codat.api.errors import CodatResponseError
from airflow_provider_codat.api.http.paging import DEFAULT_PAGE_SIZE, Page, list_request
from airflow_provider_codat.api.http.request import Request, identifier, path
from airflow_provider_codat.api.http.response import expect_object, id_or_none, text_or_none
from airflow_provider_codat.api.json_value import JsonValue


@dataclass(frozen=True)
class Company(JsonValue):
    """A business that shares its data, with the ids of its data connections in the API's order."""

    id: str
    name: str | None
    connection_ids: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read a company in Codat's shape.

        :raises CodatResponseError: the body is not an object, or has no id.
        """
        data = expect_object(body, "company")
        if (company_id := id_or_none(data.get("id"))) is None:
            raise CodatResponseError("company: the answer has no id")
        listed = data.get("dataConnections")
        connections = listed if isinstance(listed, list) else []
        ids = (id_or_none(each.get("id")) for each in connections if isinstance(each, dict))
        return cls(company_id, text_or_none(data.get("name")), tuple(each for each in ids if each is not None))

    def to_json(self) -> dict[str, Any]:
        """Return the company in Codat's shape, ``{id, name, dataConnections: [{id}]}``."""
        return {"id": self.id, "name": self.name, "dataConnections": [{"id": each} for each in self.connection_ids]}

    _as_dict = to_json


def get_company(company_id: str) -> Request[Company]:
    """Read one company.

    :param company_id: Codat's id of the company.
    :raises CodatInputError: the id is malformed; nothing is sent.
    :raises CodatNotFoundError: there is no such company.

    Source: https://docs.codat.io/platform-api#/operations/get-company.
    """
    return Request("GET", path("companies", identifier("company_id", company_id)), Company.from_json)


def list_companies(
    *, page: int = 1, page_size: int = DEFAULT_PAGE_SIZE, query: str | None = None, order_by: str | None = None
) -> Request[Page[Company]]:
    """Read one page of companies.

    :param page: the number of the page, from 1; default 1. ``iterate_companies`` reads all pages and has no ``page``.
    :param page_size: companies per page, 1 to 5000; default 100.
    :param query: a filter in Codat's query language (https://docs.codat.io/using-the-api/querying); default none.
    :param order_by: a field to sort by, with a leading ``-`` for descending; default the API's own order.
    :raises CodatInputError: ``page``, ``page_size`` or ``query`` is out of bounds; nothing is sent.

    Source: https://docs.codat.io/platform-api#/operations/list-companies.
    """
    read = Company.from_json
    return list_request("/companies", read, page=page, page_size=page_size, query=query, order_by=order_by)
