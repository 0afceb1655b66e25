"""Lists: filter, order, pages and the links between pages, https://docs.codat.io/using-the-api/paging."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from urllib.parse import urlencode

from airflow_provider_codat.simulator import query
from airflow_provider_codat.simulator.errors import standard_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

Item = TypeVar("Item")

#: Items per page.
DEFAULT_PAGE_SIZE = 100
#: Items per page; more is refused with 400.
MAX_PAGE_SIZE = 5000

#: What the API does with ``query``: filter, ignore it, or answer 400. Codat says that not every list supports it.
QuerySupport = Literal["honour", "ignore", "refuse"]
#: What the API does with ``orderBy``: sort, or ignore it.
OrderBySupport = Literal["honour", "ignore"]


@dataclass(frozen=True)
class Collection(Generic[Item]):
    """The items of a list endpoint, oldest first. ``instant`` returns an item's value of the field ``ordered_by``.

    A query or an order that names only this field, such as the newest items first, takes the same time for a hundred
    items and for a hundred thousand. Any other query or order reads every item.

    :param view: returns an item as Codat answers it.
    :param fields: the fields that a query or an order may name.
    """

    items: Sequence[Item]
    ordered_by: str
    instant: Callable[[Item], datetime]
    view: Callable[[Item], dict[str, Any]]
    fields: frozenset[str]

    def matching(self, text: str) -> Sequence[Item]:
        """Return the items that match a query."""
        matches = query.parse(text, self.fields)
        bounds = query.bounds(text, self.ordered_by)
        if bounds is None:
            return [item for item in self.items if matches(self.view(item))]
        start, end = 0, len(self.items)
        for sign, instant in bounds:
            left = bisect_left(self.items, instant, key=self.instant)
            right = bisect_right(self.items, instant, key=self.instant)
            start = max(start, {">=": left, "=": left, ">": right}.get(sign, start))
            end = min(end, {"<=": right, "=": right, "<": left}.get(sign, end))
        return self.items[start:end]

    def ordered(self, items: Sequence[Item], order_by: str) -> Sequence[Item]:
        """Return items in the order of a field, descending if a minus precedes its name."""
        field, descending = order_by.removeprefix("-"), order_by.startswith("-")
        query.check_field(field, self.fields)
        if field == self.ordered_by:
            return items[::-1] if descending else items
        return sorted(items, key=lambda item: _order_key(self.view(item), field), reverse=descending)


class ListRequest:
    """The query string of a list request: ``page``, ``pageSize``, ``query`` and ``orderBy``.

    :raises ApiError: 400 for a page below 1, a page size outside 1 to 5000, and a ``query`` if queries are refused.
    """

    def __init__(
        self, params: Mapping[str, str], query_support: QuerySupport, order_by_support: OrderBySupport
    ) -> None:
        if "query" in params and query_support == "refuse":
            raise standard_error(400)
        self._params = params
        self._page = _number(params, "page", 1, maximum=None)
        self._size = _number(params, "pageSize", DEFAULT_PAGE_SIZE, maximum=MAX_PAGE_SIZE)
        self._query = params.get("query") if query_support == "honour" else None
        self._order_by = params.get("orderBy") if order_by_support == "honour" else None

    def answer(
        self, path: str, collection: Collection[Item], show: Callable[[Item], dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """Return the body of the answer; ``show`` takes the place of the ``view`` of the items on the page."""
        items = collection.matching(self._query) if self._query else collection.items
        if self._order_by:
            items = collection.ordered(items, self._order_by)
        end = self._page * self._size
        links = {"self": {"href": path}, "current": self._link(path, self._page)}
        if end < len(items):
            links["next"] = self._link(path, self._page + 1)
        if self._page > 1:
            links["previous"] = self._link(path, self._page - 1)
        return {
            "results": [(show or collection.view)(item) for item in items[end - self._size : end]],
            "pageNumber": self._page,
            "pageSize": self._size,
            "totalResults": len(items),
            "_links": links,
        }

    def _link(self, path: str, page: int) -> dict[str, str]:
        return {"href": f"{path}?{urlencode({**self._params, 'page': page, 'pageSize': self._size})}"}


def _number(params: Mapping[str, str], name: str, default: int, maximum: int | None) -> int:
    text = params.get(name)
    if text is None:
        return default
    # Nine digits are more than any page number has, and fewer than int() refuses to read.
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if number < 1 or (maximum is not None and number > maximum):
        raise standard_error(400)
    return number


def _order_key(resource: Mapping[str, Any], field: str) -> tuple[bool, Any]:
    value = query.lookup(resource, field)
    return value is None, value if isinstance(value, int | float) else str(value)
