"""Paged lists (https://docs.codat.io/using-the-api/paging)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from airflow_provider_codat.api.errors import CodatInputError, CodatResponseError
from airflow_provider_codat.api.http.meaning import Meaning
from airflow_provider_codat.api.http.request import Request, params
from airflow_provider_codat.api.http.response import expect_list, expect_object, integer_or_none
from airflow_provider_codat.api.json_value import JsonValue

T = TypeVar("T")

DEFAULT_PAGE_SIZE = 100
"""Items per page; the API has the same default."""

_MAX_PAGE_SIZE = 5000
_MAX_QUERY_LENGTH = 2048  # a query has to be shorter
_HIGHEST_COUNT = 10**12  # a larger count is ignored: no list is that long


@dataclass(frozen=True)
class Page(JsonValue, Generic[T]):
    """One page of a list: ``size`` is the number of items on a full page, ``total`` the number in the whole list."""

    results: tuple[T, ...]
    number: int
    size: int
    total: int | None
    has_next: bool

    def to_json(self) -> dict[str, Any]:
        """Return the page with Codat's field names, ``{results, pageNumber, pageSize, totalResults}``."""
        return {
            "results": list(self.results),
            "pageNumber": self.number,
            "pageSize": self.size,
            "totalResults": self.total,
        }

    _as_dict = to_json


def page_reader(read_item: Callable[[Any], T], number: int, size: int) -> Callable[[Any], Page[T]]:
    """Return a reader for a page. If the answer lacks the page number or the page size, the requested one is used."""

    def read(body: Any) -> Page[T]:
        data = expect_object(body, "page")
        page_size = _count(data.get("pageSize")) or size
        total = _count(data.get("totalResults"))
        results = tuple(read_item(item) for item in _items(data, is_expected=(total or 0) > (number - 1) * page_size))
        # The links decide whether a next page exists; without links the total does, without a total a full page does.
        if isinstance(links := data.get("_links"), dict):
            link = links.get("next")
            has_next = bool(link.get("href") if isinstance(link, dict) else link)
        else:
            has_next = number * page_size < total if total is not None else len(results) >= page_size
        came = _count(data.get("pageNumber")) or number
        return Page(results, came, page_size, total, has_next=bool(results) and has_next)

    return read


_PAGING_FIELDS = {"pageNumber", "pageSize", "totalResults", "_links"}


def _items(data: dict[str, Any], *, is_expected: bool) -> list[Any]:
    """Return a page's items. ``results`` is optional: without it, the page has no items.

    Missing ``results`` are an error if no other paging field is there. Missing and empty ones are an error if the total
    says that the page has items. If such a page counted as empty, a search for an earlier write would find nothing, and
    the record could be written twice.
    """
    if data.get("results") is None and _PAGING_FIELDS & data.keys() and not is_expected:
        return []
    items = expect_list(data.get("results"), "page.results")
    if is_expected and not items:
        raise CodatResponseError("page.results is empty, but totalResults says that this page has items")
    return items


def _count(value: Any) -> int | None:
    number = integer_or_none(value)
    return number if number is not None and 0 <= number <= _HIGHEST_COUNT else None


def list_request(
    path: str,
    read_item: Callable[[Any], T],
    *,
    page: int,
    page_size: int,
    query: str | None,
    order_by: str | None,
    meanings: tuple[Meaning, ...] = (),
) -> Request[Page[T]]:
    """Return the request for one page of a list.

    :raises CodatInputError: an argument is out of bounds. The message names it, its value and what is allowed.
    """
    if page < 1:
        raise CodatInputError(f"page is {page}: pages are counted from 1")
    check_page_size(page_size)
    if query is not None and len(query) >= _MAX_QUERY_LENGTH:
        raise CodatInputError(f"query has {len(query)} characters: Codat takes fewer than {_MAX_QUERY_LENGTH}")
    wanted = params(page=page, pageSize=page_size, query=query, orderBy=order_by)
    return Request("GET", path, page_reader(read_item, page, page_size), wanted, meanings=meanings)


def check_page_size(page_size: int) -> None:
    """Check the argument ``page_size``.

    :raises CodatInputError: it is not a whole number from 1 to 5000.
    """
    if not isinstance(page_size, int) or isinstance(page_size, bool):
        raise CodatInputError(f"page_size is {page_size!r}: give a whole number from 1 to {_MAX_PAGE_SIZE}")
    if not 1 <= page_size <= _MAX_PAGE_SIZE:
        raise CodatInputError(f"page_size is {page_size}: allowed are 1 to {_MAX_PAGE_SIZE}")


def number_after(requested: int, page: Page[Any]) -> int | None:
    """Return the number of the page after the requested one, or ``None`` after the last.

    Links in answers are not followed: they could send the API key to another host.

    :raises CodatResponseError: the answer has another page than the requested one, so reading on might never end.
    """
    if page.number != requested:
        raise CodatResponseError(f"page {requested} was requested, page {page.number} came")
    return requested + 1 if page.has_next else None


def place_after(place: Mapping[str, int], page: Page[Any]) -> dict[str, int] | None:
    """Return the ``page`` and ``page_size`` of the request after this one, or ``None`` after the last page.

    If Codat answered with smaller pages than requested, the next page has that size too: otherwise an API that takes
    the requested size for the position would skip items.

    :raises CodatResponseError: as :func:`number_after` does.
    """
    number = number_after(place["page"], page)
    is_stated = len(page.results) <= page.size  # else the stated size cannot be true
    size = min(place["page_size"], page.size) if is_stated else place["page_size"]
    return None if number is None else {"page": number, "page_size": size}
