"""What the operator writes, logs and returns, and its templates."""

import json
from contextlib import nullcontext

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator
from sync_settings_runs import PATH, WANTED, apply, both_shapes, hours

from airflow_provider_codat.exceptions import CodatApiError, CodatInputError
from airflow_provider_codat.operators.codat import CodatSyncSettingsOperator
from airflow_provider_codat.simulator import Fault


@both_shapes
@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
def test_the_first_run_writes_once_and_the_second_not_at_all(wanted, codat, company):
    first = apply(company, wanted)
    assert codat.count("POST") == 1
    assert hours(codat, company) == {"invoices": 168, "bills": 168, "payments": 24}
    assert first["changed"] is True
    assert ("invoices", "syncSchedule") in {(change["dataType"], change["field"]) for change in first["changes"]}

    second = apply(company, wanted)
    assert codat.count("POST") == 1
    assert second == {"changed": False, "changes": [], "overridesDefaults": True}


@both_shapes
def test_the_body_names_the_company_and_keeps_what_was_not_named(codat, company):
    before = {each["dataType"]: each for each in codat.sync_settings(company.id)["settings"]}
    apply(company, [{"dataType": "invoices", "syncSchedule": 720}])
    (post,) = [request for request in codat.requests if request.method == "POST"]
    body = json.loads(post.body)
    assert (body["companyId"], body["overridesDefaults"]) == (company.id, True)
    after = {each["dataType"]: each for each in codat.sync_settings(company.id)["settings"]}
    assert after["bills"] == before["bills"]
    assert after["invoices"] == before["invoices"] | {"syncSchedule": after["invoices"]["syncSchedule"]}


@both_shapes
def test_without_merge_exactly_the_given_list_is_set(codat, company):
    xcom = apply(company, [{"dataType": "invoices", "syncSchedule": 24}], merge=False)
    assert hours(codat, company) == {"invoices": 24}
    assert {change["dataType"] for change in xcom["changes"]} == {"bills"}
    assert apply(company, [{"dataType": "invoices", "syncSchedule": 24}], merge=False)["changed"] is False
    assert codat.count("POST") == 1


SHAPES = ["integer", "object"]
ACCOUNT_DEFAULT = [{"left_out_data_types": "account_default", "sync_schedule_shape": shape} for shape in SHAPES]


@pytest.mark.parametrize("codat", ACCOUNT_DEFAULT, indirect=True, ids=SHAPES)
def test_data_types_that_take_the_accounts_default_when_they_are_left_out_are_no_failure(codat, company, logged):
    default = {each["dataType"] for each in codat.sync_settings()["settings"]}
    first = apply(company, [{"dataType": "invoices", "syncSchedule": 720}], merge=False)
    assert {change["dataType"] for change in first["changes"]} == {"invoices", "bills"}
    assert hours(codat, company).keys() == default
    assert hours(codat, company)["invoices"] == 720
    (line,) = [line for line in logged().splitlines() if "that the task does not name" in line]
    assert "bills (syncSchedule" in line
    assert line.count(", as the account's default") == len(default) - 1

    second = apply(company, [{"dataType": "invoices", "syncSchedule": 720}], merge=False)
    assert (second["changed"], second["changes"], codat.count("POST")) == (False, [], 1)
    assert "payments (syncSchedule" in logged()


def test_a_data_type_that_codat_keeps_although_it_was_left_out_is_reported(codat, company, logged):
    kept = codat.sync_settings(company.id)
    codat.fault(Fault("status", status=200, method="GET", path=PATH, body=kept))
    codat.fault(Fault("status", status=200, method="GET", path=PATH, body=kept))
    assert apply(company, [{"dataType": "invoices", "syncSchedule": 24}], merge=False)["changed"] is True
    assert any("bills (syncSchedule 168, not as the account's default)" in line for line in logged().splitlines())


def test_without_merge_the_accounts_settings_are_read_only_where_they_matter(codat, company):
    apply(
        company, [{"dataType": "invoices", "syncSchedule": 24}, {"dataType": "bills", "syncSchedule": 168}], merge=False
    )
    assert (codat.count("GET"), codat.count()) == (1, 1)


STARTS_LONG_AGO = {"syncFromUtc": "2020-01-01T00:00:05.1234567Z"}


@both_shapes
def test_what_is_not_named_goes_back_as_it_came(codat, company):
    bills = {"dataType": "bills", "syncSchedule": 168, **STARTS_LONG_AGO}
    codat.set_sync_settings(company.id, [bills, {"dataType": "invoices", "syncSchedule": 24, **STARTS_LONG_AGO}])
    before = {each["dataType"]: each for each in codat.sync_settings(company.id)["settings"]}
    xcom = apply(company, [{"dataType": "invoices", "syncOrder": 3}])
    assert [(change["dataType"], change["field"]) for change in xcom["changes"]] == [("invoices", "syncOrder")]
    after = {each["dataType"]: each for each in codat.sync_settings(company.id)["settings"]}
    assert after == {"bills": before["bills"], "invoices": before["invoices"] | {"syncOrder": 3}}


@both_shapes
@pytest.mark.parametrize("merge", [True, False])
def test_an_empty_list_wipes_nothing(merge, codat, company):
    with pytest.raises(CodatInputError, match="settings is empty: name at least one data type"):
        apply(company, [], merge=merge)
    assert codat.count() == 0


@both_shapes
def test_a_list_rendered_as_json_is_read(codat, company):
    assert apply(company, '[{"dataType": "bills", "syncSchedule": "720"}]')["changed"] is True
    assert hours(codat, company)["bills"] == 720
    with pytest.raises(CodatInputError, match="text that is not JSON"):
        apply(company, "[{'dataType': 'bills'}]")


@both_shapes
def test_a_company_goes_back_to_the_accounts_default_once(codat, company):
    xcom = apply(company, overrides_defaults=False)
    assert xcom == {
        "changed": True,
        "changes": [{"dataType": None, "field": "overridesDefaults", "from": True, "to": False}],
        "overridesDefaults": False,
    }
    assert codat.sync_settings(company.id)["overridesDefaults"] is False
    assert apply(company, overrides_defaults=False)["changed"] is False
    assert codat.count("POST") == 1


@both_shapes
def test_a_company_on_the_default_gets_a_schedule_of_its_own(codat):
    company = codat.add_company()
    xcom = apply(company, [{"dataType": "invoices", "syncSchedule": 24}])
    assert xcom["changes"] == [{"dataType": None, "field": "overridesDefaults", "from": False, "to": True}]
    assert codat.sync_settings(company.id)["overridesDefaults"] is True


@both_shapes
@pytest.mark.parametrize(
    "arguments",
    [{"settings": WANTED["dicts"]}, {"settings": WANTED["dicts"], "merge": False}, {"overrides_defaults": False}],
)
def test_a_dry_run_plans_and_writes_nothing(arguments, codat, company):
    before = codat.sync_settings(company.id)
    xcom = apply(company, dry_run=True, **arguments)
    assert (codat.count("POST"), codat.sync_settings(company.id)) == (0, before)
    assert (xcom["changed"], xcom["overridesDefaults"]) == (False, True)
    assert xcom["changes"] == apply(company, **arguments)["changes"] != []


def test_the_xcom_holds_each_change(codat, company):
    xcom = apply(company, [{"dataType": "invoices", "syncSchedule": 168, "syncFromWindow": 24}])
    assert xcom["changed"] is True
    assert xcom["overridesDefaults"] is True
    assert sorted(xcom["changes"], key=lambda change: change["field"]) == [
        {"dataType": "invoices", "field": "syncFromWindow", "from": None, "to": 24},
        {"dataType": "invoices", "field": "syncSchedule", "from": 24, "to": 168},
    ]


@pytest.mark.parametrize("codat", [{"sync_schedule_shape": "object"}], indirect=True, ids=["object"])
def test_an_hour_of_day_is_set_where_the_api_has_one(codat, company):
    wanted = [{"dataType": "invoices", "syncSchedule": {"intervalHours": 24, "hourOfDay": 6}}]
    assert apply(company, wanted)["changed"] is True
    (invoices,) = [each for each in codat.sync_settings(company.id)["settings"] if each["dataType"] == "invoices"]
    assert invoices["syncSchedule"] == {"intervalHours": 24, "hourOfDay": 6}
    assert apply(company, wanted)["changed"] is False


@both_shapes
def test_the_connection_names_the_shape_where_an_empty_list_shows_none(codat, company):
    codat.set_sync_settings(company.id, [])
    apply(company, [{"dataType": "invoices", "syncSchedule": 24}])
    assert hours(codat, company) == {"invoices": 24}


def test_passing_trouble_is_retried(codat, company, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CODAT_DEFAULT", codat.connection(max_retry_wait=0))
    for method in ("GET", "POST"):
        for kind in ("reset", "reset_after", "truncated", "status"):
            codat.fault(Fault(kind, method=method))
    assert apply(company, WANTED["dicts"])["changed"] is True
    assert hours(codat, company)["invoices"] == 168


# -- the log -----------------------------------------------------------------------------------------------------------


def test_the_plan_is_logged_as_a_table(codat, company, logged):
    apply(company, [{"dataType": "invoices", "syncSchedule": 168}])
    lines = [tuple(line.split()) for line in logged().splitlines()]
    assert ("data", "type", "field", "from", "to") in lines
    assert ("invoices", "syncSchedule", "24", "168") in {line[:4] for line in lines}


def test_a_dry_run_says_so_and_no_change_says_so(codat, company, logged):
    apply(company, [{"dataType": "invoices", "syncSchedule": 168}], dry_run=True)
    assert any("would change (dry run)" in line for line in logged().splitlines())
    apply(company, [{"dataType": "invoices", "syncSchedule": 24}])
    assert any("as wanted; nothing is written" in line for line in logged().splitlines())


@pytest.mark.parametrize(("data_type", "warned"), [("invoicez", True), ("invoices", False)])
def test_an_unknown_data_type_is_a_warning(data_type, warned, codat, company, logged):
    # Codat may know it all the same: it is asked. The simulator does not.
    with pytest.raises(CodatApiError, match='"invoicez", not a data type') if warned else nullcontext():
        apply(company, [{"dataType": data_type, "syncSchedule": 720}])
    assert (
        any(
            "Data type 'invoicez' is unknown to this version" in line and "Did you mean 'invoices'?" in line
            for line in logged().splitlines()
        )
        is warned
    )
    assert hours(codat, company).get(data_type) == (None if warned else 720)


def test_the_key_is_in_no_log(codat, company, logged):
    codat.fault(Fault("status", status=500))
    apply(company, WANTED["dicts"])
    lines = logged().splitlines()
    assert lines
    assert [line for line in lines if codat.api_key in line] == []


# -- templates and outputs of other tasks ------------------------------------------------------------------------------


def test_company_and_settings_are_rendered_however_deep(codat, company, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BOOKS", codat.connection_uri)
    operator = CodatSyncSettingsOperator(
        task_id="sync",
        company_id="{{ params.company }}",
        settings=[
            {"dataType": "{{ params.data_type }}", "syncSchedule": "{{ params.hours }}"},
            {"dataType": "bill{{ params.data_type | title }}", "syncSchedule": {"intervalHours": "{{ params.hours }}"}},
        ],
        codat_conn_id="{{ params.conn }}",
    )
    params = {"company": company.id, "data_type": "payments", "hours": 720, "conn": "books"}
    operator.render_template_fields({"params": params})
    operator.execute({})
    assert hours(codat, company) == {"invoices": 24, "bills": 168, "payments": 720, "billPayments": 720}


@pytest.mark.parametrize(
    "wrap", [lambda output: output, lambda output: [{"dataType": "items", "syncSchedule": output}]]
)
def test_the_output_of_another_task_is_taken_as_it_is_at_parse(wrap, codat, company):
    with DAG("d", schedule=None):
        upstream = BaseOperator(task_id="upstream")
        operator = CodatSyncSettingsOperator(task_id="sync", company_id=upstream.output, settings=wrap(upstream.output))
    assert operator.upstream_task_ids == {"upstream"}


def test_the_hook_is_made_at_run_time_with_the_rendered_connection():
    operator = CodatSyncSettingsOperator(
        task_id="sync", company_id="c", settings=[{"dataType": "bills", "syncSchedule": 24}], codat_conn_id="{{ c }}"
    )
    operator.render_template_fields({"c": "books"})
    assert operator.hook.codat_conn_id == "books"
