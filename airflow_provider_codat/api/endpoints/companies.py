"""Companies (https://docs.codat.io/platform-api#/operations/list-companies)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from airflow_provider_codat.api.endpoints.meanings import NOT_FOUND
from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError
from airflow_provider_codat.api.http.idempotency import given_or_new_key
from airflow_provider_codat.api.http.paging import DEFAULT_PAGE_SIZE, Page, list_request
from airflow_provider_codat.api.http.request import Request, identifier, path
from airflow_provider_codat.api.http.response import expect_object, id_or_none, text_or_none
from airflow_provider_codat.api.json_value import JsonValue

_MOST_TAGS, _LONGEST_TAG, _LONGEST_TAG_VALUE = 10, 27, 100


@dataclass(frozen=True)
class Company(JsonValue):
    """A business that shares its data.

    :param connection_ids: the ids of its data connections, in the API's order; default none.
    :param redirect: the address of Codat Link, at which the company links its platforms; default ``None``.
    """

    id: str
    name: str | None
    connection_ids: tuple[str, ...] = ()
    redirect: str | None = None

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
        connection_ids = tuple(each for each in ids if each is not None)
        return cls(company_id, text_or_none(data.get("name")), connection_ids, text_or_none(data.get("redirect")))

    def to_json(self) -> dict[str, Any]:
        """Return the company in Codat's shape, ``{id, name, redirect, dataConnections: [{id}]}``."""
        return {
            "id": self.id,
            "name": self.name,
            "redirect": self.redirect,
            "dataConnections": [{"id": each} for each in self.connection_ids],
        }

    _as_dict = to_json


def get_company(company_id: str) -> Request[Company]:
    """Read one company.

    :param company_id: Codat's id of the company.
    :raises CodatInputError: the id is malformed; nothing is sent.
    :raises CodatNotFoundError: there is no such company.

    Source: https://docs.codat.io/platform-api#/operations/get-company.
    """
    route = path("companies", identifier("company_id", company_id))
    return Request("GET", route, Company.from_json, meanings=NOT_FOUND)


def create_company(
    name: str,
    *,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> Request[Company]:
    """Create a company. Its ``redirect`` is the address at which the customer links the company's platforms.

    :param name: the name of the company. Codat takes letters, digits, white space and ``-',&@.?!``.
    :param description: more on the company, such as an id of your own; default none.
    :param tags: up to 10 texts by which to find it again, each of at most 100 characters under a name of 1 to 27;
        default none.
    :param idempotency_key: a GUID; Codat creates the company once under it within 90 minutes; default a new one per
        call (https://docs.codat.io/using-the-api/idempotency).
    :raises CodatInputError: an argument is malformed; nothing is sent.
    :raises CodatPlanLimitError: the Codat plan does not allow another company.
    :raises CodatApiError: Codat refused, for example because of a character in the name.

    Source: https://docs.codat.io/platform-api#/operations/create-company.
    """
    if not isinstance(name, str) or not name.strip():
        raise CodatInputError(f"name is {name!r}: give the name of the company")
    body = {"name": name, "description": description, "tags": None if tags is None else _checked(tags)}
    return Request(
        "POST",
        path("companies"),
        Company.from_json,
        body={field: value for field, value in body.items() if value is not None},
        writes=True,
        idempotency_key=given_or_new_key(idempotency_key),
    )


def _checked(tags: Mapping[str, str]) -> dict[str, str]:
    if len(tags) > _MOST_TAGS:
        raise CodatInputError(f"tags has {len(tags)} entries: Codat takes at most {_MOST_TAGS}")
    for name, value in tags.items():
        if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_TAG:
            raise CodatInputError(f"the name {name!r} in tags has to be a text of 1 to {_LONGEST_TAG} characters")
        if not isinstance(value, str) or len(value) > _LONGEST_TAG_VALUE:
            raise CodatInputError(f"tags[{name!r}] has to be a text of at most {_LONGEST_TAG_VALUE} characters")
    return dict(tags)


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
