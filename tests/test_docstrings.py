"""Every public name says what it is for: its arguments with unit and default, its errors, and where the fact is from."""

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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

PACKAGE = airflow_provider_codat.__name__

# -- the rules, as data ------------------------------------------------------------------------------------------------

A_TIME = r"epoch seconds|monotonic seconds|ISO 8601|HTTP date"
A_SPAN = r"\b(second|minute|hour|day|month)s?\b"
A_SHARE = r"\b0 to 1\b|\bshare\b|\brelative\b"
UNITS = (
    (r"(now|since|until|deadline|due|began|started|\w+_(at|on|since|until|utc)): (float|int|str)\b", A_TIME),
    (r"(timeout|interval|latency|delay|grace|\w+_(timeout|interval|wait|delay|minutes|hours|pause)): ", A_SPAN),
    (r"retry_after: ", rf"{A_SPAN}|{A_TIME}"),
    (r"(size|\w+_(size|bytes|length)): ", r"\b(byte|character|item|operation|compan)\w*"),
    (r"\w+: .*\bfloat\b", rf"{A_TIME}|{A_SPAN}|{A_SHARE}|\brequests\b"),
)
"""The beginning of "name: type" of a quantity -> what its text has to have one of."""

WITHOUT_A_UNIT = re.compile(r"\w+: (bool|datetime|timedelta)( \| \w+)*")
"""Quantities by their name that are none, or have the unit in their type."""

SAID_ONCE_FOR_ALL = {
    "self": "the object",
    "cls": "its class",
    "args": "handed on as they are",
    "kwargs": "likewise",
    "context": "Airflow's context of a task, the same in every method that takes one",
}
"""Parameters that need no words -> what they are."""

INNER_MODULES = {
    r"simulator\.\w+": "users import what airflow_provider_codat.simulator exports, which is walked there",
    r"demo\.(display|onboarding|processes|warden)": "the inside of the command codat-demo",
}
"""Modules that need not describe all parameters -> why. What they do say is held to the same rules."""

NEVER_TOLD = {"NotImplementedError": "an abstract method's; a mistake in the code, not an event"}
"""Errors that need no ``:raises`` -> why."""

ENTRY_POINTS = r"(\w+\.codat|retry_policy|simulator)\.Codat\w+"
"""The classes that DAGs and their tests are made of. They name their source, and so does each call of the hook."""

A_SOURCE = r"https://(docs\.codat\.io|airflow\.apache\.org)/\w"


# -- what is walked ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """A public name and what it says.

    ``heard`` is what the package says of the same name in a base class; ``foreign`` the parameters that a base class
    outside the package has introduced; ``raised`` the errors that the body raises itself.
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
        """The parameters it describes itself."""
        return {name: text for field, name, text in fields(self.doc) if field == "param"}

    @property
    def told_errors(self) -> set[str]:
        return {name for field, name, _ in fields(f"{self.doc}\n\n{self.heard}") if field == "raises"}

    @property
    def described(self) -> dict[str, inspect.Parameter]:
        return {each.name: each for each in self.parameters if each.name in self.told}


def fields(doc: str) -> Iterator[tuple[str, str, str]]:
    for found in re.finditer(r"^:(\w+)(?: (\w+))?:(.*(?:\n +.*)*)", doc, re.MULTILINE):
        yield found[1], found[2] or "", " ".join(found[3].split())


def package_modules() -> list[ModuleType]:
    walked = pkgutil.walk_packages(airflow_provider_codat.__path__, f"{PACKAGE}.")
    return [airflow_provider_codat, *(importlib.import_module(each.name) for each in walked)]


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
    made_by_dataclass = inspect.isclass(thing) and doc.startswith(f"{thing.__name__}(")
    return "" if made_by_dataclass else inspect.cleandoc(doc)


def of_class(name: str, cls: type) -> Subject:
    constructor = function_of(cls.__init__)
    makers = [vars(cls)[maker] for maker in ("__init__", "__post_init__") if maker in vars(cls)]
    return Subject(
        name,
        "class",
        own_doc(cls),
        heard="\n\n".join(own_doc(base) for base in cls.__mro__[1:] if is_ours(base)),
        parameters=tuple(inspect.signature(cls).parameters.values()) if is_ours(constructor) else (),
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
    """Find the constants that are numbers; what stands below one, or above it after ``#:``, is its docstring."""
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
    if function is None or function.__code__.co_filename.startswith("<"):  # made by dataclass
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


def has_a_docstring(subject: Subject) -> Iterator[str]:
    if not subject.doc:
        yield "has no docstring"


def describes_its_parameters(subject: Subject) -> Iterator[str]:
    if any(re.match(rf"{inner}\.", subject.name) for inner in INNER_MODULES):
        return
    known = {name for field, name, _ in fields(f"{subject.doc}\n\n{subject.heard}") if field == "param"}
    for each in subject.parameters:
        if each.name not in known | subject.foreign | SAID_ONCE_FOR_ALL.keys():
            yield f"does not describe {each.name}"


def describes_nothing_else(subject: Subject) -> Iterator[str]:
    for name in subject.told.keys() - {each.name for each in subject.parameters}:
        yield f"describes {name}, which it does not take"


def names_units(subject: Subject) -> Iterator[str]:
    quantities = {f"{name}: {type_name(each.annotation)}": subject.told[name] for name, each in subject.described.items()}
    if subject.kind == "number" or "float" in subject.returns:
        quantities[f"{subject.name.rpartition('.')[2].lower()}: {subject.returns}"] = subject.doc
    for quantity, text in quantities.items():
        if WITHOUT_A_UNIT.fullmatch(quantity):
            continue
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
    for name in subject.raised - NEVER_TOLD.keys():
        if not issubclass(errors()[name], told):
            yield f"does not tell that it raises {name}"


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


def complaints(check: Callable[[Subject], Iterator[str]], modules: list[ModuleType]) -> list[str]:
    return [f"{each.name} {told}" for module in modules for each in subjects_of(module) for told in check(each)]


@pytest.mark.parametrize("check", CHECKS)
def test_every_public_name(check):
    assert complaints(check, package_modules()) == []


# -- the checks, checked -----------------------------------------------------------------------------------------------
