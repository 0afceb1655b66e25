"""The retry table of ``airflow_provider_codat.api.http.retry``, row by row."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from airflow_provider_codat.api.sync_settings import SyncSchedule, SyncSetting
from airflow_provider_codat.exceptions import (
    CodatApiError,
    CodatAuthenticationError,
    CodatConflictError,
    CodatConnectionError,
    CodatForbiddenError,
    CodatNotFoundError,
    CodatPlanLimitError,
    CodatRateLimited,
    CodatResponseError,
    CodatServerError,
)

ATTEMPTS = 3
LONG_AGO = "Thu, 01 Jan 1970 00:00:00 GMT"
SETTINGS = [SyncSetting("bills", SyncSchedule(24), fetch_on_first_link=True, sync_order=0)]


@dataclass(frozen=True)
class Row:
    """One row of the table.

    :param error: what is raised in the end.
    :param state: whether a request that reads or sets state is sent again.
    :param keyed: whether one that writes a record under an idempotency key is.
    :param unkeyed: whether one that writes a record without a key is.
    :param landed: which of them leave open whether the record was written.
    :param fault: what the simulator does, a dict of ``Fault``'s arguments.
    """

    error: type[Exception]
    state: bool
    keyed: bool
    unkeyed: bool
    landed: tuple[str, ...]
    fault: dict[str, Any]

    def again(self, kind):
        return {"state": self.state, "keyed": self.keyed, "unkeyed": self.unkeyed}[SORTS[kind]]


def status(code: int, **more: Any) -> dict[str, Any]:
    """Let Codat answer with a status, which it replays to the same key."""
    return {"kind": "status", "status": code, **more}


def gateway(code: int, **more: Any) -> dict[str, Any]:
    """Let something before Codat answer with it."""
    return {"kind": "gateway", "status": code, **more}


AGAIN, RAISE = True, False
REFUSED, BY_KEY, UNKNOWN = (), ("keyed",), ("keyed", "unkeyed")
TABLE = {
    # what happened                    error                     state  keyed  unkeyed  landed?  how
    "reset": Row(CodatConnectionError, AGAIN, AGAIN, RAISE, UNKNOWN, {"kind": "reset"}),
    "reset after": Row(CodatConnectionError, AGAIN, AGAIN, RAISE, UNKNOWN, {"kind": "reset_after"}),
    "429 seconds": Row(CodatRateLimited, AGAIN, AGAIN, AGAIN, REFUSED, status(429, retry_after=0)),
    "429 date": Row(CodatRateLimited, AGAIN, AGAIN, AGAIN, REFUSED, status(429, retry_after=LONG_AGO)),
    "429 bare": Row(CodatRateLimited, AGAIN, AGAIN, AGAIN, REFUSED, status(429)),
    "500": Row(CodatServerError, AGAIN, RAISE, RAISE, UNKNOWN, status(500)),
    "502": Row(CodatServerError, AGAIN, AGAIN, RAISE, UNKNOWN, gateway(502)),
    "503": Row(CodatServerError, AGAIN, AGAIN, RAISE, UNKNOWN, gateway(503, retry_after=0)),
    "504": Row(CodatServerError, AGAIN, AGAIN, RAISE, UNKNOWN, gateway(504)),
    "html": Row(CodatResponseError, AGAIN, AGAIN, RAISE, UNKNOWN, {"kind": "html"}),
    "302": Row(CodatApiError, RAISE, RAISE, RAISE, REFUSED, status(302, headers={"Location": "/elsewhere"})),
    "400": Row(CodatApiError, RAISE, RAISE, RAISE, REFUSED, status(400)),
    "401": Row(CodatAuthenticationError, RAISE, RAISE, RAISE, REFUSED, status(401)),
    "402": Row(CodatPlanLimitError, RAISE, RAISE, RAISE, REFUSED, status(402)),
    "403": Row(CodatForbiddenError, RAISE, RAISE, RAISE, REFUSED, status(403)),
    "404": Row(CodatNotFoundError, RAISE, RAISE, RAISE, REFUSED, {"kind": "not_found"}),
    "408": Row(CodatApiError, AGAIN, AGAIN, RAISE, UNKNOWN, gateway(408, retry_after=0)),
    "409": Row(CodatConflictError, RAISE, AGAIN, RAISE, BY_KEY, gateway(409)),
    "418": Row(CodatApiError, RAISE, RAISE, RAISE, REFUSED, gateway(418)),
    "422": Row(CodatApiError, RAISE, RAISE, RAISE, REFUSED, status(422)),
    "425": Row(CodatApiError, AGAIN, AGAIN, RAISE, REFUSED, gateway(425)),
    "501": Row(CodatServerError, RAISE, RAISE, RAISE, UNKNOWN, status(501)),
}
SORTS = {
    "read": "state",
    "set": "state",
    "create": "keyed",
    "attach": "keyed",
    "update": "unkeyed",
    "delete": "unkeyed",
}
KEYED, UNKEYED = ("create", "attach"), ("update", "delete")


def arguments(hook, kind, company_id="company", connection_id="connection"):
    """Return the call of a kind, with its arguments."""
    where = company_id, connection_id, "bills"
    return {
        "read": (hook.get_company, company_id),
        "set": (hook.update_company_sync_settings, company_id, SETTINGS),
        "create": (hook.create_record, *where, {"reference": "B-1"}),
        "attach": (hook.upload_attachment, *where, "record", __file__),
        "update": (hook.update_record, *where, "record", {"reference": "B-2"}),
        "delete": (hook.delete_record, *where, "record"),
    }[kind]


def one_key(requests, kind):
    """Return whether POSTs of records, and only they, carry one and the same idempotency key, a GUID."""
    keys = {request.headers.get("idempotency-key") for request in requests}
    return len(keys) == 1 and (uuid.UUID(keys.pop()) is not None if kind in KEYED else keys == {None})
