"""The connection form: one table, which the parser, the forms of every Airflow and the guide agree with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest
from airflow.providers.common.compat.sdk import Connection
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, validate

from airflow_provider_codat.api.http.retry import RetryPolicy
from airflow_provider_codat.api.limits.share import DEFAULT_REQUESTS_PER_MINUTE, LEAST_REQUESTS_PER_MINUTE
from airflow_provider_codat.exceptions import CodatInputError
from airflow_provider_codat.get_provider_info import get_provider_info
from airflow_provider_codat.hooks.codat import CodatHook
from airflow_provider_codat.hooks.connection import read_connection
from airflow_provider_codat.hooks.form import EXTRA_FIELDS, HIDDEN_FIELDS, STANDARD_FIELDS

AIRFLOW_2 = "airflow.sdk" not in sys.modules
KEY = "n4Qv8-top-secret"
STANDARD = {"host", "schema", "login", "password", "port", "extra"}
[CONNECTION_TYPE] = get_provider_info()["connection-types"]
DECLARED = CONNECTION_TYPE["conn-fields"]


def read(extra, **standard):
    return read_connection(
        "my_codat", extra=extra, **{"host": None, "schema": None, "port": None, "password": KEY, **standard}
    )


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_table_restates_what_the_rest_goes_by():
    defaults = {name: field.default for name, field in EXTRA_FIELDS.items()}
    assert (
        RetryPolicy(defaults["max_attempts"], defaults["max_retry_wait"], retry_for=defaults["retry_for"])
        == RetryPolicy()
    )
    assert defaults["requests_per_minute"] == DEFAULT_REQUESTS_PER_MINUTE
    assert EXTRA_FIELDS["requests_per_minute"].least == LEAST_REQUESTS_PER_MINUTE


@pytest.mark.parametrize("name", EXTRA_FIELDS)
def test_every_field_takes_its_default_and_is_described_in_a_few_words(name):
    field = EXTRA_FIELDS[name]
    assert field.default is None or field.read(field.default) == field.default
    assert 3 < len(field.label) < 25
    assert field.help.endswith(".")
    assert 30 < len(field.description) < 220
    if field.unit:
        assert f"Give {field.unit}, " in field.description


def test_the_guide_has_the_same_fields_and_defaults():
    guide = (Path(__file__).parents[2] / "airflow_provider_codat/hooks/README.md").read_text()
    rows = re.findall(r"^\| extra `(\w+)` \|.*\| `?([\w.]+)`? \|$", guide, re.MULTILINE)
    # Without a word of the connection's, integers are written.
    described = {"sync_schedule_shape": "integer", "allow_http": "false", "webhook_secrets": "none"}
    assert rows == [(name, described.get(name) or f"{field.default:g}") for name, field in EXTRA_FIELDS.items()]


# -- what Airflow's own schemas say ------------------------------------------------------------------------------------


def test_the_behaviour_of_standard_fields_is_valid_and_of_fields_that_exist():
    behaviour = CodatHook.get_ui_field_behaviour()
    validate(
        behaviour, json.loads(files("airflow").joinpath("customized_form_field_behaviours.schema.json").read_text())
    )
    assert {*HIDDEN_FIELDS, *STANDARD_FIELDS} == STANDARD
    assert {name.replace("-", "_"): value for name, value in CONNECTION_TYPE["ui-field-behaviour"].items()} == behaviour


def test_the_password_says_where_the_key_is_and_that_the_header_will_do():
    placeholder = CodatHook.get_ui_field_behaviour()["placeholders"]["password"]
    assert all(word in placeholder for word in ("Developers > API keys", "key", "Basic"))


@pytest.mark.parametrize("name", DECLARED)
def test_a_declared_field_has_all_that_a_form_shows(name):
    field = DECLARED[name]
    Draft7Validator.check_schema(field["schema"])
    # A type of a single word would make the field a required one.
    assert field["schema"]["type"][1:] == ["null"]
    assert (field["label"], field["description"]) == (EXTRA_FIELDS[name].label, EXTRA_FIELDS[name].description)


# -- the form and the parser take the same -----------------------------------------------------------------------------

NUMBERS = st.integers(-1, 11) | st.sampled_from([0.5, -0.0, 10.0]) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = {
    "number": NUMBERS,
    "integer": NUMBERS,
    "string": st.sampled_from(["integer", "object", "Integer", " object"]) | st.text(min_size=1),
    "boolean": st.booleans(),
}


def is_refused(name, value):
    try:
        read({name: value})
    except CodatInputError:
        return True
    return False


@pytest.mark.parametrize("name", EXTRA_FIELDS)
@given(data=st.data())
def test_the_declared_bounds_are_the_parsers(name, data):
    value = data.draw(st.none() | VALUES[EXTRA_FIELDS[name].type])
    assert is_refused(name, value) is not Draft7Validator(DECLARED[name]["schema"]).is_valid(value)


# -- the form of Airflow 2.11 and 3.1 ----------------------------------------------------------------------------------


@pytest.fixture
def widgets(monkeypatch):
    """Return how the hook describes its fields: ``{name: {label, description, default, type, choices}}``."""
    if AIRFLOW_2:
        return {name: described_by_wtforms(field) for name, field in CodatHook.get_connection_form_widgets().items()}

    # As Airflow 3.1 does, which has no wtforms; but with no more than its stand-ins, so that another name is missed.
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService as Its

    stand_ins = {
        "wtforms": {
            "BooleanField": Its.MockBooleanField,
            "IntegerField": Its.MockIntegerField,
            "PasswordField": Its.MockPasswordField,
            "StringField": Its.MockStringField,
        },
        "wtforms.validators": {"Optional": Its.MockOptional, "any_of": Its.MockEnum},
        "flask_appbuilder": {},
        "flask_appbuilder.fieldwidgets": dict.fromkeys(
            ("BS3PasswordFieldWidget", "BS3TextFieldWidget"), Its.MockAnyWidget
        ),
    }
    for name, names in stand_ins.items():
        module = ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
    return {name: described_by_param(field.param) for name, field in CodatHook.get_connection_form_widgets().items()}


def described_by_param(param):
    shown = param.dump()
    schema = shown["schema"]
    return {
        "label": schema["title"],
        "description": shown["description"],
        "default": shown["value"],
        "type": schema["type"][0],
        "choices": tuple(schema.get("enum", ())),
        "is_secret": schema.get("format") == "password",
    }


def described_by_wtforms(unbound):
    kinds = {"StringField": "string", "PasswordField": "string", "IntegerField": "integer", "BooleanField": "boolean"}
    choices = [validator.values for validator in unbound.kwargs["validators"] if hasattr(validator, "values")]
    return {
        "label": unbound.args[0],
        "description": unbound.kwargs["description"],
        "default": unbound.kwargs["default"],
        "type": kinds[unbound.field_class.__name__],
        "choices": tuple(*choices),
        "is_secret": unbound.field_class.__name__ == "PasswordField",
    }


def test_the_hooks_fields_are_those_of_the_table(widgets):
    assert widgets == {
        name: {
            "label": field.label,
            "description": field.description,
            "default": f"{field.default:g}" if field.type == "number" else field.default,
            # There is no field for a number with a fraction.
            "type": "string" if field.type == "number" else field.type,
            "choices": field.choices,
            "is_secret": field.is_secret,
        }
        for name, field in EXTRA_FIELDS.items()
    }


# -- what a form stores ------------------------------------------------------------------------------------------------


@pytest.fixture
def untouched(widgets):
    """Return what the forms of Airflow store for extras that nobody touched."""
    shown = {name: widget["default"] for name, widget in widgets.items()}
    return {
        "2.11": {name: value for name, value in shown.items() if value is not None},
        "3.1": shown,
        "3.2": {name: field["schema"].get("default") for name, field in DECLARED.items()},
        "emptied": dict.fromkeys(EXTRA_FIELDS, ""),
        "cleared": dict.fromkeys(EXTRA_FIELDS),
        "later": {},
    }


STORED_STANDARD = [
    {"host": None},
    {"host": "", "schema": "", "port": None},
    {"host": "http://127.0.0.1:8080/codat"},
    {"host": "127.0.0.1", "schema": "http", "port": 8080},
    {"host": "https://gateway.example:8443"},
]


@pytest.mark.parametrize("form", ["2.11", "3.1", "3.2", "emptied", "cleared", "later"])
@pytest.mark.parametrize("standard", STORED_STANDARD, ids=str)
@pytest.mark.parametrize("password", [KEY, "Basic bjRRdjgtdG9wLXNlY3JldA=="], ids=["key", "header"])
def test_an_untouched_form_is_a_connection_that_works_and_can_be_tested(
    form, standard, password, untouched, monkeypatch
):
    fields = {**standard, "password": password}
    expected = read({}, **fields)
    assert read(untouched[form], **fields) == expected
    # The test button hands the form over as a URI in the environment, under an id of its own.
    stored = Connection(conn_id="stored", conn_type="codat", extra=json.dumps(untouched[form]), **fields)
    monkeypatch.setenv("AIRFLOW_CONN_TESTED", stored.get_uri())
    assert CodatHook("tested").settings == expected


# -- as Airflow serves it ----------------------------------------------------------------------------------------------

SERVED = """
import json
try:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
except ImportError:
    from airflow.providers_manager import ProvidersManager
    manager = ProvidersManager()
    assert manager.hooks["codat"].hook_name == "Codat"
    behaviour = manager.field_behaviours["codat"]
    standard = {name: {"hidden": name in behaviour["hidden_fields"], "title": behaviour["relabeling"].get(name)}
                for name in ("host", "password", "schema", "port", "login")}
    fields = {widget.field_name: widget.field.args[0] for name, widget in manager.connection_form_widgets.items()
              if name.startswith("extra__codat__")}
else:
    [codat] = [each for each in HookMetaService.hook_meta_data() if each.connection_type == "codat"]
    assert codat.hook_name == "Codat"
    shown = codat.model_dump()
    standard = {name: {key: shown["standard_fields"]["url_schema" if name == "schema" else name][key]
                       for key in ("hidden", "title")} for name in ("host", "password", "schema", "port", "login")}
    fields = {name: field["schema"]["title"] for name, field in shown["extra_fields"].items()}
print(json.dumps([standard, fields]))
"""


def test_the_installed_airflow_serves_the_form(tmp_path):
    done = subprocess.run(  # noqa: S603 - the interpreter that runs this test
        [sys.executable, "-W", "always", "-c", SERVED],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    standard, fields = json.loads(done.stdout.splitlines()[-1])
    assert standard == {
        "host": {"hidden": False, "title": "Base URL"},
        "port": {"hidden": False, "title": "Port"},
        "password": {"hidden": False, "title": "API key"},
        **{name: {"hidden": True, "title": None} for name in ("schema", "login")},
    }
    assert fields == {name: field.label for name, field in EXTRA_FIELDS.items()}
    complaints = [line for line in done.stderr.splitlines() if "CodatHook" in line or "airflow_provider_codat" in line]
    assert complaints == []


if AIRFLOW_2:  # the one whose form refuses values by itself; that of 3.1 has no bounds
    from werkzeug.datastructures import MultiDict
    from wtforms import Form

    WIDGETS = CodatHook.get_connection_form_widgets()

    @pytest.mark.parametrize("name", EXTRA_FIELDS)
    @given(data=st.data())
    def test_the_forms_bounds_are_the_parsers(name, data):
        typed = str(data.draw(VALUES[EXTRA_FIELDS[name].type]))
        form_class = type("ConnectionForm", (Form,), {name: WIDGETS[name]})
        # A box that is not ticked is not sent.
        is_unticked = EXTRA_FIELDS[name].type == "boolean" and typed == "False"  # a form leaves such a box out
        form = form_class(MultiDict({} if is_unticked else {name: typed}))
        accepted = form.validate()
        if not typed.strip():
            assert accepted  # an empty field is the default
        elif EXTRA_FIELDS[name].type == "integer" and not typed.lstrip("-").isdigit():
            assert not accepted  # the field's own doing: "3.0" is no integer
        else:
            assert accepted is not is_refused(name, typed), form.errors
