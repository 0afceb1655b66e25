"""What an extraction reads again, what it waits for, and when it gives up."""

from __future__ import annotations

import json
import tracemalloc
from datetime import timedelta

import pytest
from extract_story import COMPANY, CONNECTION, EPOCH, OTHER, Books, Tape
from extraction_course import CONSTANT, PAGES, Course, Lines, books, fail, refresh

from airflow_provider_codat.api.endpoints import meanings, pull_history
from airflow_provider_codat.api.errors import CodatExtractionIncomplete, CodatNoDataAvailable, CodatNotYetSynced
from airflow_provider_codat.api.reading import refreshes
from airflow_provider_codat.api.reading.extraction import MOST_READINGS, DataTypeNotSupported
from airflow_provider_codat.api.reading.subject import Subject


def test_it_takes_one_request_a_page_and_three_more():
    course = Course(books(), overlap=1)
    extracted = course.run()
    course.assert_complete()
    assert (course.pages, len(course.paths), course.pauses) == (PAGES, PAGES + CONSTANT, [])
    assert (extracted.refresh_id, extracted.watermark) == ("refresh-0", EPOCH)


@pytest.mark.parametrize("number", range(2, PAGES + 4))
def test_after_a_refresh_that_lands_meanwhile_all_pages_are_read_again(number):
    kept = books()
    course = Course(kept, {number: lambda: refresh(kept)})
    extracted = course.run()
    course.assert_complete()
    assert (extracted.refresh_id, course.pauses) == ("refresh-1", [])
    assert len(course.sink.lines) == 7  # what was read before is forgotten


@pytest.mark.parametrize("until", ["Queued", "Fetching"])
def test_a_refresh_that_changes_nothing_yet_is_not_waited_for(until):
    kept = books()
    refresh(kept, until)
    course = Course(kept)
    assert course.run().refresh_id == "refresh-0"
    course.assert_complete()
    assert (course.pages, course.pauses) == (PAGES, [])


@pytest.mark.parametrize("until", ["Validating", "Processing", "Reconciling"])
def test_pages_are_read_once_the_refresh_has_ended_that_may_change_records(until):
    kept = books()
    refresh(kept, "Processing")
    kept.running.status = until
    course = Course(kept, {"pause 3": kept.finish})
    assert course.run().refresh_id == "refresh-1"
    course.assert_complete()
    assert (course.pages, course.pauses) == (PAGES, [30, 60, 120])


def test_an_unknown_status_is_an_end_if_a_flag_of_the_operation_says_so():
    kept = books()
    failed = kept.add_refresh()
    failed.status = "BlownError"
    failed.to_json = lambda data_type: {"id": failed.id, "status": "Blown", "isErrored": True}
    kept.refreshes[-1].status = "Blown"
    course = Course(kept)
    assert course.run().refresh_id == "refresh-0"
    assert (course.pages, course.pauses) == (PAGES, [])


def test_of_an_unknown_status_that_is_an_end_by_its_name_the_operation_is_not_read():
    kept = books()
    kept.add_refresh().status = "BlownError"
    course = Course(kept)
    assert course.run().refresh_id == "refresh-0"
    assert len(course.paths) == PAGES + CONSTANT


@pytest.mark.parametrize("connection_id", [None, CONNECTION])
def test_a_refresh_that_runs_before_and_fails_meanwhile_counts_as_a_change(connection_id):
    data_type = "directCosts" if connection_id else "invoices"
    kept = books(data_type)
    refresh(kept, "Fetching")
    course = Course(kept, {4: lambda: fail(kept)}, data_type=data_type, connection_id=connection_id)
    assert course.run().refresh_id == "refresh-0"
    course.assert_complete()
    assert course.pages == 2 * PAGES


def test_a_refresh_that_begins_and_fails_meanwhile_counts_as_a_change():
    kept = books()
    course = Course(kept, {4: lambda: fail(kept)})
    assert course.run().refresh_id == "refresh-0"
    course.assert_complete()
    assert course.pages == 2 * PAGES


def test_a_refresh_that_runs_before_and_may_change_records_at_the_end_is_waited_for():
    kept = books()
    refresh(kept, "Fetching")
    course = Course(kept, {5: lambda: (kept.step(1), kept.step(1)), "pause 1": kept.finish})
    course.run()
    course.assert_complete()
    assert (course.pages, course.pauses) == (2 * PAGES, [30])


def test_a_refresh_of_another_connection_that_ends_meanwhile_counts_as_a_change():
    """The latest refresh is another one, which has failed. So only the latest success is different."""
    kept = books()
    earlier = kept.add_refresh()
    earlier.status = "Fetching"
    kept.add_refresh().status = "FetchError"
    course = Course(kept, {5: lambda: setattr(earlier, "status", "Complete")})
    assert course.run().refresh_id == earlier.id
    assert course.pages == 2 * PAGES


def test_if_codats_count_changes_without_a_refresh_the_pages_are_read_again():
    kept = books()
    course = Course(kept, {5: lambda: kept.cache.pop("r6")})
    course.run()
    course.assert_complete()
    assert course.pages == 3 + 3


def test_it_gives_up_if_refreshes_land_in_each_reading():
    kept = books()
    events = {number: lambda: refresh(kept) for number in range(3, 100, 3)}
    with pytest.raises(CodatExtractionIncomplete, match=rf"in {MOST_READINGS} readings: .* watermark has not moved"):
        Course(kept, events).run()


def test_it_waits_twelve_and_a_half_minutes_for_a_refresh_that_may_change_records():
    kept = books()
    refresh(kept, "Processing")
    course = Course(kept)
    with pytest.raises(CodatExtractionIncomplete, match=r"may be changing the records \(status Processing\)"):
        course.run()
    assert (course.pages, course.pauses) == (0, [30, 60, 120, 240, 300])
    assert sum(course.pauses) == 12.5 * 60


def test_without_a_successful_refresh_it_says_to_refresh():
    empty = Books("invoices", "merge", is_stable=True, tape=Tape(b""))
    with pytest.raises(CodatExtractionIncomplete, match=r"there was none yet\. Refresh it with a CodatRefreshOperator"):
        Course(empty).run()
    empty.add_refresh().status = "FetchError"
    with pytest.raises(CodatExtractionIncomplete, match="the latest one has the status FetchError"):
        Course(empty).run()


def test_it_says_that_the_platform_does_not_have_the_data_type():
    empty = Books("invoices", "merge", is_stable=True, tape=Tape(b""))
    empty.add_refresh().status = "NotSupported"
    with pytest.raises(DataTypeNotSupported, match="does not have this data type"):
        Course(empty).run()


def test_a_409_is_waited_out():
    course = Course(books(), errors={4: CodatNotYetSynced(409, "still syncing")})
    course.run()
    course.assert_complete()
    assert course.pauses == [30]


def test_no_data_are_no_records():
    course = Course(books(), errors={3: CodatNoDataAvailable(404, "No data available")})
    assert course.run().refresh_id == "refresh-0"
    assert course.sink.lines == []


def test_pages_that_end_early_are_read_again():
    course = Course(books(), errors={5: CodatNoDataAvailable(404, "No data available")})
    course.run()
    course.assert_complete()
    assert course.pauses == [30]


class ReversibleBooks(Books):
    """Books of which Codat may show the pages in another order from some time on."""

    is_reversed = False

    def _rows(self, params):
        return super()._rows(params)[:: -1 if self.is_reversed else 1]


def test_no_data_is_no_end_if_records_came_in_the_reading_before():
    kept = books(cls=ReversibleBooks)
    reverse = {6: lambda: setattr(kept, "is_reversed", True)}  # so that one record comes twice, and one not at all
    course = Course(kept, reverse, errors={10: CodatNoDataAvailable(404, "No data available")})
    course.run()
    course.assert_complete()
    assert course.pauses == [30]


class ForgottenRefreshes(Books):
    """Books whose list of refreshes is empty, as it is of those that are older than its first page."""

    def _page(self, rows, params):
        return super()._page([each for each in rows if "requested" not in each], params)


def test_a_refresh_that_the_list_does_not_show_is_read_by_itself():
    course = Course(books(cls=ForgottenRefreshes))
    assert course.run().watermark == EPOCH + timedelta(seconds=1)
    assert len(course.paths) == PAGES + CONSTANT + 1


class OtherCase(Books):
    """Books whose data status has ids in another case than the list."""

    def _data_status(self):
        return json.loads(json.dumps(super()._data_status()).replace("refresh-", "REFRESH-"))


def test_the_case_of_ids_does_not_count():
    course = Course(books(cls=OtherCase))
    assert course.run().watermark == EPOCH + timedelta(seconds=1)
    assert len(course.paths) == PAGES + CONSTANT


@pytest.mark.parametrize(("connection_id", "number"), [(None, 3), (CONNECTION, 2)])
def test_a_refresh_that_codat_does_not_show_any_more_gives_no_watermark(connection_id, number):
    data_type = "directCosts" if connection_id else "invoices"
    kept = books(data_type, cls=Books if connection_id else ForgottenRefreshes)
    errors = {number: meanings.CodatNotFoundError(404, "gone")}
    course = Course(kept, errors=errors, data_type=data_type, connection_id=connection_id)
    assert course.run().watermark is None
    course.assert_complete()


def overlapping(status="Fetching", **fields):
    """Return books with a refresh of another connection, which was requested a second before the latest success."""
    kept = books()
    earlier = kept.add_refresh(OTHER)
    earlier.status = status
    kept.add_refresh().status = "Complete"
    shown = earlier.to_json
    earlier.to_json = lambda data_type: shown(data_type) | fields
    return kept


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [({}, 2), ({"status": "Complete"}, 3), ({"dataType": "bills"}, 3), ({"requested": None}, None)],
    ids=str,
)
def test_the_watermark_is_not_after_the_request_of_a_refresh_that_has_not_ended(fields, seconds):
    kept = overlapping(**fields)
    watermark = None if seconds is None else EPOCH + timedelta(seconds=seconds)
    assert Course(kept).run().watermark == watermark


@pytest.fixture
def long_ago(monkeypatch):
    """Return books as of :func:`overlapping`, but the latest success is later, and came after five other refreshes."""
    monkeypatch.setattr(pull_history, "PAGE_SIZE", 2)
    kept = overlapping()
    for _ in range(5):
        kept.add_refresh("connection-3").status = "Complete"
    kept.add_refresh().status = "Complete"
    return kept


@pytest.mark.parametrize(("since", "seconds", "requests"), [(None, 2, 5), (2, 2, 5), (5, 9, 3), (8, 9, 2)])
def test_the_refreshes_are_read_back_to_the_last_watermark(long_ago, since, seconds, requests):
    course = Course(long_ago, since=since and EPOCH + timedelta(seconds=since))
    assert course.run().watermark == EPOCH + timedelta(seconds=seconds)
    assert sum(path.endswith("history") for path in course.paths) == requests


def test_without_a_watermark_they_are_read_back_for_a_week(long_ago, monkeypatch):
    monkeypatch.setattr(refreshes, "LONGEST_REFRESH", timedelta(seconds=3))
    course = Course(long_ago)
    assert course.run().watermark == EPOCH + timedelta(seconds=9)
    assert sum(path.endswith("history") for path in course.paths) == 3


def test_the_log_names_the_refresh_that_holds_the_watermark_back(caplog):
    Course(overlapping()).run()
    assert caplog.messages == [
        f"Pull operation refresh-1 of connection {OTHER}, requested at 2026-03-01T00:00:02Z, has not ended (status"
        " Fetching). The watermark stays before it, so that a later run reads what it changes."
    ]
    caplog.clear()
    Course(books()).run()
    assert caplog.messages == []


def test_a_refresh_that_a_later_one_of_its_connection_has_followed_does_not_hold_the_watermark_back():
    kept = overlapping()
    kept.add_refresh(OTHER.upper()).status = "Complete"
    assert Course(kept).run().watermark == EPOCH + timedelta(seconds=3)


def test_of_a_refresh_without_a_time_it_is_not_known_whether_another_has_followed():
    kept = overlapping(requested=None)
    kept.add_refresh(OTHER)
    assert Course(kept).run().watermark is None


@pytest.mark.parametrize("number", range(3, PAGES + 4))
def test_one_that_ends_while_the_pages_are_read_counts(number):
    kept = overlapping()
    end = {number: lambda: setattr(kept.refreshes[1], "status", "Complete")}
    assert Course(kept, end).run().watermark == EPOCH + timedelta(seconds=2)


def test_one_that_begins_after_the_latest_success_does_not_hold_the_watermark_back():
    kept = books()
    kept.add_refresh(OTHER).status = "Fetching"
    assert Course(kept).run().watermark == EPOCH + timedelta(seconds=1)


def test_of_data_without_a_modified_date_it_is_not_read():
    course = Course(books("commerce-products"), data_type="commerce-products", connection_id=CONNECTION)
    assert course.run().watermark is None
    assert len(course.paths) == PAGES + 2


@pytest.mark.parametrize(("data_type", "has_one"), [("invoices", True), ("commerce-locations", False), ("new", True)])
def test_which_data_has_a_modified_date(data_type, has_one):
    assert Subject(COMPANY, data_type, CONNECTION).has_modified_date == has_one


def test_pages_are_in_the_order_of_the_modified_date_if_there_is_one():
    place = {"page": 1, "page_size": 2}
    invoices = Subject(COMPANY, "invoices").request(place, EPOCH).params
    assert (invoices["orderBy"], invoices["query"]) == ("modifiedDate", "modifiedDate>=2026-03-01T00:00:00Z")
    products = Subject(COMPANY, "commerce-products", CONNECTION).request(place, EPOCH).params
    assert products == {"page": 1, "pageSize": 2}


@pytest.mark.parametrize(("start_month", "variant"), [(None, "1-3-now"), ("2026-01-01", "1-3-2026-01-01")])
def test_a_report_is_told_apart_by_its_periods(start_month, variant):
    periods = {"period_length": 1, "periods_to_compare": 3, "start_month": start_month}
    assert Subject(COMPANY, "balanceSheet", **periods).variant == variant


def test_the_key_of_a_line_is_ours_whatever_the_record_has():
    line = Subject(COMPANY, "directCosts", CONNECTION).line({"id": "r1", "companyId": "another", "dataType": None})
    key = {"companyId": COMPANY, "dataType": "directCosts", "connectionId": CONNECTION}
    assert json.loads(line) == {"id": "r1", **key}


def test_of_a_connection_the_refreshes_of_others_do_not_count():
    kept = books("directCosts")
    course = Course(
        kept, {4: lambda: kept.add_refresh(OTHER)}, data_type="directCosts", connection_id=CONNECTION.upper()
    )
    assert course.run().refresh_id == "refresh-0"
    assert (course.pages, len(course.paths)) == (PAGES, PAGES + CONSTANT)


def test_of_a_connection_the_latest_success_counts():
    kept = books("directCosts")
    refresh(kept)
    kept.add_refresh().status = "FetchError"
    assert Course(kept, data_type="directCosts", connection_id=CONNECTION).run().refresh_id == "refresh-1"


def test_of_a_connection_the_list_is_read_down_to_the_latest_success(monkeypatch):
    monkeypatch.setattr(pull_history, "PAGE_SIZE", 2)
    kept = books("directCosts")
    for _ in range(5):
        kept.add_refresh(OTHER)
    course = Course(kept, data_type="directCosts", connection_id=CONNECTION)
    assert course.run().refresh_id == "refresh-0"
    course.assert_complete()


def test_only_what_has_changed_is_read():
    kept = books()
    refresh(kept)
    course = Course(kept, since=EPOCH + timedelta(seconds=2))
    course.run()
    assert sorted(course.sink.records) == ["r1", "r2"]


class ManyRecords(Books):
    """Books of many records, which are made when a page of them is read."""

    count = 12_000

    def answer(self, request):
        if not request.path.endswith("/data/invoices"):
            return super().answer(request)
        page, size = request.params["page"], request.params["pageSize"]
        rows = [{"id": f"r{number}", "text": f"{number:0500}"} for number in range((page - 1) * size, page * size)]
        links = {"next": {"href": "/"}} if page * size < self.count else {}
        return request.read(
            {"results": rows, "pageNumber": page, "pageSize": size, "totalResults": self.count, "_links": links}
        )


class NoLines(Lines):
    def write(self, lines):
        """Forget the lines."""


def test_the_memory_is_that_of_a_page_and_a_few_bytes_for_each_record():
    course = Course(books(cls=ManyRecords), page_size=500)
    course.sink = course.extraction.sink = NoLines()
    tracemalloc.start()
    try:
        course.run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert course.pages == 24
    assert peak < 5_000_000  # a page has about 0.5 MB, and all records have 10 MB
