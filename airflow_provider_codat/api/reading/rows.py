"""How many different records came: 8 bytes of memory for each, however long its id is."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from typing import Any

_PARTS = 16
_encode = json.JSONEncoder(sort_keys=True).encode


class Rows:
    """The records that came, as hashes. That two of a million have one hash has a chance of 1 : 10^7.

    A record with an ``id`` is told apart from others by that alone: one that is changed while pages are read comes
    twice, and would otherwise make up for another one that did not come. A record without is told apart by all it has.
    """

    def __init__(self) -> None:
        self._with_id = array("q")
        self._without_id = array("q")

    def add(self, records: Sequence[dict[str, Any]]) -> None:
        """Count the records of one page."""
        ids = [each.get("id") for each in records]
        self._with_id.extend([hash(each) for each in ids if isinstance(each, str | int)])
        self._without_id.extend(
            hash(_encode(record)) for record, each in zip(records, ids, strict=True) if not isinstance(each, str | int)
        )

    def __len__(self) -> int:
        """Return how many records came, repeated ones included."""
        return len(self._with_id) + len(self._without_id)

    @property
    def different(self) -> int:
        """How many different records came."""
        return _different(self._with_id) + _different(self._without_id)

    @property
    def all_have_ids(self) -> bool:
        """Whether all records that came have an ``id``."""
        return not self._without_id

    @property
    def equal_without_id(self) -> int:
        """How many records without an ``id`` were equal to one before."""
        return len(self._without_id) - _different(self._without_id)

    @property
    def fingerprint(self) -> int:
        """What two readings have in common that brought the same records equally often, in any order."""
        return sum(self._with_id) + sum(self._without_id)


def _different(hashes: Sequence[int]) -> int:
    # One part after the other, so that the sets are small.
    return sum(len({each for each in hashes if each % _PARTS == part}) for part in range(_PARTS))
