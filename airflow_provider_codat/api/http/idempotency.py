"""Idempotency keys (https://docs.codat.io/using-the-api/idempotency)."""

from __future__ import annotations

import uuid

from airflow_provider_codat.api.errors import CodatInputError


def check_idempotency_key(value: str) -> str:
    """Return ``value`` if it is a GUID, which Codat requires.

    :raises CodatInputError: it is not a GUID.
    """
    try:
        return str(uuid.UUID(value))
    except (ValueError, AttributeError, TypeError):
        raise CodatInputError(f"idempotency_key {value!r} is not a GUID such as {uuid.UUID(int=0)}") from None


def given_or_new_key(given: str | None) -> str:
    """Return the key that was given, or a new one.

    :raises CodatInputError: the given key is not a GUID.
    """
    return str(uuid.uuid4()) if given is None else check_idempotency_key(given)
