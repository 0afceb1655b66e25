"""What the pages say of the code is true, and their links lead somewhere, on a forge and on a package index."""

from __future__ import annotations

import inspect
import re
import tomllib
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pages
import pytest
from pages import (
    BENCHMARKS,
    GUIDES,
    HOOKS,
    LINKED,
    OPERATORS,
    PAGES,
    PLUGIN,
    README,
    ROOT,
    SENSORS,
    SIMULATOR,
    TESTS,
    TRIGGERS,
)

import airflow_provider_codat
from airflow_provider_codat import exceptions, simulator
from airflow_provider_codat.api.sync_settings.fields import FIELDS
from airflow_provider_codat.operators.codat import (
    CodatExtractOperator,
    CodatPushOperator,
    CodatRefreshOperator,
    CodatSyncSettingsOperator,
)
from airflow_provider_codat.sensors.codat import CodatDataFreshnessSensor, CodatPushOperationSensor
from airflow_provider_codat.simulator import CodatSimulator, Fault, Outcome, Refreshes, RefreshOutcome, Source, Webhooks
from airflow_provider_codat.simulator.__main__ import _parser
from airflow_provider_codat.simulator.faults import KINDS
from airflow_provider_codat.triggers.codat import CodatEventTrigger

PACKAGE = Path(airflow_provider_codat.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# -- the door ----------------------------------------------------------------------------------------------------------


def test_the_readme_is_short_and_leads_to_every_guide():
    assert len(pages.text(README).splitlines()) <= 250
    led_to = {urlsplit(target).path for _, target in pages.links(README)}
    assert {*GUIDES} <= led_to


def test_the_readme_says_why_each_dependency_is_there():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    asked = [*PROJECT["dependencies"], *(each for extra in PROJECT["optional-dependencies"].values() for each in extra)]
    packages = {re.match(r"[\w-]+", each)[0] for each in asked} - {PROJECT["name"]}
    assert {
        *re.findall(r"`([\w-]+)`", " ".join(cell.split(" (")[0] for cell in pages.first_column(README, "package")))
    } == packages | {*groups}


# -- links and pictures ------------------------------------------------------------------------------------------------


def leads_nowhere(page: str, target: str) -> bool:
    """Whether the target of a link is not what it says; nothing is fetched."""
    url = urlsplit(target)
    if url.scheme or url.netloc:
        return url.scheme != "https" or not re.fullmatch(r"([\w-]+\.)+\w+", url.netloc) or " " in target
    path = (ROOT / page).parent / url.path if url.path else ROOT / page
    if not path.exists():
        return True
    name = path.resolve().relative_to(ROOT).as_posix()
    return bool(url.fragment) and url.fragment not in pages.anchors(name)


@pytest.mark.parametrize("page", LINKED)
def test_every_link_leads_somewhere(page: str):
    assert [target for _, target in pages.links(page) if leads_nowhere(page, target)] == []


@pytest.mark.parametrize(
    "target",
    [
        *("http://docs.codat.io/", "https://docs", "//docs.codat.io/", "ftp://docs.codat.io/", "https:/docs.codat.io"),
        *("nowhere.md", "#nowhere", "tests/README.md#nowhere", "README.md/README.md"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(target: str):
    assert leads_nowhere(README, target)


@pytest.mark.parametrize("page", PAGES)
def test_no_heading_of_a_page_has_the_anchor_of_another(page: str):
    assert len(pages.anchors(page)) == len({*pages.anchors(page)})


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_exists(page: str):
    assert [path for path in pages.pictures(page) if not ((ROOT / page).parent / path).exists()] == []
    assert pages.text(page).count("<img ") == len(pages.pictures(page))


def test_the_readme_makes_sense_on_a_package_index():
    """An index shows the README alone: no pictures, no diagrams, and each link within the source names its path.

    Once the project has a ``Repository`` URL, these links have to be absolute, below that URL.
    """
    assert not pages.pictures(README)
    assert {block.language for block in pages.blocks(README)} == {"bash", "python"}
    within = [(text, target) for text, target in pages.links(README) if not target.startswith("https:")]
    repository = PROJECT["urls"].get("Repository")
    assert [(text, target) for text, target in within if repository or text != urlsplit(target).path] == []


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("public", "page"),
    [
        *((each, SENSORS) for each in (CodatPushOperationSensor, CodatDataFreshnessSensor)),
        (CodatEventTrigger, TRIGGERS),
        *((each, OPERATORS) for each in (CodatExtractOperator, CodatPushOperator, CodatRefreshOperator)),
        (CodatSyncSettingsOperator, OPERATORS),
    ],
)
def test_every_parameter_is_in_the_table(public: type, page: str):
    section = pages.section(page, f"Parameters of {public.__name__}")
    named = pages.names(re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE))
    parameters = {*inspect.signature(public.__init__).parameters} - {"self", "args", "kwargs"}
    # A sensor also takes what every sensor takes.
    assert parameters <= named if page == SENSORS else parameters == named


def test_the_operators_guide_names_what_is_templated():
    (sentence,) = re.findall(r"^Templated: (.*?)\.$", pages.text(OPERATORS), re.DOTALL | re.MULTILINE)
    assert pages.names([sentence]) == {*CodatPushOperator.template_fields}


def test_the_tables_of_the_simulator_name_what_there_is():
    calls = {name for cell in pages.first_column(SIMULATOR, "call") for name in re.findall(r"`(\w+)", cell)}
    assert {name for name in calls if not hasattr(CodatSimulator, name)} == set()
    assert pages.names(pages.first_column(SIMULATOR, "fault")) == {*KINDS}
    for public in (Refreshes, Source, Webhooks):
        named = {re.match(r"`(\w+)", each)[1] for each in pages.first_column(SIMULATOR, f"call of `{public.__name__}`")}
        assert named == {name for name in vars(public) if not name.startswith("_")}
    for public in (Outcome, RefreshOutcome, Fault, CodatSimulator):
        head = f"argument of `{public.__name__}`"
        assert pages.names(pages.first_column(SIMULATOR, head)) == {*inspect.signature(public).parameters}
    options = {each for action in _parser()._actions for each in action.option_strings} - {"-h", "--help"}
    assert {*re.findall(r"`(--[\w-]+)`", pages.text(SIMULATOR))} == options


def test_the_table_of_sync_settings_names_every_field():
    assert pages.names(pages.first_column(OPERATORS, "field of a setting")) == {"dataType", *FIELDS}


def test_the_table_of_errors_names_every_error():
    errors = {name for name in exceptions.__all__ if name.startswith("Codat")}
    assert pages.names(pages.first_column(HOOKS, "error")) | {"CodatError"} == errors


def test_the_table_of_calls_names_calls_of_the_hook():
    calls = [
        name
        for cell in pages.first_column(HOOKS, "call (each also as `.aio`)")
        for name in re.findall(r"`(\w+)\(", cell)
    ]
    hook = import_module(f"{PACKAGE.name}.hooks.codat").CodatHook
    assert calls
    assert [name for name in calls if not hasattr(getattr(hook("codat_default"), name), "aio")] == []


@pytest.mark.parametrize(
    ("page", "head", "count"),
    [(OPERATORS, "what happens", 3), (PLUGIN, "what happens", 4), (SENSORS, "what happens", 8)],
)
def test_the_log_lines_of_the_tables_are_those_of_the_code(page: str, head: str, count: int):
    tables = re.findall(
        rf"^\| {head} \|.*\| (?:line in the log|what you see) \|\n(?:\|.*\n)+", pages.text(page), re.MULTILINE
    )
    last_cells = " ".join(row.rstrip(" |").split(" | ")[-1] for table in tables for row in table.splitlines())
    lines = [each for each in re.findall(r"`([^`]*)`", last_cells) if " " in each]
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    assert len(lines) == count
    assert [part for line in lines for part in line.split("…") if part.strip() not in source] == []


# -- the guide of those who contribute ---------------------------------------------------------------------------------


def test_every_path_that_a_guide_names_exists():
    named = {
        (page, path)
        for page in PAGES
        for path in re.findall(r"`((?:tests|example_dags|airflow_provider_codat)(?:/[\w./-]*)?)`", pages.text(page))
    }
    support = {
        ("tests/README.md", f"tests/support/{name}")
        for name in re.findall(r"`(\w+\.py)`", " ".join(pages.first_column(TESTS, "in `tests/support`")))
    }
    below = r"`((?:api|hooks|links|operators|plugin|sensors|simulator|tasks|triggers)/[\w/]*[\w.]+)`"
    package = {("tests/README.md", f"airflow_provider_codat/{path}") for path in re.findall(below, pages.text(TESTS))}
    assert len(package) > 15
    assert [each for each in named | support | package if not (ROOT / each[1]).exists()] == []
    assert {path for _, path in support} == {
        f"tests/support/{path.name}" for path in (ROOT / "tests/support").glob("*.py")
    }


def test_every_benchmark_command_is_one():
    commands = re.findall(r"`\.venv/bin/python -m tests\.benchmarks\.(\w+) ([^`]*)`", pages.text(BENCHMARKS))
    assert {module for module, _ in commands} == {
        "waits",
        "sensors",
        "account",
        "extract",
        "lateness",
        "mapped",
        "webhooks",
        "woken",
    }
    for module, arguments in commands:
        import_module(f"benchmarks.{module}")._parser().parse_args(arguments.split())


def imported(name: str) -> set[str]:
    """Return the rooms that one imports from; through ``tasks`` and the modules beside them too."""
    module = PACKAGE / f"{name}.py"
    text = "".join(path.read_text() for path in ([module] if module.exists() else (PACKAGE / name).glob("*.py")))
    found = {*re.findall(r"from airflow_provider_codat\.(\w+)[. ]", text)}
    shared = {each for each in found - {name} if each == "tasks" or (PACKAGE / f"{each}.py").exists()}
    return (found - shared).union(*map(imported, shared))


def test_the_arrows_of_the_picture_are_imports_and_its_names_are_public():
    (picture,) = [block.text for block in pages.blocks(TESTS) if block.language == "mermaid"]
    arrows = re.findall(r"^ +([\w& ]+) --> (\w+)", picture, re.MULTILINE)
    drawn = {(user, used) for users, used in arrows for user in users.split(" & ")}
    assert drawn == {("operators", "hooks"), ("sensors", "hooks"), ("triggers", "hooks"), ("hooks", "api")}
    assert all(used in imported(user) for user, used in drawn)
    assert not any(user in imported(used) for user, used in drawn)
    modules = [import_module(f"{PACKAGE.name}.{each}.codat") for each in ("hooks", "operators", "sensors", "triggers")]
    public = {name for module in modules for name in dir(module)} | {*simulator.__all__}
    assert {*re.findall(r"Codat[A-Z]\w+", picture)} <= public
