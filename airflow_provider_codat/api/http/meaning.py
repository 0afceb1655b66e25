"""What an error answer means to a request, where the status alone does not say it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_codat.api.errors import CodatApiError


@dataclass(frozen=True)
class Meaning:
    """What an error answer means.

    :param statuses: the HTTP statuses that it has.
    :param text: a regular expression that Codat's error text has to contain, in any case; empty for any text.
    :param error: the class of the error to raise.
    :param hint: what the user can do about it.
    """

    statuses: frozenset[int]
    text: str
    error: type[CodatApiError]
    hint: str


def meaning_of(meanings: Iterable[Meaning], status: int, text: str) -> Meaning | None:
    """Return the first meaning that has this status and this error text, or ``None``."""
    matching = (each for each in meanings if status in each.statuses and re.search(each.text, text, re.IGNORECASE))
    return next(matching, None)
