"""Arguments that say which data is meant.

Each may be the text of a rendered template. The text ``null`` is ``None``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_codat.api.data_types import known_data_type
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.request import identifier

NULL = "null"
"""The text of no value, as JSON has it."""


def read_data_types(value: Any) -> tuple[str, ...] | None:
    """Return the data types of an argument as Codat spells them, each once; ``None`` for all.

    :raises CodatInputError: it is no data type or list of them, one cannot be a data type, or there is none.
    """
    if isinstance(value, str) and (value.lstrip().startswith(("[", '"')) or value == NULL):
        try:
            value = json.loads(value)
        except ValueError:
            raise CodatInputError(
                "data_types is text that is not JSON: append | tojson to the template's expression"
            ) from None
        if isinstance(value, str) and value.lstrip().startswith("["):
            return read_data_types(value)  # the triggerer has encoded text that was JSON already
    if value is None:
        return None
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise CodatInputError(f"data_types is {value!r}: give a data type such as 'invoices', or a list of them")
    names = [value] if isinstance(value, str) else list(value)
    if not names:
        raise CodatInputError("data_types is empty: give a data type, or None for all that are fetched on first link")
    return tuple(dict.fromkeys(known_data_type(each) or identifier("data_types", each) for each in names))


def read_named_data_types(value: Any) -> tuple[str, ...]:
    """Return the data types of an argument that must not be ``None``, as :func:`read_data_types` does.

    :raises CodatInputError: it is ``None``, or one cannot be a data type, or there is none.
    """
    data_types = read_data_types(value)
    if data_types is None:
        raise CodatInputError("data_types is None: give a data type, or a list of them")
    return data_types


def read_since(value: datetime | str | None) -> float | None:
    """Return the argument ``since``, a time or its ISO 8601 text, in epoch seconds. Without a zone it is UTC.

    :raises CodatInputError: it is not a time.
    """
    if value is None or value == NULL:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise CodatInputError(f"since is {value!r}: give a datetime, or ISO 8601 text") from None
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
