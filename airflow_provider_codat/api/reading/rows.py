"""How many different rows came: 8 bytes of memory for each, however long it is."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

_PARTS = 16


class Rows:
    """The rows of a reading, as hashes. That two of a million different rows have one hash has a chance of 1 : 10^7."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def add(self, rows: Iterable[bytes]) -> None:
        """Count rows."""
        self._hashes.extend(map(hash, rows))

    def __len__(self) -> int:
        """Return how many rows came, repeated ones included."""
        return len(self._hashes)

    @property
    def different(self) -> int:
        """How many different rows came."""
        # One part after the other, so that the sets are small.
        return sum(len({each for each in self._hashes if each % _PARTS == part}) for part in range(_PARTS))
