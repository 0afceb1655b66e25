"""The texts of a write's log lines and errors."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatError, CodatIdempotencyKeyReused, CodatInputError
from airflow_provider_codat.api.writing.known import Known, Line
from airflow_provider_codat.api.writing.push_history import CLOCKS_DIFFER_BY, moment
from airflow_provider_codat.api.writing.stored import StoredWrite, changed_fields


def sent_other_content(known: Known, stored: StoredWrite | None, error: CodatError) -> str:
    """Return why the outcome of a write is not known after its key was used for other content."""
    if isinstance(error, CodatIdempotencyKeyReused):
        return f"the idempotency key was used for another write, perhaps by an earlier try: {error}"
    changed = ", ".join(changed_fields(stored.fingerprint, known.fingerprint)) if stored is not None else ""
    differs = f"it differs in {changed}" if changed else "which fields differ is not known"
    return (
        f"an earlier try sent other content under this idempotency key ({differs}). Was the record corrected, or does a"
        f" template use now() or a random value? {error}"
    )


def wrote_elsewhere(operation: PushOperation, elsewhere: Sequence[str]) -> CodatInputError:
    """Return the error for an operation of an earlier try that has another target."""
    return CodatInputError(
        f"An earlier try of this task instance sent its write to another target: {', '.join(elsewhere)}. Its push"
        f" operation {operation.key} is {operation.status}. Nothing is sent. To write to this target too, set"
        " resubmit=True and clear the task"
    )


def used_by_another(key: str) -> str:
    """Return the hint for an idempotency key that is new to this task instance, but not to Codat."""
    return (
        f"Idempotency key {key} was used for other content within the last 90 minutes: by an earlier run with the same"
        " id, by another task with this idempotency_key, or by the same DAG in another deployment of Airflow (give each"
        " deployment a name: the option deployment in the section [codat], while no task is between two tries). To"
        " write this record too, set resubmit=True and clear the task, or give the task its own idempotency_key"
    )


ASKING_ONCE_MORE = Line("Codat refuses the write. Sending it once more, to see whether Codat replays an old refusal.")
REFUSAL_IS_REPLAYED = Line("Codat replays a refusal, so nothing was written under this key. Writing under another key.")
IN_PROGRESS = Line("The first request under this key is still in progress. Sending it again in a minute.")
EARLIER_MAY_HAVE_WRITTEN = Line(
    "An earlier try may have written the record. The next try sends it again under the same key.", is_warning=True
)
NEXT_TRY_ASKS = Line(
    "It is not known whether the record was written. The next try sends it again under the same key.", is_warning=True
)


def if_changed(known: Known, stored: StoredWrite, operation: PushOperation) -> tuple[Line, ...]:
    """Return the warning for an operation whose record has other content than the current one."""
    changed = changed_fields(stored.fingerprint, known.fingerprint)
    message = "The record has changed since push operation %s was made: it differs in %s. The change is not sent."
    return (Line(message, (operation.key, ", ".join(changed)), is_warning=True),) if changed else ()


def has_ended(operation: PushOperation) -> Line:
    """Return the log line for an operation of an earlier try or run that has ended."""
    return Line(
        "Push operation %s of an earlier try or run %s, on %s. Nothing is sent. To write the record once more, set"
        " resubmit=True and clear the task.",
        (
            operation.key,
            "has already written this" if operation.is_success else f"has ended as {operation.status}",
            operation.completed_on or operation.requested_on,
        ),
    )


def if_older(known: Known, operation: PushOperation) -> tuple[Line, ...]:
    """Return the warning for an operation that is older than this try, though the idempotency key was new to it."""
    if moment(operation, known.began) >= known.began - CLOCKS_DIFFER_BY:
        return ()
    message = (
        "Push operation %s was made on %s, before this task began. An earlier run with the same id, or another task"
        " with this idempotency_key, has used its idempotency key."
    )
    return (Line(message, (operation.key, operation.requested_on), is_warning=True),)
