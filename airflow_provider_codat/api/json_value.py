"""Values that are JSON as well.

An Airflow task returns a value to others as an XCom, and those may run anywhere. Of a class Airflow does not know, what
arrives is an error, unless the deployment's ``[core] allowed_deserialization_classes`` names it; a dict always arrives.
So what the hook returns is a dict too, with Codat's own field names, and as such it arrives.
"""

from __future__ import annotations

from typing import Any


class JsonValue(dict[str, Any]):
    """The base of a frozen dataclass that is a dict in Codat's shape, too.

    The attributes are for code, the dict is for what knows nothing of the class. It is made once: changing it changes
    no attribute. Values are compared by their attributes.
    """

    def __post_init__(self) -> None:
        self.update(self._as_dict())

    def _as_dict(self) -> dict[str, Any]:
        """Return the value as a dict of strings, numbers, booleans, ``None``, lists and dicts."""
        raise NotImplementedError
