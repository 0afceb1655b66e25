"""When each data type of a company was last refreshed (https://docs.codat.io/core-concepts/status)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from airflow_provider_codat.api.endpoints.meanings import NOT_FOUND
from airflow_provider_codat.api.endpoints.pull_operations import has_ended
from airflow_provider_codat.api.http.request import Request, identifier, path
from airflow_provider_codat.api.http.response import expect_object, id_or_none, parse_datetime, text_or_none
from airflow_provider_codat.api.json_value import JsonValue


@dataclass(frozen=True)
class DataStatus(JsonValue):
    """The state of one data type of a company.

    Codat does not say whose state it shows if a company has several connections with this data type.

    :param current_status: the status of the latest pull operation; ``None``, the default, if there was none. An error
        does not make older data unusable, and ``Complete`` says nothing about its age.
    :param last_successful_sync: the UTC time of the last successful refresh. ``None``, the default, if there was none
        or the time cannot be read.
    :param latest_sync_id: the id of the latest pull operation; default ``None``.
    :param latest_successful_sync_id: the id of the latest pull operation that was successful; default ``None``.
    """

    data_type: str
    current_status: str | None = None
    last_successful_sync: datetime | None = None
    latest_sync_id: str | None = None
    latest_successful_sync_id: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the latest pull operation has ended. If there was none, or its status is unknown, it has not."""
        return has_ended(self.current_status)

    @classmethod
    def from_json(cls, data_type: str, body: Any) -> Self:
        """Read one entry of the answer. What is missing or cannot be read is ``None``.

        :param data_type: the data type under which the answer has the entry.
        :param body: the entry.
        """
        data = body if isinstance(body, dict) else {}
        return cls(
            data_type,
            text_or_none(data.get("currentStatus")) or None,
            parse_datetime(data.get("lastSuccessfulSync")),
            id_or_none(data.get("latestSyncId")),
            id_or_none(data.get("latestSuccessfulSyncId")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the state with Codat's field names. The time is ISO 8601 in UTC."""
        synced = self.last_successful_sync
        return {
            "dataType": self.data_type,
            "currentStatus": self.current_status,
            "lastSuccessfulSync": None if synced is None else synced.isoformat(),
            "latestSyncId": self.latest_sync_id,
            "latestSuccessfulSyncId": self.latest_successful_sync_id,
        }

    _as_dict = to_json


def get_data_status(company_id: str) -> Request[dict[str, DataStatus]]:
    """Read the state of all data types of a company, as a dict from data type to :class:`DataStatus`.

    :param company_id: Codat's id of the company.
    :raises CodatInputError: the id is malformed; nothing is sent.
    :raises CodatNotFoundError: the company is unknown or deleted.
    :raises CodatResponseError: the answer is not an object.

    Source: https://docs.codat.io/platform-api#/operations/get-company-data-status.
    """

    def read(body: Any) -> dict[str, DataStatus]:
        entries = expect_object(body, "data status")
        return {data_type: DataStatus.from_json(data_type, entry) for data_type, entry in entries.items()}

    company = identifier("company_id", company_id)
    return Request("GET", path("companies", company, "dataStatus"), read, meanings=NOT_FOUND)
