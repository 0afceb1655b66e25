"""Values that are JSON as well.

A value of a class that Airflow does not know cannot be read from an XCom, unless the deployment's ``[core]
allowed_deserialization_classes`` names the class. A dict always can, so what the hook returns is a dict as well.
"""

from __future__ import annotations

from typing import Any


class JsonValue(dict[str, Any]):
    """The base of a frozen dataclass that is a dict in Codat's shape, too.

    The dict is made once: changing it changes no attribute. Values are compared by their attributes.
    """

    def __post_init__(self) -> None:
        self.update(self._as_dict())

    def _as_dict(self) -> dict[str, Any]:
        """Return the value as JSON values."""
        raise NotImplementedError
