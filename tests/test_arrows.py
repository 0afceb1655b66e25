"""Who may know whom: every import of the package, for type checking and within functions included."""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import airflow_provider_codat

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = airflow_provider_codat.__name__
ROOT = Path(airflow_provider_codat.__file__).parent

ARROWS = {
    "sensors": {"tasks"},
    "operators": {"tasks", "api.reading"},
    "tasks": {"triggers", "links", "exceptions"},
    "triggers": {"hooks", "links", "api.refreshing", "api.watching", "assets"},
    "plugin": {"hooks", "assets", "api.webhook_hints"},
    "links": {"api.http"},
    "assets": {"api.http", "api.data_types", "api.changes"},
    "hooks": {"api.endpoints", "api.sync_settings", "api.waiting", "api.limits"},
    "get_provider_info": {"hooks"},
    "retry_policy": {"exceptions"},
    "exceptions": {"api.writing", "api.refreshing"},
    "api.writing": {"api.endpoints"},
    "api.refreshing": {"api.waiting", "api.sync_settings"},
    "api.waiting": {"api.endpoints", "api.webhook_hints"},
    "api.watching": {"api.endpoints", "api.changes"},
    "api.reading": {"api.endpoints"},
    "api.limits": {"api.http"},
    "api.endpoints": {"api.http", "api.data_types"},
    "api.sync_settings": {"api.http", "api.data_types"},
    "api.http": {"api.errors", "api.json_value"},
    "api.errors": {"api.json_value"},
    "api.webhook_hints": set(),
    "api.changes": set(),
    "api.json_value": set(),
    "api.data_types": set(),
    "demo": {"simulator"},
    "simulator": set(),
}
"""Room -> the rooms right below it. A room may import these, and what they may import."""

NOT_OF_API = {"asyncio", "socket", "ssl", "threading", "time"}
"""What ``api`` leaves out of the standard library: sockets, threads and the clock. From elsewhere it takes nothing."""


def module_name(path: Path) -> str:
    """Return a file's module, without the package; that of the package itself is empty."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").strip(".")


FILES = {module_name(path): path for path in sorted(ROOT.rglob("*.py")) if "example_dags" not in path.parts}


def room_of(module: str) -> str:
    """Return the room that a module is in."""
    return next(room for room in ARROWS if f"{module}.".startswith(f"{room}."))


def below(room: str) -> set[str]:
    """Return all rooms that the arrows lead to from a room."""
    return ARROWS[room].union(*(below(each) for each in ARROWS[room]))


def imports_of(module: str) -> Iterator[str]:
    """Yield the full name of each module that a module of the package imports, wherever in its file."""
    path = FILES[module]
    packages = f"{PACKAGE}.{module}".rstrip(".").split(".")[: None if path.name == "__init__.py" else -1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = packages[: len(packages) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for each in node.names:
                is_module = f"{origin}.{each.name}".removeprefix(f"{PACKAGE}.") in FILES
                yield f"{origin}.{each.name}" if is_module else origin


def own_imports_of(module: str) -> set[str]:
    """Return the modules of the package, but for the package itself, that a module imports."""
    return {name.removeprefix(f"{PACKAGE}.") for name in imports_of(module) if name.startswith(f"{PACKAGE}.")}


MODULES = [module for module in FILES if module not in {"", "api"}]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_arrows_lead_to(module):
    room = room_of(module)
    allowed = {room, *below(room)}
    assert {each for each in own_imports_of(module) if room_of(each) not in allowed} == set()


@pytest.mark.parametrize("room", ARROWS)
def test_no_arrow_is_idle(room):
    used = {room_of(each) for module in MODULES if room_of(module) == room for each in own_imports_of(module)}
    assert ARROWS[room] <= used


def test_no_circle_leads_back_to_a_module():
    try:
        TopologicalSorter({module: own_imports_of(module) - {module} for module in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("api.")])
def test_the_api_takes_nothing_but_python_itself(module):
    outside = {name.partition(".")[0] for name in imports_of(module)} - {PACKAGE}
    assert outside - sys.stdlib_module_names == set()
    assert outside & NOT_OF_API == set()


def test_the_package_and_the_api_import_nothing():
    assert {name for module in ("", "api") for name in imports_of(module)} == set()
