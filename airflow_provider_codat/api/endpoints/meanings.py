"""What error answers mean to the requests about companies, their connections and their data.

Codat answers 404 for four different reasons. Only the text tells them apart:

=================================================  =====================================
text                                               reason
=================================================  =====================================
``No company was found with ID …``                 the company is unknown or deleted
``Data connection … not found``                    the connection is unknown or deleted
``No data available for … for ID …``               Codat has no data of this type
``Datatype … not supported by platform …``         the platform does not have this type
=================================================  =====================================

A 409 to a read means that the data type was never refreshed, or that its refresh has not ended. A refresh that is
running already is refused with the text ``DatasetAlreadyInProgressException``; Codat does not document the status.

Sources: https://docs.codat.io/using-the-api/errors and https://docs.codat.io/using-the-api/queueing-data-syncs.
"""

from __future__ import annotations

from airflow_provider_codat.api.errors import (
    CodatDataTypeNotSupported,
    CodatNoDataAvailable,
    CodatNotFoundError,
    CodatNotYetSynced,
    CodatRefreshInProgress,
)
from airflow_provider_codat.api.http.meaning import Meaning

_NAME = r"^(\w+Exception: )?"  # of the exception at Codat, with which some texts begin

NOT_FOUND = (
    Meaning(
        frozenset({404}),
        _NAME + r"(no )?company\b.*\b(found|exists?)\b",
        CodatNotFoundError,
        "The API key's account has no such company, or it was deleted: check company_id and the connection to Codat",
    ),
    Meaning(
        frozenset({404}),
        _NAME + r"(no )?(data ?)?connection\b.*\b(found|exists?)\b",
        CodatNotFoundError,
        "The company has no such connection, or it was deleted: CodatHook().list_data_connections(company_id) shows"
        " those it has",
    ),
)

_NOT_SUPPORTED = Meaning(
    frozenset({400, 404}),
    _NAME + r"data ?type\b.*\bnot supported\b",
    CodatDataTypeNotSupported,
    "The platform of the connection does not have this data type: leave it out",
)

OF_READS = (
    _NOT_SUPPORTED,
    Meaning(
        frozenset({404}),
        r"\bno data (is )?available\b",
        CodatNoDataAvailable,
        "Codat has no data of this type for the company: refresh it with CodatHook().queue_refresh(company_id,"
        " data_type), and wait until the refresh is Complete",
    ),
    *NOT_FOUND,
    Meaning(
        frozenset({409}),
        "",
        CodatNotYetSynced,
        "The data type was never refreshed, or its refresh has not ended: CodatHook().get_data_status(company_id) tells"
        " which. Refresh it with CodatHook().queue_refresh(company_id, data_type), and wait until it is Complete",
    ),
)

OF_REFRESHES = (
    Meaning(
        frozenset({400, 409}),
        "DatasetAlreadyInProgress",
        CodatRefreshInProgress,
        "A refresh of this data type is running: wait for it instead; pull_operation_id of this error is its id",
    ),
    _NOT_SUPPORTED,
    *NOT_FOUND,
)
