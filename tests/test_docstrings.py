"""Every public name says what it is for, its arguments with unit and default, its errors, and where to read on."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pages
import pytest
from docstrings import PACKAGE, SAID_ONCE_FOR_ALL, Subject, errors, package_subjects, subjects_of

from airflow_provider_codat.hooks.calls import Call
from airflow_provider_codat.hooks.codat import CodatHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).parents[1]

# -- the rules, as data ------------------------------------------------------------------------------------------------

A_TIME = r"epoch seconds|monotonic seconds|ISO 8601|HTTP date"
A_SPAN = r"\b(second|minute|hour|day|month)s?\b"
A_SHARE = r"\b0 to 1\b|\bshare\b|\brelative\b"
UNITS = (
    (r"(now|since|until|deadline|due|began|started|\w+_(at|on|since|until|utc)): (float|int|str)\b", A_TIME),
    (r"(\w+_)?(timeout|interval|latency|delay|grace|wait|pause): .*\bfloat\b|\w*(minutes|hours): ", A_SPAN),
    (r"(\w+_)?retry_after: .*\b(float|str)\b", rf"{A_SPAN}|{A_TIME}"),
    (r"(size|\w+_(size|bytes|length)): ", r"\b(byte|character|item|operation|compan|month)\w*"),
    (r"\w+: .*\bfloat\b", rf"{A_TIME}|{A_SPAN}|{A_SHARE}|\brequests\b"),
)
"""The beginning of "name: type" of a quantity -> what its text has to have one of."""

IMPORTED_BY_USERS = (
    r"\w+\.codat\.",
    r"(assets|retry_policy|exceptions)\.",
    r"api\.endpoints\.webhook_(events|signature)\.",
    r"api\.sync_settings\.(?![a-z_]+\.)",  # what the room exports
    r"simulator\.([A-Z]|http_server\.HttpServer|push_calls\.PushCalls)",
)
"""What DAGs and their tests import: each parameter is described. Elsewhere a name and its type may be enough."""

ENTRY_POINTS = r"(\w+\.codat|retry_policy|simulator)\.Codat\w+"
"""The classes that DAGs and their tests are made of. They name their source, and so does each call of the hook."""

A_SOURCE = r"https://(docs\.codat\.io|airflow\.apache\.org)/\w"


# -- the checks --------------------------------------------------------------------------------------------------------


def is_imported_by_users(name: str) -> bool:
    return any(re.match(pattern, name) for pattern in IMPORTED_BY_USERS)


def has_a_docstring(subject: Subject) -> Iterator[str]:
    if not subject.doc:
        yield "has no docstring"


def describes_its_parameters(subject: Subject) -> Iterator[str]:
    if is_imported_by_users(subject.name):
        yield from (f"does not describe {name}" for name in subject.undescribed)


def describes_nothing_else(subject: Subject) -> Iterator[str]:
    for name in subject.texts.keys() - {each.name for each in subject.parameters}:
        yield f"describes {name}, which it does not take"


def names_units(subject: Subject) -> Iterator[str]:
    for quantity, text in subject.quantities.items():
        for pattern, words in UNITS:
            if re.match(pattern, quantity) and not re.search(words, text, re.IGNORECASE):
                yield f"names no unit of {quantity!r}: one of {words}"


def names_defaults(subject: Subject) -> Iterator[str]:
    for name, each in subject.described.items():
        words = r"\bdefaults?\b" + (r"|\bNone\b" if each.default is None else "")
        if each.default is not each.empty and not re.search(words, subject.texts[name]):
            yield f"does not name the default of {name}, {each.default!r}"


def names_its_errors(subject: Subject) -> Iterator[str]:
    named = tuple(errors()[name] for name in subject.named_errors if name in errors())
    for name in subject.raised:
        if not issubclass(errors()[name], named):
            yield f"does not say that it raises {name}"
    if subject.kind == "call" and not named:
        yield "names no error"


def names_errors_that_exist(subject: Subject) -> Iterator[str]:
    for name in subject.named_errors - errors().keys():
        yield f"names {name!r}, which is no error"


def begins_a_line_with_a_field(subject: Subject) -> Iterator[str]:
    for found in re.finditer(r"^.*\S.*(:(param|raises|returns?)\b[^:`]*:)", subject.doc, re.MULTILINE):
        yield f"has {found[1]} in the middle of a line, where nothing reads it"


def names_its_source(subject: Subject) -> Iterator[str]:
    is_entry_point = subject.kind == "call" or (subject.kind == "class" and re.fullmatch(ENTRY_POINTS, subject.name))
    if is_entry_point and not re.search(A_SOURCE, subject.doc):
        yield "names no source"


CHECKS = (
    has_a_docstring,
    describes_its_parameters,
    describes_nothing_else,
    names_units,
    names_defaults,
    names_its_errors,
    names_errors_that_exist,
    begins_a_line_with_a_field,
    names_its_source,
)


def complaints(check: Callable[[Subject], Iterator[str]], subjects: Iterable[Subject]) -> list[str]:
    return [f"{subject.name} {complaint}" for subject in subjects for complaint in check(subject)]


@pytest.mark.parametrize("check", CHECKS)
def test_every_public_name_says_what_there_is_to_know(check):
    found = complaints(check, package_subjects())
    assert not found, "\n".join(found)


# -- the checks, checked -----------------------------------------------------------------------------------------------


def test_nothing_public_is_left_out():
    subjects = package_subjects()
    assert {subject.name for subject in subjects} >= {
        "api.errors.CodatApiError.from_json",
        "api.http.retry.RESENT_FOR",
        "demo.airflow_stack.AirflowStack.trigger",
        "exceptions.CodatRateLimited",
        "hooks.codat.CodatHook.settings",
        "hooks.codat.CodatHook.iterate_companies",
        "links.codat.CodatCompanyLink.get_link",
        "operators.codat.CodatPushOperator.execute",
        "retry_policy.CodatRetryPolicy.evaluate",
        "sensors.codat.CodatPushOperationSensor",
        "simulator.CodatSimulator.source",
        "simulator.push_calls.PushCalls.add_push",
        "simulator.Outcome",
        "simulator.pytest_plugin.codat_simulator",
        "tasks.templates.CodatTask.is_literal",
        "triggers.codat.CodatPushOperationTrigger",
        "tasks.waiting.WaitingTask.pace",
        "tasks.start_from_trigger.triggerer_starts_tasks",
        "tasks.worker_free_sensor.WorkerFreeSensor.start_args",
    }
    assert Counter(subject.kind for subject in subjects) >= Counter({"class": 120, "function": 400, "number": 45})
    calls = {subject.name for subject in subjects if subject.kind == "call" and ".CodatHook." in subject.name}
    assert len(calls) == sum(isinstance(each, Call) for _, each in inspect.getmembers_static(CodatHook)) > 30
    assert sum(len(subject.described) for subject in subjects if is_imported_by_users(subject.name)) > 300
    assert sum(len(subject.raised) for subject in subjects) > 50


def test_what_the_pages_and_the_example_dags_import_is_imported_by_users():
    texts = [*map(pages.text, pages.PAGES), *(each.read_text() for each in (ROOT / "example_dags").glob("*.py"))]
    modules = {name for text in texts for name in re.findall(rf"(?:from|import) {PACKAGE}((?:\.[a-z_]+)+)", text)}
    assert len(modules) >= 5
    assert [name for name in modules if not is_imported_by_users(f"{name.removeprefix('.')}.Codat")] == []


def test_no_rule_and_no_pattern_is_idle():
    subjects = package_subjects()
    quantities = [quantity for subject in subjects for quantity in subject.quantities]
    assert [pattern for pattern, _ in UNITS if not any(re.match(pattern, each) for each in quantities)] == []
    names = [subject.name for subject in subjects]
    assert [each for each in IMPORTED_BY_USERS if not any(re.match(each, name) for name in names)] == []
    assert SAID_ONCE_FOR_ALL.keys() <= {each.name for subject in subjects for each in subject.parameters}


FLAWLESS = '''
from airflow_provider_codat.hooks.calls import Endpoint

#: Seconds between two checks.
PAUSE = 2.0
TIMEOUT = 60.0
"""Seconds until it gives up."""


def check(size: int):
    """Check once.

    :param size: bytes of the answer.
    :raises LookupError: there is nothing to see.

    Source: https://docs.codat.io/using-the-api/querying.
    """


class Base:
    """What examples have in common.

    :param key: its key.
    """

    def __init__(self, key: str) -> None:
        pass

    def ask(self, deadline: float):
        """Ask.

        :param deadline: when to stop, in epoch seconds.
        """


class CodatExample(Base):
    """An example.

    :param poll_interval: seconds between two checks; default 5.
    :raises ValueError: the key is empty.

    Source: https://docs.codat.io/using-the-api/push.
    """

    check = Endpoint(check)

    def __init__(self, key: str, poll_interval: float = 5.0) -> None:
        if not key:
            raise ValueError(key)

    def ask(self, deadline: float):
        """Ask twice."""

    @property
    def began(self) -> float:
        """When it began, in epoch seconds."""
'''


@pytest.fixture
def subjects_in(tmp_path, monkeypatch):
    """Return a function that returns the subjects of a module with such a source."""

    def subjects_in(source):
        name, file = f"{PACKAGE}.example.codat", tmp_path / "codat.py"
        file.write_text(source)
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return list(subjects_of(module))

    return subjects_in


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_is_content_with_what_is_flawless(check, subjects_in):
    assert complaints(check, subjects_in(FLAWLESS)) == []


@pytest.mark.parametrize(
    ("check", "flawless", "flawed", "complaint"),
    [
        (has_a_docstring, '"""Ask twice."""', "pass", "CodatExample.ask has no docstring"),
        (has_a_docstring, '"""When it began, in epoch seconds."""', "pass", "CodatExample.began has no docstring"),
        (has_a_docstring, "#: Seconds between two checks.", "", "PAUSE has no docstring"),
        (has_a_docstring, '"""Seconds until it gives up."""', "", "TIMEOUT has no docstring"),
        (describes_its_parameters, ":param size: bytes of the answer.", "", "check does not describe size"),
        (describes_its_parameters, ":param key: its key.", "", "CodatExample does not describe key"),
        (describes_nothing_else, ":param poll_interval", ":param pause", "CodatExample describes pause, which"),
        (names_units, "seconds between two checks; ", "", "CodatExample names no unit of 'poll_interval: float'"),
        (names_units, "bytes of", "length of", "check names no unit of 'size: int'"),
        (names_units, "stop, in epoch seconds", "stop", "Base.ask names no unit of 'deadline: float'"),
        (names_units, "began, in epoch seconds", "began", "CodatExample.began names no unit of 'began: float'"),
        (names_units, "Seconds until it", "When it", "TIMEOUT names no unit of 'timeout: float'"),
        (names_defaults, "; default 5", "", "CodatExample does not name the default of poll_interval, 5.0"),
        (names_its_errors, ":raises ValueError: the key is empty.", "", "CodatExample does not say that it raises"),
        (names_its_errors, ":raises LookupError: there is nothing to see.", "", "CodatExample.check names no error"),
        (names_errors_that_exist, "LookupError", "LookError", "check names 'LookError', which is no error"),
        (
            begins_a_line_with_a_field,
            "An example.\n\n    ",
            "An example. ",
            "CodatExample has :param poll_interval: in",
        ),
        (names_its_source, "https://docs.codat.io/using-the-api/push", "known", "CodatExample names no source"),
        (
            names_its_source,
            "https://docs.codat.io/using-the-api/querying",
            "known",
            "CodatExample.check names no source",
        ),
    ],
)
def test_a_check_reports_what_is_flawed(check, flawless, flawed, complaint, subjects_in):
    assert FLAWLESS.count(flawless) == 1
    found = complaints(check, subjects_in(FLAWLESS.replace(flawless, flawed)))
    assert any(each.startswith(f"example.codat.{complaint}") for each in found), found
