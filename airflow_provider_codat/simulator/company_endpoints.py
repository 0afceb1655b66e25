"""The endpoints of companies and their connections, https://docs.codat.io/platform-api."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from airflow_provider_codat.simulator import query, timestamps
from airflow_provider_codat.simulator.bodies import Field, Problem, given, is_text, json_object, problems, refuse
from airflow_provider_codat.simulator.books import COMPANY_FIELDS, CONNECTION_FIELDS, Company, Connection
from airflow_provider_codat.simulator.paging import Collection, ListRequest

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_codat.simulator.account import Account

#: The characters that Codat removes from a company's name.
_FORBIDDEN_IN_NAME = re.compile(r"[^A-Za-z0-9\s\-',&@.?!]")


def _clean(name: str) -> str:
    return _FORBIDDEN_IN_NAME.sub("", name)


def _are_tags(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= 10
        and all(1 <= len(name) <= 27 and is_text(tag) and len(tag) <= 100 for name, tag in value.items())
    )


def _is_name(value: Any) -> bool:
    return is_text(value) and bool(_clean(value))


_UPDATED = {
    "name": Field(_is_name, "a name of letters and digits"),
    "description": Field(is_text, "a text"),
    "tags": Field(_are_tags, "at most 10 texts of up to 100 characters under names of up to 27"),
}
_CREATED = _UPDATED | {"name": _UPDATED["name"]._replace(required=True)}
_NEW_CONNECTION = {
    "platformKey": Field(
        lambda value: is_text(value) and re.fullmatch("[a-z]{4}", value) is not None, "a key of four letters", True
    )
}


class CompanyEndpoints:
    """One method for each endpoint; it takes a request and its body and returns the answer.

    :param account: the state that the endpoints read and change.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._books = account.books

    # --- companies ---------------------------------------------------------------------------------------------------

    def list_companies(self, request: Request, _: bytes) -> Response:
        """GET /companies."""
        companies = list(self._books.companies.values())
        tags = request.query_params.get("tags")
        if tags is not None:
            wanted = query.parse(tags, None)
            companies = [company for company in companies if wanted(company.tags)]
        collection = Collection(
            items=sorted(companies, key=lambda company: company.created),
            ordered_by="created",
            instant=lambda company: timestamps.instant(company.created),
            view=Company.to_wire,
            fields=COMPANY_FIELDS,
        )
        return self._listed(request, collection)

    def create_company(self, _: Request, body: bytes) -> Response:
        """POST /companies."""
        company = Company(id=str(uuid4()), created=self._account.clock(), **_details(body, _CREATED))
        return JSONResponse(self._books.put(company).to_wire())

    def get_company(self, request: Request, _: bytes) -> Response:
        """GET /companies/{companyId}."""
        return JSONResponse(self._company(request).to_wire())

    def replace_company(self, request: Request, body: bytes) -> Response:
        """PUT /companies/{companyId}: fields that are not in the body are reset."""
        company, details = self._company(request), _details(body, _CREATED)
        return JSONResponse(self._books.put(replace(company, **{"description": None, "tags": {}, **details})).to_wire())

    def update_company(self, request: Request, body: bytes) -> Response:
        """PATCH /companies/{companyId}: fields that are not in the body stay."""
        return JSONResponse(self._books.put(replace(self._company(request), **_details(body, _UPDATED))).to_wire())

    def delete_company(self, request: Request, _: bytes) -> Response:
        """DELETE /companies/{companyId}."""
        del self._books.companies[self._company(request).id]
        return Response(status_code=204)

    # --- connections -------------------------------------------------------------------------------------------------

    def list_connections(self, request: Request, _: bytes) -> Response:
        """GET /companies/{companyId}/connections."""
        company = self._company(request)
        collection = Collection(
            items=company.connections,
            ordered_by="created",
            instant=lambda connection: timestamps.instant(connection.created),
            view=company.connection_to_wire,
            fields=CONNECTION_FIELDS,
        )
        return self._listed(request, collection)

    def create_connection(self, request: Request, body: bytes) -> Response:
        """POST /companies/{companyId}/connections: the new connection is ``PendingAuth``."""
        company, fields = self._company(request), json_object(body)
        refuse(problems(fields, _NEW_CONNECTION), "CreateConnection")
        connection = Connection(str(uuid4()), self._account.clock(), "PendingAuth", fields["platformKey"])
        return self._changed(company, connection)

    def get_connection(self, request: Request, _: bytes) -> Response:
        """GET /companies/{companyId}/connections/{connectionId}."""
        company = self._company(request)
        return JSONResponse(company.connection_to_wire(self._connection(company, request)))

    def unlink_connection(self, request: Request, body: bytes) -> Response:
        """PATCH /companies/{companyId}/connections/{connectionId}: a linked one becomes ``Unlinked``."""
        company, fields = self._company(request), json_object(body)
        connection = self._connection(company, request)
        wanted = fields.get("status")
        if wanted is None:
            return JSONResponse(company.connection_to_wire(connection))
        if (connection.status, wanted) != ("Linked", "Unlinked"):
            problem = f"cannot change from {connection.status} to {wanted}, only from Linked to Unlinked"
            refuse([Problem("status", problem)], "UpdateConnection")
        return self._changed(company, replace(connection, status="Unlinked"))

    def authorize_connection(self, request: Request, body: bytes) -> Response:
        """PUT /companies/{companyId}/connections/{connectionId}/authorization: any credentials link it."""
        company, _ = self._company(request), json_object(body)
        return self._changed(company, replace(self._connection(company, request), status="Linked"))

    def delete_connection(self, request: Request, _: bytes) -> Response:
        """DELETE /companies/{companyId}/connections/{connectionId}."""
        company = self._company(request)
        self._books.put(company.without_connection(self._connection(company, request).id))
        return Response(status_code=200)

    # -----------------------------------------------------------------------------------------------------------------

    def _company(self, request: Request) -> Company:
        return self._books.company(request.path_params["company_id"])

    def _connection(self, company: Company, request: Request) -> Connection:
        return company.connection(request.path_params["connection_id"])

    def _changed(self, company: Company, connection: Connection) -> Response:
        return JSONResponse(self._books.put(company.with_connection(connection)).connection_to_wire(connection))

    def _listed(self, request: Request, collection: Collection[Any]) -> Response:
        listing = ListRequest.read(request.query_params, self._account.query_support, self._account.order_by_support)
        found = listing.select(collection)
        results = [collection.view(each) for each in listing.on_page(found)]
        return JSONResponse(listing.body(request.url.path, results, len(found)))


def _details(body: bytes, fields: dict[str, Field]) -> dict[str, Any]:
    """Return the fields of a company that are in a body.

    :raises ApiError: 400 if the body is malformed.
    """
    sent = json_object(body)
    refuse(problems(sent, fields), "Company")
    details = given(sent, fields)
    return details | ({"name": _clean(details["name"])} if "name" in details else {})
