"""Dataclasses that are dicts too.

Airflow reads an XCom of an unknown class only if ``[core] allowed_deserialization_classes`` names the class. It always
reads a dict. So the values that the hook returns are dicts too.
"""

from __future__ import annotations

from typing import Any


class JsonValue(dict[str, Any]):
    """The base of frozen dataclasses that are dicts in Codat's shape too.

    The dict is filled once: changing it changes no attribute. Two values are compared by their attributes.
    """

    def __post_init__(self) -> None:
        self.update(self._as_dict())

    def _as_dict(self) -> dict[str, Any]:
        """Return the value as JSON values."""
        raise NotImplementedError
