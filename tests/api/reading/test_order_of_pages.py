"""Whether all records came, if Codat orders the pages in different ways, or has records without an id."""

import json

import pytest
from extract_story import Books
from extraction_course import PAGES, Course, books

from airflow_provider_codat.api.errors import CodatExtractionIncomplete
from airflow_provider_codat.api.reading.rows import Rows


def test_if_the_order_of_pages_changes_what_came_is_kept_until_everything_has_come():
    course = Course(books(is_stable=False))
    course.run()
    course.assert_complete()
    assert course.pages > PAGES  # as the random numbers of the model fall


class Orders:
    """Orders the records of one ``modifiedDate`` as given, page by page, and then by their ids."""

    def __init__(self, *orders):
        self.orders = list(orders)

    def shuffle(self, rows):
        order = self.orders.pop(0) if self.orders else "0123456"
        rows.sort(key=lambda row: order.find(row["id"][1:]))


def test_what_came_is_not_kept_over_a_refresh():
    kept = books(is_stable=False)
    kept._random = Orders("0123456", "0123456", "0123465", "5123460", "023456", "023456", "523460")

    def change_one():
        kept.change(1)
        kept.add_refresh()
        kept.finish()

    # Record 5 is missing in the first reading, and in the second, whose record 1 would make up for it in the count.
    course = Course(kept, {PAGES + 4: change_one})
    course.run()
    course.assert_complete()


def test_what_came_before_a_refresh_does_not_stand_for_the_record_that_the_refresh_has_changed():
    kept = books(is_stable=False)
    # Record 6 is missing in the first reading, and in the second record 5, of which the first brought what is old now.
    first, second = ("0123456", "0123456", "0123456", "6123450"), (*["0123645"] * 6, "0123654")
    kept._random = Orders(*first, *second)

    def change_two():
        kept.change(4)
        kept.change(5)
        kept.add_refresh()
        kept.finish()

    course = Course(kept, {PAGES + 4: change_two})
    course.run()
    course.assert_complete()
    assert course.pages == PAGES + 7 + 7


def test_records_that_are_gone_without_a_refresh_do_not_make_up_for_one_that_did_not_come():
    kept = books(is_stable=False)
    # Record 5 is missing in the first reading, and in the second one, which has fewer records.
    kept._random = Orders("0123456", "0123456", "0123465", "5123460", *["23456"] * 3, "23465", "23456")

    def remove_two():
        del kept.cache["r0"], kept.cache["r1"]

    course = Course(kept, {PAGES + 4: remove_two})
    course.run()
    course.assert_complete()


def test_a_record_that_is_changed_without_a_refresh_does_not_make_up_for_one_that_did_not_come():
    kept = books()

    def change_first():  # so that it moves to the end, and the first record of the next page to the page before
        kept.cache["r0"] = {**kept.cache.pop("r0"), "modifiedDate": kept.cache["r6"]["modifiedDate"]}

    course = Course(kept, {4: change_first})
    course.run()
    course.assert_complete()
    assert course.pages == PAGES + 7  # the second reading has pages of one record


def test_records_with_an_id_are_told_apart_by_it_and_others_by_all_they_have():
    rows = Rows()
    balance = {"accountId": "a", "date": "2026-03-01", "balance": {"current": 1.0}}
    rows.add([{"id": "a", "modifiedDate": "1"}, {"id": "a", "modifiedDate": "2"}, balance, {**balance, "date": "2"}])
    assert (len(rows), rows.different, rows.equal_without_id) == (4, 3, 0)
    rows.add([dict(reversed(balance.items()))])
    assert (len(rows), rows.different, rows.equal_without_id) == (5, 3, 1)
    rows.add([{"id": 7, "modifiedDate": "1"}, {"id": 7, "modifiedDate": "2"}])
    assert (len(rows), rows.different, rows.equal_without_id) == (7, 4, 1)


class Balances(Books):
    """Books of records without an id, as those of ``banking-accountBalances``. Two of the seven are equal."""

    equal = ("r3", "r5")

    def _rows(self, params):
        rows = super()._rows(params)
        return [{**each, "id": None, "number": "same" if each["id"] in self.equal else each["id"]} for each in rows]


def balances(*orders, page_size=2, equal=Balances.equal):
    """Return an extraction of balances. Codat orders the pages as given, and then by their ids."""
    kept = books(cls=Balances, is_stable=False)
    kept._random, kept.equal = Orders(*orders), equal
    return Course(kept, page_size=page_size)


def numbers(course):
    return sorted(each["number"] for each in map(json.loads, course.sink.lines))


def test_equal_records_without_an_id_are_all_kept_once_two_readings_brought_the_same():
    course = balances()
    assert course.run().refresh_id == "refresh-0"
    assert numbers(course) == ["r0", "r1", "r2", "r4", "r6", "same", "same"]
    assert (course.pages, course.pauses) == (PAGES + 7, [])  # the second reading has other pages


def test_equal_records_without_an_id_on_one_page_need_no_second_reading():
    course = balances(page_size=7)
    course.run()
    assert (numbers(course), course.pages) == (["r0", "r1", "r2", "r4", "r6", "same", "same"], 1)


def test_a_record_without_an_id_that_comes_twice_does_not_stand_for_another():
    course = balances("0123456", "0213456", equal=())  # r1 comes on two pages, and r2 on none
    course.run()
    assert numbers(course) == ["r0", "r1", "r2", "r3", "r4", "r5", "r6"]


def test_a_reading_that_brought_other_records_without_an_id_does_not_confirm_one():
    right = "0123456"
    course = balances(*[right] * (PAGES + 2), "0213456")  # in the second reading, r1 comes on two pages, and r2 on none
    course.run()
    assert numbers(course) == ["r0", "r1", "r2", "r4", "r6", "same", "same"]


def test_records_without_an_id_that_come_again_do_not_stand_for_others():
    course = balances(page_size=8)
    page = course.books._page
    course.books._page = lambda *arguments: page(*arguments) | {"totalResults": 14}  # of which only seven come
    with pytest.raises(CodatExtractionIncomplete, match="Codat counts 14 records, but 6 different ones came"):
        course.run()


def test_readings_on_both_sides_of_a_refresh_do_not_confirm_each_other():
    course = balances()
    course.events[PAGES + 4] = lambda: (course.books.add_refresh(), course.books.finish())  # after the first reading
    course.run()
    assert course.pages == PAGES + 7 + 7
