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
     since the DAG run began
S4   otherwise                                                          queue
O    **An operation of an earlier try is read**
O1   it has not ended, or as ``Complete`` or ``NotSupported``           go on with it
O2   it has ended otherwise, or Codat does not find it                  queue
A    **Codat answers the request to queue**
A1   with an operation                                                  go on with it
A2   the data type is being refreshed, by an operation that is named    read it → R
A3   the same, but no operation is named                                queue again after a pause; raise after the last
A4   the platform does not have the data type                           it has ended, as ``NotSupported``
A5   with another error                                                 raise
R    **The operation that Codat has named is read**
R1   it has not ended, or Codat does not find it yet                    go on with it
R2   it ended after this try began, as in O1                            go on with it
R3   otherwise                                                          as A3: the next refusal may be up to date
===  =================================================================  ==============================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_codat.api.endpoints.pull_operations import NOT_SUPPORTED, PullOperation
from airflow_provider_codat.api.errors import CodatDataTypeNotSupported, CodatError, CodatRefreshInProgress
from airflow_provider_codat.api.http.response import parse_datetime

PAUSE = 5.0
"""Seconds before a refresh that was refused is queued again."""

MOST_REFUSALS = 3
"""Refusals as *in progress*, without an operation to go on with, after which the last one is raised."""

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
    :param listed: the newest operation of the target that was requested since the DAG run began; default ``None``.
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
    """Codat has answered with an error. ``count`` is the number of refusals as *in progress*, this one included."""

    error: CodatError
    count: int


@dataclass(frozen=True)
class NamedRead:
    """The operation that a refusal has named. ``began``: when this try began, in epoch seconds."""

    operation: PullOperation
    refused: Refused
    began: float


Answer: TypeAlias = Began | OperationRead | Queued | Refused | NamedRead


# -- what is done ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Queue:
    """Queue the refresh, after a pause in seconds; default none."""

    pause: float = 0.0


@dataclass(frozen=True)
class Read:
    """Read an operation. ``refused``: the refusal that has named it; default ``None``, an earlier try stored it."""

    operation_id: str
    refused: Refused | None = None


@dataclass(frozen=True)
class GoOn:
    """Go on with an operation."""

    operation: PullOperation


@dataclass(frozen=True)
class NotSupported:
    """The platform does not have the data type, as this error says."""

    error: CodatError


@dataclass(frozen=True)
class Raise:
    """Raise an error."""

    error: CodatError


Action: TypeAlias = Queue | Read | GoOn | NotSupported | Raise


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
            return "A2", Read(named, answer)
        case Refused(CodatRefreshInProgress()):
            return "A3", _again(answer)
        case Refused(CodatDataTypeNotSupported() as error):
            return "A4", NotSupported(error)
        case Refused(error):
            return "A5", Raise(error)
        case NamedRead(operation) if not operation.is_terminal:
            return "R1", GoOn(operation)
        case NamedRead(operation, _, began) if _is_as_wanted(operation) and _ended_after(
            operation, began - CLOCK_MARGIN
        ):
            return "R2", GoOn(operation)
        case NamedRead(_, refused):
            return "R3", _again(refused)


def _again(refused: Refused) -> Action:
    return Queue(PAUSE) if refused.count < MOST_REFUSALS else Raise(refused.error)


def _is_as_wanted(operation: PullOperation) -> bool:
    return not operation.is_terminal or operation.is_success or operation.status == NOT_SUPPORTED


def _ended_after(operation: PullOperation, moment: float) -> bool:
    completed = parse_datetime(operation.completed_on)
    return completed is not None and completed.timestamp() >= moment
