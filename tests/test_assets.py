"""Assets: their names, what Airflow's registry does with them, and which spellings are refused."""

import subprocess
import sys
import warnings
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from airflow import __version__ as airflow_version
from airflow.providers.common.compat.sdk import Asset
from hypothesis import given
from hypothesis import strategies as st

try:
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime as ProvidersManager
except ImportError:  # before Airflow 3.2
    from airflow.providers_manager import ProvidersManager

from airflow_provider_codat import assets
from airflow_provider_codat.api.errors import CodatInputError

COMPANY = "8a210b68-6988-11ed-a1eb-0242ac120002"
OF_ONE = f"codat://api.codat.io/companies/{COMPANY}/data/invoices"
OF_ANY = "codat://api.codat.io/data/invoices"
MAILBOX = "codat://api.codat.io/webhooks/codat_default"
HAS_NAMES = not airflow_version.startswith("2.")


@pytest.mark.parametrize(
    ("asset", "uri"),
    [
        (assets.codat_data_asset(COMPANY, "invoices"), OF_ONE),
        (assets.codat_data_asset(COMPANY, "Invoices", host="API.codat.io"), OF_ONE),
        (assets.codat_data_asset(COMPANY.upper(), "invoices"), OF_ONE),
        (assets.codat_data_asset("Hat-Shop", "invoices"), OF_ONE.replace(COMPANY, "Hat-Shop")),
        (assets.codat_all_data_asset("invoices"), OF_ANY),
        (assets.codat_all_data_asset("accounts"), "codat://api.codat.io/data/chartOfAccounts"),
        (assets.codat_webhook_asset("codat_default"), MAILBOX),
        (assets.codat_data_asset("c", "bills", host="127.0.0.1:8080"), "codat://127.0.0.1:8080/companies/c/data/bills"),
        (assets.create_asset(company_id=COMPANY, data_type="invoices"), OF_ONE),
    ],
)
def test_name_and_uri_are_the_same(asset, uri):
    assert asset.uri == uri
    if HAS_NAMES:
        assert asset.name == uri


def test_what_airflow_takes_beside_is_passed_on():
    assert assets.codat_data_asset(COMPANY, "invoices", extra={"team": "credit"}).extra == {"team": "credit"}
    if HAS_NAMES:
        assert assets.codat_all_data_asset("invoices", group="codat").group == "codat"


def test_a_run_without_asset_events_has_no_changes():
    assert assets.codat_changes(None) == assets.codat_changes({}) == []


def test_the_changes_of_all_events_of_all_assets_are_read_in_order():
    changes = [{"dataType": "bills", "companyId": f"c{number}"} for number in range(3)]
    extras = [changes[0], {"by": "somebody"}, changes[1]], [{"payload": {"changes": changes[2:]}}]
    events = {asset: [SimpleNamespace(extra=extra) for extra in each] for asset, each in zip("ab", extras, strict=True)}
    assert assets.codat_changes(events) == changes


def test_airflow_finds_the_handler_and_the_factory():
    manager = ProvidersManager()
    if HAS_NAMES:
        handlers, factories = manager.asset_uri_handlers, manager.asset_factories
        converters = manager.asset_to_openlineage_converters
    else:  # AIR301: these are the names in 2.11
        handlers, factories = manager.dataset_uri_handlers, manager.dataset_factories  # noqa: AIR301
        converters = manager.dataset_to_openlineage_converters  # noqa: AIR301
    assert handlers["codat"] is assets.sanitize_uri
    assert factories["codat"] is assets.create_asset
    assert converters["codat"] is assets.convert_asset_to_openlineage


@pytest.mark.parametrize("uri", [OF_ONE, OF_ANY, MAILBOX])
def test_a_uri_that_a_user_writes_is_the_same_asset(uri):
    assert Asset(uri).uri == uri


@pytest.mark.parametrize(
    ("uri", "fix"),
    [
        (OF_ONE.replace("api", "API"), OF_ONE),
        (OF_ONE.replace("invoices", "Invoices"), OF_ONE),
        (OF_ONE.replace(COMPANY, COMPANY.upper()), OF_ONE),
        ("codat://api.codat.io/data/accounts", "codat://api.codat.io/data/chartOfAccounts"),
        (f"{OF_ONE}?page=1", OF_ONE),
        (OF_ANY.replace("voice", "v%6Fice"), OF_ANY),
        ("codat://api.codat.io/companies/c/invoices", "codat_data_asset"),
        ("codat://api.codat.io/data/invoices/1", "codat_data_asset"),
        ("codat:/data/invoices", "give one such as 'api.codat.io'"),
        ("codat://api.codat.io/", "codat_data_asset"),
        ("codat://api.codat.io/data/", "data_type is empty"),
        ("codat://api.codat.io/webhooks/", "give the id of an Airflow connection"),
        ("codat://api.codat.io/companies/a%2Fb/data/invoices", "company_id 'a/b'"),
    ],
)
def test_another_spelling_is_refused_with_the_fix(uri, fix):
    with pytest.raises(CodatInputError) as refused:
        assets.sanitize_uri(urlsplit(uri))
    assert fix in str(refused.value)


@pytest.mark.parametrize("uri", ["codat://s3cret@api.codat.io/data/invoices", "codat://s3cret@api.codat.io/nothing"])
def test_a_user_in_a_uri_is_refused_and_not_shown(uri):
    with pytest.raises(CodatInputError) as refused:
        assets.sanitize_uri(urlsplit(uri))
    assert "s3cret" not in str(refused.value)


def test_airflow_refuses_what_the_handler_refuses():
    if HAS_NAMES:
        with pytest.raises(ValueError, match="another spelling"):
            Asset("codat://api.codat.io/data/Invoices")
    else:
        with pytest.warns(UserWarning, match="another spelling"):
            Asset("codat://api.codat.io/data/Invoices")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: assets.codat_data_asset("a/b", "invoices"), "company_id 'a/b'"),
        (lambda: assets.codat_data_asset("{{ params.id }}", "invoices"), "a template that was not rendered"),
        (lambda: assets.codat_data_asset(COMPANY, "in voices"), "data_type 'in voices'"),
        (lambda: assets.codat_all_data_asset(""), "data_type is empty"),
        (lambda: assets.codat_webhook_asset(""), "codat_conn_id is ''"),
        (lambda: assets.codat_all_data_asset("invoices", host="https://api.codat.io"), "host 'https://api.codat.io'"),
        (lambda: assets.codat_all_data_asset("invoices", host="me@api.codat.io"), "host is no host name"),
    ],
)
def test_a_wrong_argument_is_named(make, words):
    with pytest.raises(CodatInputError) as refused:
        make()
    assert words in str(refused.value)


def test_a_data_type_that_is_not_known_causes_a_warning():
    with pytest.warns(UserWarning, match="'invoice' is unknown to this version: .* Did you mean 'invoices'?"):
        assets.codat_data_asset(COMPANY, "invoice")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert assets.data_uri(COMPANY, "somethingNew").endswith("/somethingNew")


IDS = st.text(st.characters(exclude_characters="/?#\\", exclude_categories=("C", "Z")), min_size=1, max_size=40).filter(
    lambda text: text not in {".", "..", "None"} and "{{" not in text
)


@given(IDS, IDS)
def test_the_handler_takes_every_uri_that_the_functions_make(company_id, data_type):
    for uri in (assets.data_uri(company_id, data_type), assets.all_data_uri(data_type), assets.webhook_uri(company_id)):
        assert uri.isascii()
        assert assets.sanitize_uri(urlsplit(uri)).geturl() == uri


def test_importing_the_module_loads_no_airflow():
    """Airflow imports it in every process that knows an asset, and the webhook receiver in the API server."""
    code = "import sys, airflow_provider_codat.assets; print(*sys.modules)"
    done = subprocess.run(  # noqa: S603 - the interpreter that runs this test
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert roots & {"airflow", "requests", "httpx", "openlineage"} == set()
