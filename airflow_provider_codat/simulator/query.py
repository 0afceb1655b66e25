"""Codat's query language, https://docs.codat.io/using-the-api/querying.

    expression  = conjunction { "||" conjunction }
    conjunction = term { "&&" term }
    term        = "{" expression "}" | field operator value

A value ends before the next ``&&``, ``||`` or brace, or at the end of the query. Blanks around it are removed. There is
no quoting.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from airflow_provider_codat.simulator import timestamps
from airflow_provider_codat.simulator.errors import ApiError

Resource = Mapping[str, Any]
Predicate = Callable[[Resource], bool]

#: "Queries must be under 2,048 characters".
MAX_LENGTH = 2048

_COMPARISON = re.compile(
    r"\s*(?P<field>[A-Za-z_][\w.]*)\s*(?P<operator>!=|>=|<=|=|~|>|<)\s*(?P<value>(?:(?!&&|\|\||[{}]).)+)",
    re.DOTALL,
)
_MARK = re.compile(r"\s*(&&|\|\||\{|\})")
_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


def parse(text: str, fields: frozenset[str] | None) -> Predicate:
    """Return a predicate over resources as Codat answers them.

    :param fields: the fields that the query may name, dotted names by their first part; None for any, as for tags.
    :raises ApiError: 400 for a malformed query, one that is too long, and an unknown field.
    """
    if len(text) >= MAX_LENGTH:
        raise _malformed()
    return _Parser(text, fields).parse()


def bounds(text: str, field: str) -> list[tuple[str, datetime]] | None:
    """Return the operators and instants of a query that has only bounds on this field; None for any other query."""
    found = []
    for term in text.split("&&"):
        match = _COMPARISON.fullmatch(term)
        if match is None or match["field"] != field or match["operator"] in ("!=", "~"):
            return None
        instant = timestamps.parse(match["value"].strip())
        if instant is None:
            return None
        found.append((match["operator"], instant))
    return found


def lookup(resource: Resource, field: str) -> Any:
    """Return the value at a dotted field name, or None where there is none."""
    value: Any = resource
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def check_field(field: str, fields: frozenset[str]) -> None:
    """Refuse an unknown field.

    :raises ApiError: 400, with Codat's text.
    """
    if field.partition(".")[0] not in fields:
        raise ApiError(400, f"Error parsing query - Could not resolve property {field}")


class _Parser:
    """A recursive descent parser of the grammar above; ``_position`` is its only state."""

    def __init__(self, text: str, fields: frozenset[str] | None) -> None:
        self._text = text
        self._fields = fields
        self._position = 0

    def parse(self) -> Predicate:
        predicate = self._expression()
        if self._text[self._position :].strip():
            raise _malformed()
        return predicate

    def _expression(self) -> Predicate:
        choices = [self._conjunction()]
        while self._take("||"):
            choices.append(self._conjunction())
        return lambda resource: any(choice(resource) for choice in choices)

    def _conjunction(self) -> Predicate:
        terms = [self._term()]
        while self._take("&&"):
            terms.append(self._term())
        return lambda resource: all(term(resource) for term in terms)

    def _term(self) -> Predicate:
        if not self._take("{"):
            return self._comparison()
        inner = self._expression()
        if not self._take("}"):
            raise _malformed()
        return inner

    def _comparison(self) -> Predicate:
        match = _COMPARISON.match(self._text, self._position)
        if match is None:
            raise _malformed()
        field, sign, value = match["field"], match["operator"], match["value"].strip()
        if not value or value[0] in "=!~<>":
            raise _malformed()
        if self._fields is not None:
            check_field(field, self._fields)
        self._position = match.end()
        return lambda resource: _matches(lookup(resource, field), sign, value)

    def _take(self, mark: str) -> bool:
        match = _MARK.match(self._text, self._position)
        if match is None or match[1] != mark:
            return False
        self._position = match.end()
        return True


def _matches(actual: Any, sign: str, wanted: str) -> bool:
    """Compare by the type of the field: number, truth value, instant, else text. A null field never matches."""
    if actual is None:
        return False
    if sign == "~":
        return wanted.casefold() in str(actual).casefold()
    left, right = _comparable(actual, wanted)
    return _ORDERINGS[sign](left, right)


def _comparable(actual: Any, wanted: str) -> tuple[Any, Any]:
    if isinstance(actual, bool):
        return str(actual).lower(), wanted.lower()
    if isinstance(actual, int | float):
        try:
            return actual, float(wanted)
        except ValueError:
            raise _malformed() from None
    left, right = timestamps.parse(str(actual)), timestamps.parse(wanted)
    if left is not None and right is not None:
        return left, right
    return str(actual), wanted


def _malformed() -> ApiError:
    return ApiError(400, "Error parsing query - Malformed query.")
