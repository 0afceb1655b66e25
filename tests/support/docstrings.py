"""What the package says of its public names: their docstrings, parameters and errors."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import pkgutil
import re
import textwrap
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import airflow_provider_codat
from airflow_provider_codat.hooks.calls import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

PACKAGE = airflow_provider_codat.__name__

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


@dataclass(frozen=True)
class Subject:
    """A public name and its docstring.

    ``inherited`` holds its docstrings in base classes of the package, ``foreign`` the parameters that come from a base
    class outside the package, and ``raised`` the errors that its own code raises.
    """

    name: str
    kind: str
    doc: str
    inherited: str = ""
    parameters: tuple[inspect.Parameter, ...] = ()
    foreign: frozenset[str] = frozenset()
    returns: str = ""
    raised: frozenset[str] = frozenset()

    @property
    def texts(self) -> dict[str, str]:
        return {name: text for field, name, text in fields(self.doc) if field == "param"}

    @property
    def described(self) -> dict[str, inspect.Parameter]:
        return {each.name: each for each in self.parameters if each.name in self.texts}

    @property
    def undescribed(self) -> list[str]:
        inherited = {name for field, name, _ in fields(self.inherited) if field == "param"}
        known = self.texts.keys() | inherited | self.foreign | SAID_ONCE_FOR_ALL.keys()
        return [each.name for each in self.parameters if each.name not in known]

    @property
    def named_errors(self) -> set[str]:
        return {name for field, name, _ in fields(f"{self.doc}\n\n{self.inherited}") if field == "raises"}

    @property
    def quantities(self) -> dict[str, str]:
        """Return "name: type" -> text of what may be one: of the parameters, and of what a number or function is."""
        found = {f"{name}: {type_name(each.annotation)}": self.texts[name] for name, each in self.described.items()}
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
    """Return the function behind a function, method or property of any kind."""
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
        inherited="\n\n".join(own_doc(base) for base in cls.__mro__[1:] if is_ours(base)),
        parameters=tuple(inspect.signature(cls).parameters.values()) if is_made_here else (),
        raised=frozenset().union(*(errors_raised_in(function_of(maker)) for maker in makers if is_ours(maker))),
    )


def of_attributes(name: str, cls: type) -> Iterator[Subject]:
    calls = {name: each for base in cls.__mro__ for name, each in vars(base).items() if isinstance(each, Call)}
    for attribute, member in (calls | vars(cls)).items():  # a class has the calls of its bases
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
        inherited="\n\n".join(own_doc(each) for each in overridden if is_ours(each)),
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
