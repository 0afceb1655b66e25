"""The endpoints of companies, connections, sync settings and the profile, https://docs.codat.io/platform-api."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from airflow_provider_codat.simulator import query, timestamps
from airflow_provider_codat.simulator.bodies import Field, Problem, checked, is_flag, is_text, json_object, refuse
from airflow_provider_codat.simulator.books import COMPANY_FIELDS, CONNECTION_FIELDS, Company, Connection
from airflow_provider_codat.simulator.paging import Collection, ListRequest

if TYPE_CHECKING:
    from starlette.requests import Request

    from airflow_provider_codat.simulator.account import Account, Handlers

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


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(is_text(each) for each in value)


_UPDATED = {
    "name": Field(lambda value: is_text(value) and _clean(value) != "", "a name of letters and digits"),
    "description": Field(is_text, "a text"),
    "tags": Field(_are_tags, "at most 10 texts of up to 100 characters under names of up to 27"),
}
_CREATED = _UPDATED | {"name": _UPDATED["name"]._replace(required=True)}
_NEW_CONNECTION = {
    "platformKey": Field(
        lambda value: is_text(value) and re.fullmatch("[a-z]{4}", value) is not None, "a key of four letters", True
    )
}
_PROFILE = {
    "name": Field(is_text, "a text", True),
    "redirectUrl": Field(is_text, "a text", True),
    "logoUrl": Field(is_text, "a text"),
    "iconUrl": Field(is_text, "a text"),
    "whiteListUrls": Field(_are_texts, "a list of texts"),
    "confirmCompanyName": Field(is_flag, "true or false"),
}


class PlatformEndpoints:
    """One method for each endpoint; it takes a request and its body and returns the answer."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._books = account.books
        self._sync_settings = account.sync_settings

    def handlers(self) -> Handlers:
        """Return the endpoints by path and method."""
        company = "/companies/{company_id}"
        connection = f"{company}/connections/{{connection_id}}"
        return {
            "/companies": {"GET": self._list_companies, "POST": self._create_company},
            company: {
                "GET": self._get_company,
                "PUT": self._replace_company,
                "PATCH": self._update_company,
                "DELETE": self._delete_company,
            },
            f"{company}/connections": {"GET": self._list_connections, "POST": self._create_connection},
            connection: {
                "GET": self._get_connection,
                "PATCH": self._unlink_connection,
                "DELETE": self._delete_connection,
            },
            f"{connection}/authorization": {"PUT": self._authorize_connection},
            f"{company}/syncSettings": {"GET": self._get_company_settings, "POST": self._update_company_settings},
            "/profile": {"GET": self._get_profile, "PUT": self._update_profile},
            "/profile/syncSettings": {"GET": self._get_account_settings, "POST": self._update_account_settings},
        }

    # --- companies ---------------------------------------------------------------------------------------------------

    def _list_companies(self, request: Request, _: bytes) -> Response:
        companies = list(self._books.companies.values())
        tags = request.query_params.get("tags")
        if tags is not None:
            wanted = query.parse(tags, None)
            companies = [company for company in companies if wanted(company.tags)]
        collection = Collection(
            items=sorted(companies, key=lambda company: company.created),
            ordered_by="created",
            instant=lambda company: timestamps.instant(company.created),
            view=Company.to_json,
            fields=COMPANY_FIELDS,
        )
        return self._listed(request, collection)

    def _create_company(self, _: Request, body: bytes) -> Response:
        company = Company(id=str(uuid4()), created=self._account.clock(), **_details(body, _CREATED))
        return JSONResponse(self._books.put(company).to_json())

    def _get_company(self, request: Request, _: bytes) -> Response:
        return JSONResponse(self._company(request).to_json())

    def _replace_company(self, request: Request, body: bytes) -> Response:
        company, details = self._company(request), _details(body, _CREATED)
        # fields that are not in the body are reset
        return JSONResponse(self._books.put(replace(company, **{"description": None, "tags": {}, **details})).to_json())

    def _update_company(self, request: Request, body: bytes) -> Response:
        return JSONResponse(self._books.put(replace(self._company(request), **_details(body, _UPDATED))).to_json())

    def _delete_company(self, request: Request, _: bytes) -> Response:
        self._books.remove(self._company(request))
        return Response(status_code=204)

    # --- connections -------------------------------------------------------------------------------------------------

    def _list_connections(self, request: Request, _: bytes) -> Response:
        company = self._company(request)
        collection = Collection(
            items=company.connections,
            ordered_by="created",
            instant=lambda connection: timestamps.instant(connection.created),
            view=company.connection_to_json,
            fields=CONNECTION_FIELDS,
        )
        return self._listed(request, collection)

    def _create_connection(self, request: Request, body: bytes) -> Response:
        company, fields = self._company(request), checked(body, _NEW_CONNECTION, "CreateConnection")
        connection = Connection(str(uuid4()), self._account.clock(), "PendingAuth", fields["platformKey"])
        return self._changed(company, connection)

    def _get_connection(self, request: Request, _: bytes) -> Response:
        company = self._company(request)
        return JSONResponse(company.connection_to_json(self._connection(company, request)))

    def _unlink_connection(self, request: Request, body: bytes) -> Response:
        company, wanted = self._company(request), json_object(body).get("status")
        connection = self._connection(company, request)
        if wanted is None:
            return JSONResponse(company.connection_to_json(connection))
        if (connection.status, wanted) != ("Linked", "Unlinked"):
            problem = f"cannot change from {connection.status} to {wanted}, only from Linked to Unlinked"
            refuse([Problem("status", problem)], "UpdateConnection")
        return self._changed(company, replace(connection, status="Unlinked"))

    def _authorize_connection(self, request: Request, body: bytes) -> Response:
        company, _ = self._company(request), json_object(body)  # any credentials are accepted
        return self._changed(company, replace(self._connection(company, request), status="Linked"))

    def _delete_connection(self, request: Request, _: bytes) -> Response:
        company = self._company(request)
        self._books.put(company.without_connection(self._connection(company, request).id))
        return Response(status_code=200)

    # --- sync settings and profile -----------------------------------------------------------------------------------

    def _get_company_settings(self, request: Request, _: bytes) -> Response:
        return JSONResponse(self._sync_settings.company(self._company(request).id))

    def _update_company_settings(self, request: Request, body: bytes) -> Response:
        self._sync_settings.update_company(self._company(request).id, json_object(body))
        return Response(status_code=204)

    def _get_account_settings(self, _: Request, __: bytes) -> Response:
        return JSONResponse(self._sync_settings.account(self._account.client_id))

    def _update_account_settings(self, _: Request, body: bytes) -> Response:
        self._sync_settings.update_account(self._account.client_id, json_object(body))
        return Response(status_code=204)

    def _get_profile(self, _: Request, __: bytes) -> Response:
        return JSONResponse(self._account.profile)

    def _update_profile(self, _: Request, body: bytes) -> Response:
        self._account.profile = checked(body, _PROFILE, "Profile")  # fields that are not in the body are removed
        return JSONResponse(self._account.profile)

    # -----------------------------------------------------------------------------------------------------------------

    def _company(self, request: Request) -> Company:
        return self._books.company(request.path_params["company_id"])

    def _connection(self, company: Company, request: Request) -> Connection:
        return company.connection(request.path_params["connection_id"])

    def _changed(self, company: Company, connection: Connection) -> Response:
        return JSONResponse(self._books.put(company.with_connection(connection)).connection_to_json(connection))

    def _listed(self, request: Request, collection: Collection[Any]) -> Response:
        listing = ListRequest(request.query_params, self._account.query_support, self._account.order_by_support)
        return JSONResponse(listing.answer(request.url.path, collection))


def _details(body: bytes, fields: dict[str, Field]) -> dict[str, Any]:
    details = checked(body, fields, "Company")
    return details | ({"name": _clean(details["name"])} if "name" in details else {})
