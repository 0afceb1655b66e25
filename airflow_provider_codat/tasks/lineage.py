"""What tasks read and write, for the events of OpenLineage and of assets.

===========================  ==============================  ====================================================
task                         input                           output
===========================  ==============================  ====================================================
``CodatPushOperator``                                        the data type, one row, or those of bank transactions
``CodatRefreshOperator``                                     the data types, without those whose refresh has failed
``CodatExtractOperator``     the data type                   once it has ended, the folder of its files, all rows
``CodatPushOperationSensor``  once it has ended, the data type
``CodatDataFreshnessSensor``  the data types
===========================  ==============================  ====================================================

It all comes from the arguments and from ``ended``, the end of what the task did, which is ``None`` until there is one.
Imported only when a task reports something.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Unpack
from urllib.parse import quote, unquote, urlsplit

from airflow_provider_codat.api.changes import Change, change
from airflow_provider_codat.api.data_types import known_data_type
from airflow_provider_codat.api.refreshing.arguments import read_data_types
from airflow_provider_codat.assets import all_data_uri, data_uri

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

ALLOWED_IN_A_PATH = "/:@!$&'()*+,;=~"
"""What the path of a URI may have beside letters, digits and ``_.-``: RFC 3986, section 3.3."""


class Task(Protocol):
    """A task whose class has a lineage."""

    lineage: ClassVar[str | None]
    ended: Any


@dataclass(frozen=True)
class Touched:
    """Something that a task reads or writes.

    :param uri: the URI of its asset.
    :param records: the number of records, or ``None`` if it is not known, which is the default.
    :param event: the extra of the event of an asset; default nothing.
    :param also: the URIs of further assets that it belongs to; default none.
    :param is_changed: whether the task has changed it; default ``False``.
    """

    uri: str
    records: int | None = None
    event: dict[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    is_changed: bool = False


@dataclass(frozen=True)
class Lineage:
    """What a task reads and writes, the operations that do it, and how they have failed."""

    inputs: tuple[Touched, ...] = ()
    outputs: tuple[Touched, ...] = ()
    keys: tuple[str, ...] = ()
    failure: str | None = None


def lineage_of(task: Task) -> Lineage:
    """Return what a task reads and writes, as far as it is known by now."""
    return Lineage() if task.lineage is None else DESCRIPTIONS[task.lineage](task)


def _data(task: Any, data_type: str, *, is_changed: bool = False, **entries: Unpack[Change]) -> Touched:
    return Touched(
        uri=data_uri(task.company_id, data_type),
        records=entries.get("records"),
        event=_event(task, data_type, **entries),
        also=(all_data_uri(data_type),),
        is_changed=is_changed,
    )


def _event(task: Any, data_type: str, **entries: Unpack[Change]) -> dict[str, Any]:
    name = known_data_type(data_type) or data_type
    return {**change(companyId=task.company_id, dataType=name, codatConnId=task.codat_conn_id), **change(**entries)}


def _push(task: Any) -> Lineage:
    operation = task.ended
    key = task.push_operation_key if operation is None else operation.key
    is_written = operation is not None and operation.is_success
    written = _data(
        task,
        task.data_type,
        is_changed=is_written,
        connectionId=task.connection_id,
        status=operation and operation.status,
        pushOperationKey=key,
        recordId=operation and operation.record_id,
        records=_records(task.record) if is_written else None,
    )
    return Lineage(outputs=(written,), keys=_keys([key]), failure=_failure(operation))


def _records(record: Any) -> int:
    """Return how many records a push writes: one, or all bank transactions of a statement."""
    record = json.loads(record) if isinstance(record, str) else record
    transactions = record.get("transactions") if isinstance(record, Mapping) else None
    return len(transactions) if isinstance(transactions, list) else 1


def _push_wait(task: Any) -> Lineage:
    operation = task.ended
    is_known = operation is not None and operation.data_type is not None
    written = (_data(task, operation.data_type),) if is_known else ()
    return Lineage(inputs=written, keys=_keys([task.push_operation_key]), failure=_failure(operation))


def _refresh(task: Any) -> Lineage:
    refresh = task.ended
    if refresh is None:
        return Lineage(outputs=_all_data(task))
    not_failed = (each for each in refresh.operations if each.is_success or each in refresh.pending)
    outputs = (
        _data(
            task,
            each.data_type,
            is_changed=each.is_success,
            connectionId=each.connection_id,
            status=each.status,
            pullOperationId=each.key,
        )
        for each in not_failed
        if each.data_type
    )
    failure = refresh.describe_failure() if refresh.failed else None
    return Lineage(outputs=tuple(outputs), keys=_keys(each.key for each in refresh.operations), failure=failure)


def _freshness(task: Any) -> Lineage:
    return Lineage(inputs=_all_data(task))


def _all_data(task: Any) -> tuple[Touched, ...]:
    return tuple(_data(task, each) for each in read_data_types(task.data_types) or ())


def _extraction(task: Any) -> Lineage:
    """Return the lineage of an extraction, whose end is its XCom. The manifest is in a folder of the run."""
    xcom = task.ended
    read = _data(task, task.data_type)
    if xcom is None:
        return Lineage(inputs=(read,))
    event = _event(
        task,
        xcom["dataType"],
        companyId=xcom["companyId"],
        connectionId=xcom["connectionId"],
        records=xcom["records"],
    )
    is_changed = xcom["records"] > 0 or xcom["since"] is None  # what was read in full replaces what was there
    files = Touched(_storage_uri(xcom["manifest"].rsplit("/", 2)[0]), xcom["records"], event, is_changed=is_changed)
    return Lineage(inputs=(read,), outputs=(files,))


def _storage_uri(path: str) -> str:
    """Return the URI of a path of ``ObjectStoragePath``, without the id of the connection."""
    quoted = quote(path, safe=ALLOWED_IN_A_PATH)
    uri = urlsplit(quoted)
    if not uri.scheme:
        return f"file://{quoted}"
    return uri._replace(netloc=uri.netloc.rpartition("@")[2]).geturl()


def _keys(keys: Iterable[str | None]) -> tuple[str, ...]:
    # After a deferral that failed, a text with spaces stands for a key that is not known.
    return tuple(dict.fromkeys(key for key in keys if key and " " not in key))


def _failure(operation: Any) -> str | None:
    return None if operation is None or operation.is_success else operation.describe_failure()


DESCRIPTIONS: Mapping[str, Callable[[Any], Lineage]] = {
    "push": _push,
    "push wait": _push_wait,
    "refresh": _refresh,
    "freshness": _freshness,
    "extraction": _extraction,
}
"""The attribute ``lineage`` of a task -> its lineage."""


def facets(task: Task) -> OperatorLineage[Any, Any]:
    """Return what OpenLineage reports of a task. It sends no request."""
    from airflow.providers.common.compat.openlineage.facet import (
        ErrorMessageRunFacet,
        ExternalQueryRunFacet,
        InputDataset,
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
    )
    from airflow.providers.openlineage.extractors import OperatorLineage

    lineage = lineage_of(task)
    run_facets: dict[str, Any] = {}
    if lineage.keys:
        run_facets["externalQuery"] = ExternalQueryRunFacet(externalQueryId=", ".join(lineage.keys), source="codat")
    if lineage.failure:
        run_facets["errorMessage"] = ErrorMessageRunFacet(message=lineage.failure, programmingLanguage="python")
    outputs = {}
    for each in lineage.outputs:
        counted: dict[str, Any] = {}
        if each.records is not None:
            counted["outputStatistics"] = OutputStatisticsOutputDatasetFacet(each.records)
        outputs[each.uri] = OutputDataset(*_dataset(each.uri), outputFacets=counted)
    inputs = {each.uri: InputDataset(*_dataset(each.uri)) for each in lineage.inputs}
    return OperatorLineage(inputs=list(inputs.values()), outputs=list(outputs.values()), run_facets=run_facets)


def _dataset(uri: str) -> tuple[str, str]:
    """Return namespace and name as https://openlineage.io/docs/spec/naming says."""
    parts = urlsplit(uri)
    if parts.scheme == "codat":
        return f"codat://{parts.netloc}", parts.path.lstrip("/")
    path = unquote(parts.path)
    if parts.scheme == "file":
        return "file", path
    return f"{parts.scheme}://{parts.netloc}", path.lstrip("/")
