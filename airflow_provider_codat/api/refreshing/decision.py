"""What a try does to refresh one data type: queue it, or go on with a pull operation that exists.

A *target* is a data type, and the connection on which it is refreshed if the company has several. A task that is
cleared begins anew: its next try counts as the first, and what was stored before counts no more.

===  =================================================================  ==============================================
row  what is known                                                      what is done
===  =================================================================  ==============================================
S    **The try starts**
S1   an earlier try has stored an operation                             read it → O
S2   it is the first try                                                queue
S3   the company's history shows one of the target that was requested   → O
     since the first try began, or without a store the DAG run
S4   otherwise                                                          queue
O    **An operation of an earlier try is read**
O1   it has not ended, or as ``Complete`` or ``NotSupported``           go on with it
O2   it has ended otherwise, or Codat does not find it                  queue
A    **Codat answers the request to queue**
A1   with an operation                                                  go on with it
A2   the data type is being refreshed, by an operation that is named    read it → R
A3   the same, but no operation is named                                find the target's newest operation → R
A4   the platform does not have the data type                           end, as ``NotSupported``
A5   with another refusal of this data type: any 4xx or 500, but 401    end, as ``Refused``
     and 429
A6   with an error that other data types would meet too                 raise
R    **The operation that may be running is read**
R1   it has not ended, or Codat does not find it by its name yet        go on with it
R2   it ended after this try began, as in O1                            go on with it
R3   otherwise, if the refusal has named it: the refusal is old         find the target's newest operation → R
R4   otherwise                                                          queue later, until the timeout
===  =================================================================  ==============================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_codat.api.endpoints.pull_operations import NOT_SUPPORTED, PullOperation
from airflow_provider_codat.api.errors import (
    CodatApiError,
    CodatDataTypeNotSupported,
    CodatError,
    CodatRefreshInProgress,
)
from airflow_provider_codat.api.http.response import parse_datetime

REFUSED = "Refused"
"""The status, not one of Codat's, of a data type whose refresh Codat has refused."""

CLOCK_MARGIN = 60.0
"""Seconds by which Codat's clock and Airflow's may differ."""


@dataclass(frozen=True, order=True)
class Target:
    """What is refreshed: a data type, on one connection or, with ``None``, the default, on the only one."""

    data_type: str
    connection_id: str | None = None

    def __str__(self) -> str:
        return self.data_type if self.connection_id is None else f"{self.data_type} on connection {self.connection_id}"


# -- what is known -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Began:
    """The try starts.

    :param stored: the id of the operation that an earlier try has stored; default ``None``.
    :param listed: the newest operation of the target that was requested since the first try began, or without a store
        the DAG run; default ``None``.
    """

    is_first_try: bool
    stored: str | None = None
    listed: PullOperation | None = None


@dataclass(frozen=True)
class OperationRead:
    """An operation of an earlier try; ``None`` if Codat does not find it."""

    operation: PullOperation | None


@dataclass(frozen=True)
class Queued:
    """Codat has queued the refresh."""

    operation: PullOperation


@dataclass(frozen=True)
class Refused:
    """Codat has answered with an error, or not at all."""

    error: CodatError


@dataclass(frozen=True)
class MayBeRunning:
    """An operation that may be the reason for a refusal as *in progress*.

    :param operation: the operation; ``None`` if none was found.
    :param began: when this try began, in epoch seconds.
    :param is_named: whether the refusal has named it; otherwise it is the newest of the target.
    """

    operation: PullOperation | None
    began: float
    is_named: bool


Answer: TypeAlias = Began | OperationRead | Queued | Refused | MayBeRunning


# -- what is done ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Queue:
    """Queue the refresh."""


@dataclass(frozen=True)
class QueueLater:
    """Queue the refresh after a pause."""


@dataclass(frozen=True)
class Read:
    """Read an operation. ``is_named``: whether a refusal has named it; default ``False``, an earlier try stored it."""

    operation_id: str
    is_named: bool = False


@dataclass(frozen=True)
class Find:
    """Find the newest operation of the target: of those that have not ended, if there are any."""


@dataclass(frozen=True)
class GoOn:
    """Go on with an operation."""

    operation: PullOperation


@dataclass(frozen=True)
class End:
    """End without an operation, with this status, for the reason that the error says."""

    status: str
    error: CodatError


@dataclass(frozen=True)
class Raise:
    """Raise an error."""

    error: CodatError


Action: TypeAlias = Queue | QueueLater | Read | Find | GoOn | End | Raise


def decide(answer: Answer) -> tuple[str, Action]:
    """Return the row of the table, and what is done."""
    match answer:
        case Began(stored=str() as stored):
            return "S1", Read(stored)
        case Began(is_first_try=True):
            return "S2", Queue()
        case Began(listed=PullOperation() as listed):
            row, action = decide(OperationRead(listed))
            return f"S3 {row}", action
        case Began():
            return "S4", Queue()
        case OperationRead(PullOperation() as operation) if _is_as_wanted(operation):
            return "O1", GoOn(operation)
        case OperationRead():
            return "O2", Queue()
        case Queued(operation):
            return "A1", GoOn(operation)
        case Refused(CodatRefreshInProgress(pull_operation_id=str() as named)):
            return "A2", Read(named, is_named=True)
        case Refused(CodatRefreshInProgress()):
            return "A3", Find()
        case Refused(CodatDataTypeNotSupported() as error):
            return "A4", End(NOT_SUPPORTED, error)
        case Refused(CodatApiError(status_code=status) as error) if status not in {401, 429} and status <= 500:
            return "A5", End(REFUSED, error)
        case Refused(error):
            return "A6", Raise(error)
        case MayBeRunning(PullOperation(is_terminal=False) as operation):
            return "R1", GoOn(operation)
        case MayBeRunning(PullOperation() as operation, began) if _ended_as_wanted_since(operation, began):
            return "R2", GoOn(operation)
        case MayBeRunning(is_named=True):
            return "R3", Find()
        case MayBeRunning():
            return "R4", QueueLater()


def _is_as_wanted(operation: PullOperation) -> bool:
    return not operation.is_terminal or operation.is_success or operation.status == NOT_SUPPORTED


def _ended_as_wanted_since(operation: PullOperation, began: float) -> bool:
    completed = parse_datetime(operation.completed_on)
    return _is_as_wanted(operation) and completed is not None and completed.timestamp() >= began - CLOCK_MARGIN
