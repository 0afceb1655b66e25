"""What a write logs, and what its errors say."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_codat.api.endpoints.push_operations import PushOperation
from airflow_provider_codat.api.errors import CodatError, CodatIdempotencyKeyReused, CodatInputError
from airflow_provider_codat.api.writing.known import Known, Line
from airflow_provider_codat.api.writing.push_history import CLOCKS_DIFFER_BY, moment
from airflow_provider_codat.api.writing.stored import StoredWrite, changed_fields


def sent_other_content(known: Known, stored: StoredWrite | None, error: CodatError) -> str:
    """Return why the outcome of a write is open when its key has been used for other content."""
    if isinstance(error, CodatIdempotencyKeyReused):
        return f"the key was used elsewhere, perhaps by an earlier try: {error}"
    changed = ", ".join(changed_fields(stored.fingerprint, known.fingerprint)) if stored is not None else ""
    differs = f"it differs in {changed}" if changed else "which fields differ is not known"
    return (
        f"an earlier try sent another content under this key ({differs}). Was it corrected, or is there a now() or a"
        f" random value in a template? {error}"
    )


def wrote_elsewhere(operation: PushOperation, elsewhere: Sequence[str]) -> CodatInputError:
    """Return the error for an operation that is no answer to what is asked for now."""
    return CodatInputError(
        f"This task instance has pushed something else before: {', '.join(elsewhere)}. Push operation {operation.key}"
        f" is {operation.status}. Nothing is sent; to write this as well, set resubmit=True and clear the task"
    )


def used_by_another(key: str) -> str:
    """Return the hint for a key that is new to this task instance, but not to Codat."""
    return (
        f"Idempotency key {key} was used for other content within the last 90 minutes: by an earlier run of the same"
        " id, by another deployment of Airflow with the same DAG (give each a name, the option deployment of the"
        " section [codat], while no task is between two tries), or by another task with this idempotency_key. If this"
        " is to be written as well, set resubmit=True and clear the task, or give a key of its own"
    )


ASKING_ONCE_MORE = Line("Codat refuses it; asking once more, to see whether it replays the answer to an earlier try.")
REFUSAL_IS_REPLAYED = Line("Codat replays a refusal, so nothing was written under this key: writing anew.")
IN_PROGRESS = Line("The first request under this key is still in progress; asking again in a minute.")
EARLIER_MAY_HAVE_WRITTEN = Line(
    "An earlier try may have written it; the next one asks under the same key.", is_warning=True
)
NEXT_TRY_ASKS = Line(
    "Whether the record was written is not known; the next try asks under the same key.", is_warning=True
)


def if_changed(known: Known, stored: StoredWrite, operation: PushOperation) -> tuple[Line, ...]:
    """Return the warning for an operation that writes another record than the one wanted now."""
    changed = changed_fields(stored.fingerprint, known.fingerprint)
    message = "The record is not the one that push operation %s writes: it differs in %s. The change is not sent."
    return (Line(message, (operation.key, ", ".join(changed)), is_warning=True),) if changed else ()


def has_ended(operation: PushOperation) -> Line:
    """Return the line for a write that is done."""
    return Line(
        "Push operation %s of an earlier try or run %s, on %s: nothing is sent. To write it once more, set"
        " resubmit=True and clear the task.",
        (
            operation.key,
            "has already written this" if operation.is_success else f"has ended as {operation.status}",
            operation.completed_on or operation.requested_on,
        ),
    )


def if_older(known: Known, operation: PushOperation) -> tuple[Line, ...]:
    """Return the warning for the answer to a new key that Codat has given to somebody before."""
    if moment(operation, known.began) >= known.began - CLOCKS_DIFFER_BY:
        return ()
    message = (
        "Push operation %s was made on %s, before this task began: its key has been used before, by an earlier run of"
        " the same id or another task with this idempotency_key."
    )
    return (Line(message, (operation.key, operation.requested_on), is_warning=True),)
