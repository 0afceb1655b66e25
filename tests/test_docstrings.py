"""Every public name says what it is for, its arguments with unit and default, its errors, and where to read on."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import airflow_provider_codat
from airflow_provider_codat.hooks.calls import Call
from airflow_provider_codat.hooks.codat import CodatHook
from tests.support import pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

PACKAGE = airflow_provider_codat.__name__
ROOT = Path(__file__).parents[1]

# -- the rules, as data ------------------------------------------------------------------------------------------------

A_TIME = r"epoch seconds|monotonic seconds|ISO 8601|HTTP date"
A_SPAN = r"\b(second|minute|hour|day|month)s?\b"
A_SHARE = r"\b0 to 1\b|\bshare\b|\brelative\b"
UNITS = (
    (r"(now|since|until|deadline|due|began|started|\w+_(at|on|since|until|utc)): (float|int|str)\b", A_TIME),
    (r"(\w+_)?(timeout|interval|latency|delay|grace|wait|pause): .*\bfloat\b|\w*(minutes|hours): ", A_SPAN),
    (r"(\w+_)?retry_after: .*\b(float|str)\b", rf"{A_SPAN}|{A_TIME}"),
    (r"(size|\w+_(size|bytes|length)): ", r"\b(byte|character|item|operation|compan)\w*"),
    (r"\w+: .*\bfloat\b", rf"{A_TIME}|{A_SPAN}|{A_SHARE}|\brequests\b"),
)
"""The beginning of "name: type" of a quantity -> what its text has to have one of."""

WITHOUT_A_UNIT = re.compile(r"\w+: (bool|datetime|timedelta)( \| \w+)*")
"""What is no quantity whatever its name is, or has the unit in its type."""

SAID_ONCE_FOR_ALL = {
    "self": "the object",
    "cls": "its class",
    "args": "handed on as they are",
    "kwargs": "likewise",
    "context": "Airflow's context of a task, the same in every method that takes one",
}
"""Parameters that need no words -> what they are."""

IMPORTED_BY_USERS = (
    r"\w+\.codat\.",
    r"(retry_policy|exceptions|api\.sync_settings)\.",
    r"simulator\.[A-Z]",
)
"""What DAGs and their tests import: each parameter is described. Elsewhere a name and its type may be enough."""

ENTRY_POINTS = r"(\w+\.codat|retry_policy|simulator)\.Codat\w+"
"""The classes that DAGs and their tests are made of. They name their source, and so does each call of the hook."""

A_SOURCE = r"https://(docs\.codat\.io|airflow\.apache\.org)/\w"


# -- what is walked ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """A public name and what it says.

    ``heard`` is what the package says of it in a base class, ``foreign`` the parameters that a base class outside the
    package has brought in, and ``raised`` the errors that its own code raises.
    """

    name: str
    kind: str
    doc: str
    heard: str = ""
    parameters: tuple[inspect.Parameter, ...] = ()
    foreign: frozenset[str] = frozenset()
    returns: str = ""
    raised: frozenset[str] = frozenset()

    @property
    def told(self) -> dict[str, str]:
        return {name: text for field, name, text in fields(self.doc) if field == "param"}

    @property
    def described(self) -> dict[str, inspect.Parameter]:
        return {each.name: each for each in self.parameters if each.name in self.told}

    @property
    def undescribed(self) -> list[str]:
        heard = {name for field, name, _ in fields(self.heard) if field == "param"}
        known = self.told.keys() | heard | self.foreign | SAID_ONCE_FOR_ALL.keys()
        return [each.name for each in self.parameters if each.name not in known]

    @property
    def told_errors(self) -> set[str]:
        return {name for field, name, _ in fields(f"{self.doc}\n\n{self.heard}") if field == "raises"}

    @property
    def quantities(self) -> dict[str, str]:
        """Return "name: type" -> text of what may be one: of the parameters, and of what a number or function is."""
        found = {f"{name}: {type_name(each.annotation)}": self.told[name] for name, each in self.described.items()}
        if self.kind == "number" or "float" in self.returns:
            found[f"{self.name.rpartition('.')[2].lower()}: {self.returns}"] = self.doc
        return {quantity: text for quantity, text in found.items() if not WITHOUT_A_UNIT.fullmatch(quantity)}


def fields(doc: str) -> Iterator[tuple[str, str, str]]:
    for found in re.finditer(r"^:(\w+)(?: (\w+))?:(.*(?:\n +.*)*)", doc, re.MULTILINE):
        yield found[1], found[2] or "", " ".join(found[3].split())


@functools.cache
def package_modules() -> list[ModuleType]:
    walked = pkgutil.walk_packages(airflow_provider_codat.__path__, f"{PACKAGE}.")
    return [airflow_provider_codat, *(importlib.import_module(each.name) for each in walked)]


@functools.cache
def package_subjects() -> list[Subject]:
    return [subject for module in package_modules() for subject in subjects_of(module)]


def subjects_of(module: ModuleType) -> Iterator[Subject]:
    below = module.__name__.removeprefix(PACKAGE).removeprefix(".")
    own = [name for name, each in vars(module).items() if getattr(each, "__module__", None) == module.__name__]
    for name in filter(is_public, getattr(module, "__all__", own)):
        member = getattr(module, name)
        if inspect.isclass(member):
            yield of_class(f"{below}.{name}", member)
            yield from of_attributes(f"{below}.{name}", member)
        elif function := function_of(member):
            yield of_function(f"{below}.{name}", function)
    yield from of_numbers(below, module)


def is_public(name: str) -> bool:
    return not name.startswith("_")


def is_ours(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).startswith(PACKAGE)


def function_of(member: Any) -> Callable[..., Any] | None:
    """Return what a function, method or property of any make was made of."""
    for attribute in ("__func__", "fget", "func"):
        member = getattr(member, attribute, member)
    function = inspect.unwrap(member) if callable(member) else None
    return function if inspect.isfunction(function) else None


def own_doc(thing: Any) -> str:
    doc = thing.__doc__ or ""
    is_made_up = inspect.isclass(thing) and doc.startswith(f"{thing.__name__}(")  # as a dataclass does
    return "" if is_made_up else inspect.cleandoc(doc)


def of_class(name: str, cls: type) -> Subject:
    is_made_here = is_ours(function_of(cls.__init__)) or hasattr(cls, "_fields")  # which a named tuple has
    makers = [vars(cls)[maker] for maker in ("__init__", "__post_init__") if maker in vars(cls)]
    return Subject(
        name,
        "class",
        own_doc(cls),
        heard="\n\n".join(own_doc(base) for base in cls.__mro__[1:] if is_ours(base)),
        parameters=tuple(inspect.signature(cls).parameters.values()) if is_made_here else (),
        raised=frozenset().union(*(errors_raised_in(function_of(maker)) for maker in makers if is_ours(maker))),
    )


def of_attributes(name: str, cls: type) -> Iterator[Subject]:
    for attribute, member in vars(cls).items():
        if not is_public(attribute):
            continue
        if isinstance(member, Call):
            yield of_function(f"{name}.{attribute}", member._build, kind="call")
        elif function := function_of(member):
            yield of_function(f"{name}.{attribute}", function, cls.__mro__[1:])


def of_function(
    name: str, function: Callable[..., Any], bases: tuple[type, ...] = (), kind: str = "function"
) -> Subject:
    signature = inspect.signature(function)
    overridden = [vars(base)[function.__name__] for base in bases if function.__name__ in vars(base)]
    theirs = [inner for each in overridden if not is_ours(each) and (inner := function_of(each))]
    return Subject(
        name,
        kind,
        own_doc(function),
        heard="\n\n".join(own_doc(each) for each in overridden if is_ours(each)),
        parameters=tuple(signature.parameters.values()),
        foreign=frozenset(parameter for each in theirs for parameter in inspect.signature(each).parameters),
        returns=type_name(signature.return_annotation),
        raised=errors_raised_in(function),
    )


def of_numbers(below: str, module: ModuleType) -> Iterator[Subject]:
    """Find the constants that are numbers. The string below one, or a ``#:`` above it, is its docstring."""
    source = Path(str(module.__file__)).read_text()
    body = ast.parse(source).body
    for statement, following in zip_longest(body, body[1:]):
        for name in filter(is_public, assigned_by(statement)):
            value = getattr(module, name)
            if type(value) not in (int, float):
                continue
            above = source.splitlines()[statement.lineno - 2]
            is_string = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            doc = str(following.value.value) if is_string else above.partition("#:")[2].strip()
            yield Subject(f"{below}.{name}", "number", doc, returns=type(value).__name__)


def assigned_by(statement: ast.stmt) -> list[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [node.id for target in targets if target for node in ast.walk(target) if isinstance(node, ast.Name)]


def type_name(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def errors_raised_in(function: Callable[..., Any] | None) -> frozenset[str]:
    """Return the errors that are raised by name, but not those that the function itself may catch."""
    if function is None or function.__code__.co_filename.startswith("<"):  # a dataclass's
        return frozenset()
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    tries = [node for node in ast.walk(tree) if isinstance(node, ast.Try) and node.handlers]
    caught = {node for each in tries for statement in each.body for node in ast.walk(statement)}
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node not in caught]
    names = [getattr(getattr(each, "func", each), "id", "") for each in raised]
    return frozenset(name for name in names if name in errors())


@functools.cache
def errors() -> dict[str, type[BaseException]]:
    """Return every error that a docstring may name: Python's, and all that a module of the package knows."""
    known = [vars(builtins), *(vars(module) for module in package_modules())]
    found = {name: each for names in known for name, each in names.items()}
    return {name: each for name, each in found.items() if inspect.isclass(each) and issubclass(each, BaseException)}


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
    for name in subject.told.keys() - {each.name for each in subject.parameters}:
        yield f"describes {name}, which it does not take"


def names_units(subject: Subject) -> Iterator[str]:
    for quantity, text in subject.quantities.items():
        for pattern, words in UNITS:
            if re.match(pattern, quantity) and not re.search(words, text, re.IGNORECASE):
                yield f"names no unit of {quantity!r}: one of {words}"


def tells_defaults(subject: Subject) -> Iterator[str]:
    for name, each in subject.described.items():
        words = r"\bdefaults?\b" + (r"|\bNone\b" if each.default is None else "")
        if each.default is not each.empty and not re.search(words, subject.told[name]):
            yield f"does not tell the default of {name}, {each.default!r}"


def tells_its_errors(subject: Subject) -> Iterator[str]:
    told = tuple(errors()[name] for name in subject.told_errors if name in errors())
    for name in subject.raised:
        if not issubclass(errors()[name], told):
            yield f"does not tell that it raises {name}"
    if subject.kind == "call" and not told:
        yield "tells no error"


def tells_errors_that_exist(subject: Subject) -> Iterator[str]:
    for name in subject.told_errors - errors().keys():
        yield f"tells of {name!r}, which is no error"


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
    tells_defaults,
    tells_its_errors,
    tells_errors_that_exist,
    begins_a_line_with_a_field,
    names_its_source,
)


def complaints(check: Callable[[Subject], Iterator[str]], subjects: Iterable[Subject]) -> list[str]:
    return [f"{subject.name} {told}" for subject in subjects for told in check(subject)]


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
        "sensors.codat.CodatPushOperationSensor.start_args",
        "simulator.CodatSimulator.add_push",
        "simulator.Outcome",
        "simulator.pytest_plugin.codat_simulator",
        "tasks.templates.CodatTask.is_literal",
        "triggers.codat.CodatPushOperationTrigger",
        "tasks.waiting.WaitingTask.pace",
        "tasks.start_from_trigger.triggerer_starts_tasks",
    }
    assert Counter(subject.kind for subject in subjects) >= Counter({"class": 120, "function": 400, "number": 45})
    calls = {subject.name for subject in subjects if subject.kind == "call"}
    assert len(calls) == sum(isinstance(each, Call) for each in vars(CodatHook).values()) > 10
    assert sum(len(subject.described) for subject in subjects if is_imported_by_users(subject.name)) > 380
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

#: Seconds between two looks.
PAUSE = 2.0
TIMEOUT = 60.0
"""Seconds until it gives up."""


def look(size: int):
    """Look once.

    :param size: bytes of the answer.
    :raises LookupError: there is nothing to see.

    Source: https://docs.codat.io/using-the-api/querying.
    """


class Base:
    """What examples have in common.

    :param key: what it is known by.
    """

    def __init__(self, key: str) -> None:
        pass

    def ask(self, deadline: float):
        """Ask.

        :param deadline: when to stop, in epoch seconds.
        """


class CodatExample(Base):
    """An example.

    :param poll_interval: seconds between two looks; default 5.
    :raises ValueError: the key is empty.

    Source: https://docs.codat.io/using-the-api/push.
    """

    look = Endpoint(look)

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
        (has_a_docstring, "#: Seconds between two looks.", "", "PAUSE has no docstring"),
        (has_a_docstring, '"""Seconds until it gives up."""', "", "TIMEOUT has no docstring"),
        (describes_its_parameters, ":param size: bytes of the answer.", "", "look does not describe size"),
        (describes_its_parameters, ":param key: what it is known by.", "", "CodatExample does not describe key"),
        (describes_nothing_else, ":param poll_interval", ":param pause", "CodatExample describes pause, which"),
        (names_units, "seconds between two looks; ", "", "CodatExample names no unit of 'poll_interval: float'"),
        (names_units, "bytes of", "length of", "look names no unit of 'size: int'"),
        (names_units, "stop, in epoch seconds", "stop", "Base.ask names no unit of 'deadline: float'"),
        (names_units, "began, in epoch seconds", "began", "CodatExample.began names no unit of 'began: float'"),
        (names_units, "Seconds until it", "When it", "TIMEOUT names no unit of 'timeout: float'"),
        (tells_defaults, "; default 5", "", "CodatExample does not tell the default of poll_interval, 5.0"),
        (tells_its_errors, ":raises ValueError: the key is empty.", "", "CodatExample does not tell that it raises"),
        (tells_its_errors, ":raises LookupError: there is nothing to see.", "", "CodatExample.look tells no error"),
        (tells_errors_that_exist, "LookupError", "LookError", "look tells of 'LookError', which is no error"),
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
            "CodatExample.look names no source",
        ),
    ],
)
def test_a_check_tells_what_is_flawed(check, flawless, flawed, complaint, subjects_in):
    assert FLAWLESS.count(flawless) == 1
    found = complaints(check, subjects_in(FLAWLESS.replace(flawless, flawed)))
    assert any(each.startswith(f"example.codat.{complaint}") for each in found), found
