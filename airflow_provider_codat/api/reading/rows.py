"""How many different records came: 8 bytes of memory for each, however long its id is."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable

_PARTS = 16


class Rows:
    """The keys of the records that came, as hashes. That two of a million have one hash has a chance of 1 : 10^7."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, keys: Iterable[Hashable]) -> None:
        """Count records by their keys."""
        self._hashes.extend(map(hash, keys))

    def __len__(self) -> int:
        """Return how many records came, repeated ones included."""
        return len(self._hashes)

    @property
    def different(self) -> int:
        """How many different records came."""
        # One part after the other, so that the sets are small.
        return sum(len({each for each in self._hashes if each % _PARTS == part}) for part in range(_PARTS))
