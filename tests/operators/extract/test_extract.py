"""The files, the manifest and the watermark that ``CodatExtractOperator`` leaves, with real HTTP."""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from extract_runs import ids, reads, records, run
from extract_story import Storage, StoragePath
from kept_log import KeptLog
from pages import OPERATORS, first_column
from refresh_runs import HISTORY

from airflow_provider_codat.api.endpoints import pull_history
from airflow_provider_codat.exceptions import (
    CodatError,
    CodatExtractionIncomplete,
    CodatInputError,
)
from airflow_provider_codat.operators import extract_files
from airflow_provider_codat.operators.codat import CodatExtractOperator
from airflow_provider_codat.operators.extract_files import RunFiles, safe_name
from airflow_provider_codat.simulator import Fault, RefreshOutcome

QUIET = logging.getLogger("quiet")


def test_the_first_run_reads_everything_and_the_next_what_has_changed(codat, company, clock, invoices, operator):
    first = run(operator(), "run-1")
    assert ids(first) == ["i0", "i1", "i2", "i3", "i4"]
    assert (first["records"], first["since"]) == (5, None)
    clock.let_pass(60)
    invoices.modify("i3", totalAmount=30)
    invoices.delete("i4")
    codat.refreshes.add(company.id, "invoices")
    second = run(operator(), "run-2")
    found = {each["id"]: each for each in records(second)}
    assert second["since"] == first["watermark"] < second["watermark"]
    assert found["i3"]["totalAmount"] == 30
    assert found["i4"]["metadata"] == {"isDeleted": True}
    clock.let_pass(60)
    codat.refreshes.add(company.id, "invoices")
    assert ids(run(operator(), "run-3")) == ["i3", "i4"]  # what the last refresh changed comes once more
    assert ids(run(operator(), "run-4")) == []


def test_records_are_as_codat_has_them_and_get_their_key(codat, company, invoices, operator):
    xcom = run(operator())
    cached = invoices.cached
    ours = {"companyId": company.id, "connectionId": None, "dataType": "invoices"}
    assert records(xcom) == [{**cached[each["id"]], **ours} for each in records(xcom)]


def test_the_manifest_names_the_files(company, invoices, operator, tmp_path):
    xcom = run(operator(file_size=0))
    folder = tmp_path / company.id / "company" / "invoices" / "run-1"
    assert xcom["manifest"] == str(folder / "manifest.json")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [each["records"] for each in manifest["files"]] == [2, 2, 1]
    assert xcom["paths"] == [str(folder / each["name"]) for each in manifest["files"]]
    assert sorted(path.name for path in folder.iterdir()) == [
        *("manifest.json", "part-1-00001.jsonl.gz", "part-1-00002.jsonl.gz", "part-1-00003.jsonl.gz", "start.json"),
    ]
    assert (manifest["task"], manifest["run"], manifest["records"]) == ("dag.extract", "run-1", 5)


def test_a_run_that_is_complete_reads_nothing(codat, invoices, operator):
    first = run(operator())
    sent = reads(codat)
    assert run(operator(), try_number=2) == first
    assert reads(codat) == sent


def test_a_run_whose_manifest_was_deleted_reads_from_where_it_began(codat, company, clock, invoices, operator):
    first = run(operator(), "run-1")
    clock.let_pass(60)
    codat.refreshes.add(company.id, "invoices")
    run(operator(), "run-2")
    Path(first["manifest"]).unlink()
    assert ids(run(operator(), "run-1", try_number=2)) == ["i0", "i1", "i2", "i3", "i4"]


def test_a_full_refresh_counts_in_a_run_that_began_without(codat, invoices, operator, clock, company):
    run(operator(), "run-1")
    clock.let_pass(60)
    codat.refreshes.add(company.id, "invoices")
    second = run(operator(), "run-2")
    Path(second["manifest"]).unlink()
    again = run(operator(full_refresh="True"), "run-2", try_number=2)
    assert (again["since"], len(ids(again))) == (None, 5)


@pytest.mark.parametrize("arguments", [{}, {"full_refresh": True}], ids=["incremental", "full"])
def test_the_refreshes_are_read_back_to_the_last_watermark(
    codat, company, clock, invoices, operator, monkeypatch, arguments
):
    monkeypatch.setattr(pull_history, "PAGE_SIZE", 2)
    for _ in range(10):
        clock.let_pass(60)
        codat.refreshes.add(company.id, "bills")
    clock.let_pass(60)
    codat.refreshes.add(company.id, "invoices")
    run(operator(overlap=0), "run-1")
    sent = codat.count("GET", HISTORY)
    run(operator(overlap=0, **arguments), "run-2")
    assert (sent, codat.count("GET", HISTORY) - sent) == (6, 1)


def test_a_page_that_says_it_has_records_and_has_none_is_requested_again(codat, invoices, operator):
    body = {"results": [], "pageNumber": 1, "pageSize": 2, "totalResults": 5, "_links": {}}
    codat.fault(Fault("status", path=r".*/data/invoices", status=200, body=body))
    assert ids(run(operator())) == ["i0", "i1", "i2", "i3", "i4"]
    assert codat.count("GET", r".*/dataStatus") == 2  # before and after one reading


def test_a_retry_begins_again_and_removes_what_the_failed_try_left(codat, invoices, operator, monkeypatch):
    undisturbed = {
        Path(path).name[7:]: Path(path).read_bytes() for path in run(operator(file_size=0), "run-0")["paths"]
    }
    failing = operator(file_size=0, mode="full")
    send, sent = type(failing.hook).send, []

    def stop_after_three(hook, request, **options):
        sent.append(request)
        if len(sent) > 3:
            raise CodatError("the worker is stopped")
        return send(hook, request, **options)

    with monkeypatch.context() as patched:
        patched.setattr(type(failing.hook), "send", stop_after_three)
        with pytest.raises(CodatError, match="stopped"):
            run(failing, "run-1")
    xcom = run(operator(file_size=0, mode="full"), "run-1", try_number=2)
    parts = sorted(Path(xcom["manifest"]).parent.glob("part-*"))
    assert [str(path) for path in parts] == xcom["paths"]
    assert {path.name[7:]: path.read_bytes() for path in parts} == undisturbed


def test_the_watermark_never_moves_back(codat, company, clock, invoices, operator, tmp_path):
    first = run(operator(), "run-1")
    clock.let_pass(60)
    codat.refreshes.add(company.id, "invoices")
    latest = run(operator(), "run-2")["watermark"]
    assert run(operator(), "run-1", try_number=2) == first
    (watermark,) = tmp_path.rglob("watermark.json")
    assert json.loads(watermark.read_text())["watermark"] == latest
    watermark.write_text("{}")
    with pytest.raises(CodatInputError, match=r"watermark\.json has no watermark .*: delete the file"):
        run(operator(), "run-3")
    watermark.write_text("{")
    with pytest.raises(CodatInputError, match=r"watermark\.json has no JSON object: delete the file"):
        run(operator(), "run-3")


def test_a_watermark_that_a_crash_left_behind_is_moved_by_the_next_try(invoices, operator, tmp_path):
    run(operator())
    (watermark,) = tmp_path.rglob("watermark.json")
    kept = watermark.read_text()
    watermark.unlink()
    run(operator(), try_number=2)
    assert watermark.read_text() == kept


@pytest.mark.parametrize("content", ["[]", "{", ""])
def test_a_watermark_file_without_a_json_object_is_refused(content, invoices, operator, company, tmp_path):
    run(operator())
    (tmp_path / company.id / "company" / "invoices" / "watermark.json").write_text(content)
    with pytest.raises(CodatInputError, match=r"watermark\.json has no JSON object: delete the file"):
        run(operator(), "run-2")


def test_the_overlap_is_an_hour_unless_it_is_given(codat, invoices, operator):
    exact = run(operator(), "run-1")["watermark"]
    hour = run(operator(overlap=timedelta(hours=1)), "run-2")["watermark"]
    assert CodatExtractOperator(task_id="t", company_id="c", data_type="bills", path="p").overlap == timedelta(hours=1)
    assert datetime.fromisoformat(exact) - datetime.fromisoformat(hour) == timedelta(hours=1)


def test_a_refresh_that_lands_while_pages_are_read_is_noticed(codat, company, invoices, operator, caplog):
    invoices.modify("i0", totalAmount=7)
    codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(polls=1))  # ends with the second data status
    xcom = run(operator())
    assert ids(xcom) == ["i0", "i1", "i2", "i3", "i4"]
    assert next(each for each in records(xcom) if each["id"] == "i0")["totalAmount"] == 7
    assert sum("data/invoices" in path for path in reads(codat)) == 6


def test_data_of_a_connection(codat, company, operator):
    other = codat.add_connection(company.id)
    codat.source(company.id, "directCosts").add({"id": "d1"})
    codat.refreshes.add(company.id, "directCosts")
    codat.source(company.id, "directCosts", other.id).add({"id": "d2"})
    codat.refreshes.add(company.id, "directCosts", connection_id=other.id)
    for connection_id, expected in ((company.connection_id, "d1"), (other.id, "d2")):
        xcom = run(operator(data_type="directCosts", connection_id=connection_id))
        assert [(each["id"], each["connectionId"]) for each in records(xcom)] == [(expected, connection_id)]
        assert f"/{connection_id}/directCosts/" in xcom["manifest"]


@pytest.mark.parametrize("page_size", [2, 10])
def test_equal_records_without_an_id_come_as_often_as_codat_has_them(codat, company, operator, page_size):
    source = codat.source(company.id, "banking-accountBalances")
    for current in (1.0, 2.0, 2.0, 2.0, 3.0):
        source.add({"accountId": "a", "date": "2026-03-01", "balance": {"current": current}})
    codat.refreshes.add(company.id, "banking-accountBalances")
    balances = operator(
        data_type="banking-accountBalances", connection_id=company.connection_id, page_size=page_size, mode="full"
    )
    assert sorted(each["balance"]["current"] for each in records(run(balances))) == [1.0, 2.0, 2.0, 2.0, 3.0]


def test_a_refresh_of_another_connection_that_ends_later_than_the_overlap_loses_nothing(simulate, clock, tmp_path):
    """One is requested, and is still running when another one, which was requested later, has ended."""
    codat = simulate(modified_date_at="request")
    company = codat.add_company()
    other = codat.add_connection(company.id)
    codat.source(company.id, "invoices").add({"id": "i1"})
    codat.source(company.id, "invoices", other.id).add({"id": "i2"})
    codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome(latency=3 * 3600))
    clock.let_pass(2 * 3600)
    codat.refreshes.add(company.id, "invoices", connection_id=other.id)
    extract = CodatExtractOperator(task_id="extract", company_id=company.id, data_type="invoices", path=str(tmp_path))
    assert ids(run(extract, "run-1")) == ["i2"]
    clock.let_pass(3601)  # the first refresh has ended
    assert "i1" in ids(run(extract, "run-2"))


def test_data_of_a_company_are_those_of_all_its_connections(codat, company, operator):
    other = codat.add_connection(company.id)
    for number, connection_id in enumerate([company.connection_id, other.id]):
        codat.source(company.id, "invoices", connection_id).add({"id": f"i{number}"})
        codat.refreshes.add(company.id, "invoices", connection_id=connection_id)
    assert ids(run(operator())) == ["i0", "i1"]


@pytest.mark.parametrize("data_type", ["balanceSheet", "profitAndLoss", "cashFlowStatement"])
def test_a_report_is_one_record(codat, company, operator, data_type):
    codat.refreshes.add(company.id, data_type)
    report = operator(data_type=data_type, period_length=1, periods_to_compare=3, start_month=date(2026, 1, 1))
    xcom = run(report)
    (record,) = records(xcom)
    assert record["dataType"] == data_type
    assert record["reports"]
    assert (xcom["since"], xcom["watermark"]) == (None, None)


def test_company_information_is_one_record(codat, company, operator, logged):
    codat.refreshes.add(company.id, "company")
    assert len(records(run(operator(data_type="company"), map_index=None))) == 1
    assert "watermark does not move" not in logged()  # it has none


def test_the_log_says_from_when_and_why(codat, company, clock, invoices, operator, logged):
    run(operator(), "run-1")
    run(operator(mode="full"), "run-2")
    run(operator(full_refresh=True), "run-3")
    run(operator(), "run-4")
    codat.refreshes.add(company.id, "company")
    run(operator(data_type="company"), "run-5")
    lines = list(dict.fromkeys(re.findall(r"Extracting \w+ of company [-\w]+: (.*?)\.(?: |$)", logged(), re.MULTILINE)))
    assert lines[:3] == [
        "everything, because there was no watermark when the run began",
        "everything, because the mode is full",
        "everything, because full_refresh is set",
    ]
    assert lines[3].startswith("what Codat has changed since 20")
    assert lines[4:] == ["everything, because company have no modifiedDate"]


def test_an_unsupported_data_type_skips_or_fails_the_task(codat, company, operator):
    codat.refreshes.add(company.id, "invoices", outcome=RefreshOutcome("NotSupported"))
    with pytest.raises(AirflowSkipException, match="does not have this data type"):
        run(operator())
    with pytest.raises(AirflowFailException, match="does not have this data type"):
        run(operator(on_not_supported="fail"))


def test_an_unsupported_data_type_that_only_the_pages_show_skips_the_task_too(codat, invoices, operator):
    refusal = {"error": "Data type invoices is not supported by this platform", "statusCode": 400}
    codat.fault(Fault("status", path="/companies/[^/]+/data/invoices", status=400, body=refusal))
    with pytest.raises(AirflowSkipException, match="is not supported by this platform"):
        run(operator())


def test_a_data_type_that_was_never_refreshed_fails_the_task(operator, tmp_path):
    with pytest.raises(CodatExtractionIncomplete, match="Refresh it with a CodatRefreshOperator"):
        run(operator())
    assert not list(tmp_path.rglob("manifest.json"))


def test_two_tasks_cannot_share_a_path(invoices, operator):
    run(operator())
    with pytest.raises(CodatInputError, match=r"of task dag\.extract, not of dag\.other: give each task a path"):
        run(operator(task_id="other"))
    with pytest.raises(CodatInputError, match=r"watermark\.json is of task dag\.extract, .* renamed, delete the file"):
        run(operator(task_id="other"), "run-2")


def test_a_mapped_task_finds_its_run_after_its_map_index_has_changed(codat, invoices, operator):
    first = run(operator(), map_index=3)
    assert [Path(path).name for path in first["paths"]] == ["part-1-3-00001.jsonl.gz"]
    sent = len(reads(codat))
    assert run(operator(), map_index=4) == first
    assert len(reads(codat)) == sent


def test_an_id_that_a_storage_may_not_have_as_a_name_is_one_of_a_folder(codat, company, operator):
    codat.refreshes.add(company.id, "bankTransactions")
    account = {"connection_id": company.connection_id, "account_id": "7:a"}
    xcom = run(operator(data_type="bankTransactions", **account))
    assert Path(xcom["manifest"]).parts[-3] == safe_name("7:a") != "7:a"


def test_reports_of_other_periods_have_folders_of_their_own(codat, company, operator):
    codat.refreshes.add(company.id, "balanceSheet")
    periods = [{"period_length": 1}, {"period_length": 3}, {"period_length": 1, "start_month": "2026-01-01"}]
    reports = [operator(data_type="balanceSheet", periods_to_compare=1, **each) for each in periods]
    assert len({run(each, map_index=index)["manifest"] for index, each in enumerate(reports)}) == 3


@pytest.mark.parametrize(
    ("data_type", "arguments", "variant"),
    [
        ("invoices", {}, ""),
        ("bankTransactions", {"account_id": "account-1"}, "/account-1"),
        ("balanceSheet", {"period_length": 1, "periods_to_compare": 12}, "/1-12-now"),
    ],
)
def test_the_files_are_where_the_guide_says(data_type, arguments, variant, codat, company, operator, tmp_path):
    connection_id = company.connection_id if data_type == "bankTransactions" else None
    codat.source(company.id, data_type).add({"id": "r1", "accountId": "account-1"})
    codat.refreshes.add(company.id, data_type)
    run(operator(data_type=data_type, connection_id=connection_id, **arguments))
    values = {"company": company.id, 'connection or "company"': connection_id or "company", "data type": data_type}
    values |= {"run": "run-1", "instance": "1", "number": "00001"}
    paths = [cell.strip("`") for cell in first_column(OPERATORS, "file")]
    named = {re.sub("<([^>]*)>", lambda name: values[name[1]], each.replace("[/<variant>]", variant)) for each in paths}
    if data_type == "balanceSheet":  # it has no modifiedDate
        named = {each for each in named if not each.endswith("watermark.json")}
    assert named == {str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if each.is_file()}
    assert f"<path>/{paths[-1].removesuffix('watermark.json')}\n" in extract_files.__doc__


def test_another_try_that_has_come_first_counts(codat, invoices, operator, monkeypatch):
    late = operator(mode="full")
    find = late._files

    def files(*arguments):
        found = find(*arguments)
        complete = found.complete

        def late_complete(manifest):
            run(operator(mode="full"), try_number=2)
            return complete(manifest)

        found.complete = late_complete
        return found

    late._files = files
    xcom = run(late)
    assert [Path(path).name for path in xcom["paths"]] == ["part-2-00001.jsonl.gz"]
    assert [path.name for path in Path(xcom["manifest"]).parent.glob("part-*")] == ["part-2-00001.jsonl.gz"]


def test_a_lost_try_that_wakes_up_as_it_writes_its_manifest_does_not_replace_that_of_another_try(
    codat, invoices, operator, clock, company
):
    """It has seen that there is no manifest. Then another try completes the run, and removes the parts of the lost."""
    lost = operator(mode="full")
    find, completed = lost._files, []

    def files(*arguments):
        found = find(*arguments)
        look, looks = found.manifest, []

        def manifest():
            looks.append(look())
            if len(looks) == 2:  # the first is before it reads
                clock.let_pass(60)
                invoices.modify("i3", totalAmount=30)
                codat.refreshes.add(company.id, "invoices")
                completed.append(run(operator(mode="full"), try_number=2))
            return looks[-1]

        found.manifest = manifest
        return found

    lost._files = files
    xcom = run(lost)
    assert [xcom] == completed
    place = Path(xcom["manifest"]).parent
    kept = json.loads((place / "manifest.json").read_text())
    assert [each["name"] for each in kept["files"]] == ["part-2-00001.jsonl.gz"]
    assert sorted(each.name for each in place.iterdir()) == ["manifest.json", "part-2-00001.jsonl.gz", "start.json"]


def test_an_object_storage_keeps_the_manifest_that_came_first():
    """A try begins to write its manifest, and another one completes the run before the file is there."""
    storage = Storage(lambda: None)

    def complete(part):
        return RunFiles(StoragePath(storage, "model"), "run-1", "dag.task", QUIET).complete({"files": [{"name": part}]})

    def let_the_other_come_first():
        storage.happen = lambda: None
        complete("part-2")

    storage.happen = let_the_other_come_first
    manifest = complete("part-1")
    assert manifest["files"] == [{"name": "part-2"}]
    assert storage.json("manifest.json") == {"model/run-1/manifest.json": manifest}


@dataclass(frozen=True)
class OverwritingPath(StoragePath):
    """A path of a storage that takes the mode ``xb`` for ``wb``."""

    def __truediv__(self, name):
        return OverwritingPath(self.fs, f"{self.path}/{name}")

    def open(self, mode):
        return super().open(mode.replace("x", "w"))


def test_a_storage_that_overwrites_keeps_the_manifest_that_was_there_before():
    storage, log = Storage(lambda: None), KeptLog()
    files = RunFiles(OverwritingPath(storage, "model"), "run-1", "dag.task", log)
    first = files.complete({"files": [{"name": "part-1"}]})
    assert files.complete({"files": [{"name": "part-1"}]}) == first
    assert log.lines == []
    assert files.complete({"files": [{"name": "part-2"}]}) == first
    assert log.about("Another try of this run has completed it") == ["warning"]
    assert storage.json("manifest.json") == {"model/run-1/manifest.json": first}


@pytest.mark.parametrize("error", [NotImplementedError, ValueError, PermissionError])
def test_a_storage_that_cannot_create_a_file_only_once_is_written_to_all_the_same(
    error, invoices, operator, monkeypatch
):
    def refuse(*_):
        raise error

    monkeypatch.setattr(os, "link", refuse)
    first = run(operator())
    assert Path(first["manifest"]).exists()
    assert run(operator(), try_number=2) == first


@pytest.mark.parametrize("text", ["scheduled__2026-03-01T02:00:00+00:00", "a/b", "..", "a" * 300, "ä"])
def test_a_safe_name_is_one_of_a_folder_and_differs_from_others(text):
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,160}", name)
    assert name not in {".", "..", safe_name(f"{text}:"), safe_name(f"{text}+")}
    assert safe_name("manual__1") == "manual__1"
