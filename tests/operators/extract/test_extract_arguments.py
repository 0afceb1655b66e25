"""Which arguments of ``CodatExtractOperator`` are refused, at DAG parse and once they are rendered."""

import re
from datetime import date
from pathlib import Path

import pytest
from extract_runs import reads, records, run

from airflow_provider_codat.exceptions import CodatError, CodatInputError
from airflow_provider_codat.operators.codat import CodatExtractOperator

REPORT = {"data_type": "balanceSheet", "period_length": 1, "periods_to_compare": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "delta"}, "mode is 'delta': give 'incremental' or 'full'"),
        ({"on_not_supported": "ignore"}, "on_not_supported is 'ignore': give 'skip' or 'fail'"),
        ({"file_size": -1}, "file_size is -1: give a number of bytes"),
        ({"file_size": True}, "file_size is True"),
        ({"page_size": 0}, "page_size is 0: allowed are 1 to 5000"),
        ({"page_size": "500"}, "page_size is '500': give a whole number from 1 to 5000"),
        (REPORT | {"page_size": "500"}, "page_size is '500'"),
        ({"data_type": "{{ params.data_type }}", "page_size": 500.5}, "page_size is 500.5"),
        ({"overlap": -1}, "overlap is -1: give a timedelta or seconds"),
        ({"overlap": "1h"}, "overlap is '1h'"),
        ({"overlap": True}, "overlap is True"),
        ({"path": " "}, "path is ' ': give the text of a folder or URI"),
        ({"path": None}, "path is None"),
        ({"path": "None"}, "path is 'None': give the text of a folder or URI"),
        ({"full_refresh": "maybe"}, "full_refresh is 'maybe': give True or False"),
        ({"company_id": ""}, "company_id is empty"),
        ({"connection_id": "c"}, "connection_id is 'c', but invoices are read from the company"),
        (
            {"data_type": "invoise"},
            "data_type is 'invoise', which is not a data type of Codat. Did you mean 'invoices'? If it is newer",
        ),
        ({"data_type": "qqq"}, "data_type is 'qqq', which is not a data type of Codat. If it is newer"),
        ({"data_type": "directcosts"}, "connection_id is missing: directCosts are read"),
        ({"data_type": "directCosts"}, "connection_id is missing"),
        ({"data_type": "bankTransactions", "connection_id": "c"}, "account_id is missing"),
        ({"data_type": "balanceSheet"}, "period_length is missing, which the report balanceSheet needs"),
        (
            {"start_month": "2026-01-01"},
            "start_month is '2026-01-01', but data_type is 'invoices', which does not take",
        ),
        (REPORT | {"start_month": "soon"}, "start_month is 'soon': give a date, or ISO 8601 text such as '2026-03-01'"),
        ({"data_type": "{{ params.data_type }}", "start_month": "None"}, "start_month is 'None': give a date"),
        ({"period_length": 1}, "period_length is 1, but data_type is 'invoices', which does not take it"),
        (
            {"data_type": "balanceSheet", "connection_id": "c", "period_length": 1, "periods_to_compare": 1},
            "connection_id is 'c', but data_type is 'balanceSheet'",
        ),
        ({"data_type": "company", "account_id": "a"}, "account_id is 'a', but data_type is 'company'"),
    ],
)
def test_a_wrong_literal_is_refused_at_dag_parse(arguments, message, tmp_path):
    given = {"task_id": "t", "company_id": "c", "data_type": "invoices", "path": str(tmp_path)}
    with pytest.raises(CodatInputError, match=re.escape(message)):
        CodatExtractOperator(**given | arguments)


@pytest.mark.parametrize("name", ["chartofaccounts", "accounts", "{{ params.data_type }}"])
def test_a_data_type_is_found_under_each_of_its_names(codat, company, operator, name):
    codat.source(company.id, "chartOfAccounts").add({"id": "a1"})
    codat.refreshes.add(company.id, "chartOfAccounts")
    accounts = operator(data_type=name)
    if "{" in name:
        accounts.data_type = "Accounts"  # as it is rendered
    xcom = run(accounts)
    assert [(each["id"], each["dataType"]) for each in records(xcom)] == [("a1", "chartOfAccounts")]
    assert (xcom["dataType"], Path(xcom["manifest"]).parts[-3]) == ("chartOfAccounts", "chartOfAccounts")


def test_an_unknown_rendered_data_type_is_warned_of_and_read(operator, logged):
    invoices = operator(data_type="{{ params.data_type }}")
    invoices.data_type = "invoise"
    with pytest.raises(CodatError):
        run(invoices)
    assert "invoise is not a data type that this version knows. Did you mean 'invoices'?" in logged()


def test_templates_are_checked_once_they_are_rendered(operator, codat):
    template = operator(connection_id="{{ params.connection }}", data_type="directCosts", path="{{ params.path }}")
    template.connection_id, template.path = "c/d", "somewhere"
    with pytest.raises(CodatInputError, match="connection_id 'c/d' would change the URL"):
        run(template)
    template.connection_id, template.path = "c", " "
    with pytest.raises(CodatInputError, match="path is ' ': give the text of a folder or URI"):
        run(template)
    assert reads(codat) == []


def test_a_missing_value_of_a_template_is_no_path(operator, codat, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extract = operator(path="{{ params.path }}")
    extract.render_template_fields({"params": {"path": None}})
    with pytest.raises(CodatInputError, match=r"path is 'None': .* the upstream value is missing"):
        run(extract)
    assert (codat.count(), list(tmp_path.iterdir())) == (0, [])


@pytest.mark.parametrize("value", [None, "", "soon", 202603])
def test_what_is_no_start_month_is_refused_before_any_request(value, operator, codat):
    report = operator(**REPORT, start_month="{{ params.month }}")
    report.render_template_fields({"params": {"month": value}})
    with pytest.raises(CodatInputError, match=f"start_month is '{value}': give a date"):
        run(report)
    assert codat.count() == 0


@pytest.mark.parametrize("value", ["{{ params.month }}", date(2026, 3, 1), "2026-03-01", None])
@pytest.mark.parametrize("data_type", ["balanceSheet", "{{ params.data_type }}"])
def test_a_start_month_may_be_a_template_a_date_or_its_text(value, data_type, operator):
    assert operator(**REPORT | {"data_type": data_type}, start_month=value).start_month == value


def test_a_path_that_is_made_at_run_time_is_not_checked_at_dag_parse(operator):
    assert callable(operator(path=lambda context, jinja_env: "somewhere").path)


def test_without_a_task_instance_it_says_what_to_do(operator):
    with pytest.raises(CodatInputError, match=r"Test the task with dag\.test"):
        operator().execute({})
