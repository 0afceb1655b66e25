"""Codat's data as assets of Airflow: what DAGs are scheduled on, and what operators, webhooks and watchers report.

=========================================================  =====================================================
name and URI                                               stands for
=========================================================  =====================================================
``codat://api.codat.io/companies/<id>/data/<data type>``   a data type of one company
``codat://api.codat.io/data/<data type>``                  a data type of any company
``codat://api.codat.io/webhooks/<connection id>``          the hints of webhooks, in its store; it gets no events
=========================================================  =====================================================

Airflow tells assets apart by name, and allows one name for each URI. So :func:`sanitize_uri` refuses another spelling
of a URI, and the functions here give an asset the same name and URI. Other processes import this module, too: it
imports neither Airflow nor a hook until a function needs it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_provider_codat.api.changes import changes_in
from airflow_provider_codat.api.data_types import KNOWN_DATA_TYPES, known_data_type
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.request import identifier, path

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.common.compat.sdk import Asset

HOST = "api.codat.io"
"""The host in the names of assets, whatever address a connection has, such as that of a proxy."""

_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")


def codat_data_asset(company_id: str, data_type: str, *, host: str = HOST, **kwargs: Any) -> Asset:
    """Return the asset of a data type of one company.

    :param company_id: the company. A GUID is written in lower case, as Codat does. An asset has no templates: its name
        is fixed at DAG parse.
    :param data_type: a data type such as ``invoices``.
    :param host: the host in the name; default ``api.codat.io``, which the operators use.
    :param kwargs: what Airflow's ``Asset`` takes beside name and URI: ``extra``, and from Airflow 3 on ``group`` and
        ``watchers``.
    :raises CodatInputError: an argument is wrong.
    """
    return _asset(data_uri(company_id, data_type, host=host), data_type, **kwargs)


def codat_all_data_asset(data_type: str, *, host: str = HOST, **kwargs: Any) -> Asset:
    """Return the asset of a data type of any company.

    :param data_type: a data type such as ``invoices``.
    :param host: the host in the name; default ``api.codat.io``, which the operators use.
    :param kwargs: what Airflow's ``Asset`` takes beside name and URI.
    :raises CodatInputError: an argument is wrong.
    """
    return _asset(all_data_uri(data_type, host=host), data_type, **kwargs)


def codat_webhook_asset(codat_conn_id: str, *, host: str = HOST, **kwargs: Any) -> Asset:
    """Return the asset whose store has the hints of an Airflow connection's webhooks. It never gets an event.

    :param codat_conn_id: the id of the Airflow connection.
    :param host: the host in the name; default ``api.codat.io``.
    :param kwargs: what Airflow's ``Asset`` takes beside name and URI.
    :raises CodatInputError: an argument is wrong.
    """
    return _asset(webhook_uri(codat_conn_id, host=host), **kwargs)


def codat_changes(triggering_asset_events: Mapping[Any, Any] | None) -> list[dict[str, Any]]:
    """Return the changes at Codat that the asset events of a DAG run describe, whoever has added the events.

    Operators with ``asset_events``, watchers and the receiver of webhooks add them. Each change is a dict of ids, names
    and counts, never records: ``companyId``, ``dataType``, ``connectionId``, ``status``, ``codatConnId``, and
    ``pushOperationKey`` of a write or ``pullOperationId`` of a refresh. An entry that is not known is missing. The
    guide of the watchers (``triggers/README.md``) lists all entries. Events that others have added are left out.

    :param triggering_asset_events: what Airflow gives a task under this name; on Airflow 2.11
        ``triggering_dataset_events``. ``None`` counts as no events.
    """
    events = [event for of_asset in (triggering_asset_events or {}).values() for event in of_asset]
    return [each for event in events for each in changes_in(event.extra)]


def data_uri(company_id: str, data_type: str, *, host: str = HOST) -> str:
    """Return the name and URI of :func:`codat_data_asset`, without Airflow.

    :param company_id: the company.
    :param data_type: a data type such as ``invoices``.
    :param host: the host in the URI; default ``api.codat.io``.
    :raises CodatInputError: an argument is wrong.
    """
    return _uri(host, "companies", _company_id(company_id), "data", _data_type(data_type))


def all_data_uri(data_type: str, *, host: str = HOST) -> str:
    """Return the name and URI of :func:`codat_all_data_asset`, without Airflow.

    :param data_type: a data type such as ``invoices``.
    :param host: the host in the URI; default ``api.codat.io``.
    :raises CodatInputError: an argument is wrong.
    """
    return _uri(host, "data", _data_type(data_type))


def webhook_uri(codat_conn_id: str, *, host: str = HOST) -> str:
    """Return the name and URI of :func:`codat_webhook_asset`, without Airflow.

    :param codat_conn_id: the id of the Airflow connection.
    :param host: the host in the URI; default ``api.codat.io``.
    :raises CodatInputError: an argument is wrong.
    """
    if not codat_conn_id:
        raise CodatInputError(f"codat_conn_id is {codat_conn_id!r}: give the id of an Airflow connection")
    return _uri(host, "webhooks", identifier("codat_conn_id", codat_conn_id))


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return a ``codat://`` URI as it is. Airflow calls this for each asset with such a URI.

    :param uri: the parts of the URI.
    :raises CodatInputError: it is none of those that the functions of this module return; the message says which is
        meant. It fails the DAG's parse; Airflow 2.11 warns instead, unless ``[core] strict_dataset_uri_validation``.
    """
    canonical = urlsplit(_meant(uri))
    if canonical != uri:
        raise CodatInputError(f"asset URI {_shown(uri)!r} is another spelling: give {canonical.geturl()!r}")
    return uri


def create_asset(*, company_id: str, data_type: str, host: str = HOST, extra: dict[str, Any] | None = None) -> Asset:
    """Return the asset of a data type of one company. Airflow calls this for what hooks report as lineage.

    :param company_id: the company.
    :param data_type: a data type such as ``invoices``.
    :param host: the host in the name; default ``api.codat.io``.
    :param extra: the extra of the asset; default none.
    :raises CodatInputError: an argument is wrong.
    """
    return _asset(data_uri(company_id, data_type, host=host), extra=extra)


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> Dataset:
    """Return the dataset of an asset. OpenLineage's provider calls this for assets among inlets and outlets.

    :param asset: an asset with a ``codat://`` URI.
    :param lineage_context: the hook or operator that has reported it; not used.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=f"{uri.scheme}://{uri.netloc}", name=uri.path.lstrip("/"))


def _asset(uri: str, data_type: str | None = None, **kwargs: Any) -> Asset:
    from airflow.providers.common.compat.sdk import Asset

    if data_type is not None and known_data_type(data_type) is None:
        from difflib import get_close_matches

        near = get_close_matches(data_type, KNOWN_DATA_TYPES, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        warnings.warn(f"data_type {data_type!r} is unknown to this version: check its spelling.{meant}", stacklevel=3)
    return Asset(uri, **kwargs)


def _uri(host: str, *segments: str) -> str:
    if not isinstance(host, str) or not _HOST.fullmatch(host.lower()):
        shown = "host" if "@" in str(host) else f"host {host!r}"
        raise CodatInputError(f"{shown} is no host name: give one such as {HOST!r}, without a scheme or a user")
    return f"codat://{host.lower()}{path(*segments)}"


def _company_id(value: str) -> str:
    """Return an id as Codat writes it: a GUID in lower case."""
    company_id = identifier("company_id", value)
    return company_id.lower() if _GUID.fullmatch(company_id) else company_id


def _data_type(value: str) -> str:
    return known_data_type(value) or identifier("data_type", value)


def _meant(uri: SplitResult) -> str:
    """Return the URI that stands for the same."""
    match [unquote(each) for each in uri.path.split("/")[1:]]:
        case ["companies", company_id, "data", data_type]:
            return data_uri(company_id, data_type, host=uri.netloc)
        case ["data", data_type]:
            return all_data_uri(data_type, host=uri.netloc)
        case ["webhooks", codat_conn_id]:
            return webhook_uri(codat_conn_id, host=uri.netloc)
    raise CodatInputError(
        f"asset URI {_shown(uri)!r} names nothing of Codat: make the asset with codat_data_asset, codat_all_data_asset"
        " or codat_webhook_asset of airflow_provider_codat.assets"
    )


def _shown(uri: SplitResult) -> str:
    """Return a URI without the user, which may be a secret."""
    return uri._replace(netloc=uri.netloc.rpartition("@")[2]).geturl()
