"""The argument ``data_types``: one data type, several, or all."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_codat.api.data_types import known_data_type
from airflow_provider_codat.api.errors import CodatInputError
from airflow_provider_codat.api.http.request import identifier


def read_data_types(value: Any) -> tuple[str, ...] | None:
    """Return the data types of an argument as Codat spells them, each once; ``None`` for all.

    :raises CodatInputError: one cannot be a data type, or there is none.
    """
    if value is None:
        return None
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise CodatInputError(
                "data_types is text that is not JSON: append | tojson to the template's expression"
            ) from None
    names = [value] if isinstance(value, str) else list(value)
    if not names:
        raise CodatInputError("data_types is empty: give a data type, or None for all that are fetched on first link")
    return tuple(dict.fromkeys(known_data_type(each) or identifier("data_types", each) for each in names))
