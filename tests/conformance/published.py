"""Whether the simulator's answers are what Codat's published description of its platform API promises.

The description beside this file is platform API 3.0.0 as Codat published it (https://github.com/codatio/oas). It is
OpenAPI 3.1 by its first line, and says ``nullable`` as 3.0 does. Where the simulator differs from it on purpose, the
difference has a name in :data:`EXCEPTIONS`.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from airflow_provider_codat.simulator.data_types import DATA_TYPES
from airflow_provider_codat.simulator.middleware import Middleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jsonschema import ValidationError
    from starlette.responses import Response

    from airflow_provider_codat.simulator.faults import Fault
    from airflow_provider_codat.simulator.request_log import LoggedRequest

DESCRIPTION = Path(__file__).with_name("codat-platform-openapi.yaml")
_URI = "urn:codat"
_ERROR = "#/components/schemas/ErrorMessage"
_PUSH_OPERATION = "#/components/schemas/PushOperation"
_PUSH = "/companies/{companyId}/connections/{connectionId}/push"

#: Writes, which another description has (https://docs.codat.io/accounting-api): all are answered with a push operation.
WRITES = {
    f"{_PUSH}/bankAccounts/{{accountId}}/bankTransactions": ("post",),
    f"{_PUSH}/{{dataType}}": ("post",),
    f"{_PUSH}/{{dataType}}/{{recordId}}": ("put", "delete"),
    f"{_PUSH}/{{dataType}}/{{recordId}}/{{attachment}}": ("post",),
}
_ITEM = {"type": "object"}
_LIST = {"type": "object", "required": ["results"], "properties": {"results": {"type": "array", "items": _ITEM}}}
_PAGE = {"allOf": [_LIST, {"$ref": "#/components/schemas/PagingInfo"}]}
_DATA = "/companies/{companyId}/data"
_CONNECTION_DATA = "/companies/{companyId}/connections/{connectionId}/data"
#: Reads, which other descriptions have (https://docs.codat.io/lending-api, /banking-api, /commerce-api). The first
#: path that fits counts.
READS = {
    f"{_DATA}/info": _ITEM,
    f"{_CONNECTION_DATA}/commerce-info": _ITEM,
    f"{_DATA}/financials/{{report}}": {
        "type": "object",
        "required": ["currency", "reports", "mostRecentAvailableMonth", "earliestAvailableMonth"],
        "properties": {"reports": {"type": "array", "items": _ITEM}},
    },
    f"{_CONNECTION_DATA}/commerce-locations": _LIST,
    f"{_CONNECTION_DATA}/bankAccounts/{{accountId}}/bankTransactions": _PAGE,
    f"{_DATA}/{{dataType}}": _PAGE,
    f"{_DATA}/{{dataType}}/{{recordId}}": _ITEM,
    f"{_CONNECTION_DATA}/{{dataType}}": _PAGE,
    f"{_CONNECTION_DATA}/{{dataType}}/{{recordId}}": _ITEM,
}
#: Statuses of errors that any operation may answer, whatever the description lists for it:
#: https://docs.codat.io/using-the-api/errors, and 422 by https://docs.codat.io/using-the-api/idempotency.
ERRORS = frozenset({400, 401, 402, 403, 404, 405, 409, 422, 429, 500, 503})
#: Faults whose answer the test has chosen itself.
OF_THE_TEST = frozenset({"status", "gateway", "html"})
#: Answers of more bytes are not kept to be compared with later ones.
LARGEST_KEPT = 100_000
#: How many items of a list are checked: the others are made in the same way.
LONGEST = 20


class Exemption(NamedTuple):
    """What an answer may hold though the description does not let it.

    :param keyword: of the schema, whose check fails.
    :param fields: names of the field that holds it.
    :param allows: whether it may be this.
    """

    keyword: str
    fields: frozenset[str]
    allows: Callable[[Any], bool]

    def is_about(self, error: ValidationError) -> bool:
        """Tell whether it lets pass what the description does not."""
        field = error.absolute_path[-1] if error.absolute_path else None
        return error.validator == self.keyword and field in self.fields and self.allows(error.instance)


#: How an answer may differ from the description, by name.
EXCEPTIONS = {
    "syncSchedule is an object, as another client documents it": Exemption(
        "type",
        frozenset({"syncSchedule"}),
        lambda value: isinstance(value, dict) and set(value) == {"intervalHours", "hourOfDay"},
    ),
    "Processing is a status that clients name": Exemption(
        "enum", frozenset({"status"}), lambda value: value == "Processing"
    ),
    "Queued is the word of tests for a status that nobody knows": Exemption(
        "enum", frozenset({"status"}), lambda value: value == "Queued"
    ),
    "Reconciling and SourceError are the words of tests for statuses of refreshes that nobody knows": Exemption(
        "enum", frozenset({"status", "currentStatus"}), lambda value: value in {"Reconciling", "SourceError"}
    ),
    "a data type that was never refreshed has no currentStatus, as Codat's guide shows it": Exemption(
        "required", DATA_TYPES, lambda value: set(value) == {"dataType"}
    ),
    "a page has up to 5,000 items by the parameter of the request, 2,000 by the field of the answer": Exemption(
        "maximum", frozenset({"pageSize"}), lambda value: value <= 5000
    ),
    "a company's id is what the test wants it to be": Exemption(
        "format", frozenset({"id", "companyId"}), lambda value: value in {"my-id", "same", "company"}
    ),
}


def _unless_null(keyword: str) -> Callable[..., Iterator[ValidationError]]:
    """Return a keyword's check, which has nothing against null where the schema beside it says ``nullable``."""
    check = Draft202012Validator.VALIDATORS[keyword]

    def checked(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
        if not (instance is None and schema.get("nullable") is True):
            yield from check(validator, value, instance, schema)

    return checked


#: Items that have passed, as JSON, with the ``id`` of their schema: most items of a list were in another one.
_passed: set[tuple[int, str]] = set()


def _items(validator: Any, items: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Check each item of an array that has not passed before."""
    for place, item in enumerate(instance if isinstance(instance, list) else ()):
        key = (id(items), json.dumps(item))
        if key not in _passed:
            errors = list(validator.descend(item, items, path=place))
            if not errors:
                _passed.add(key)
            yield from errors


_Validator = extend(
    Draft202012Validator, {"items": _items} | {name: _unless_null(name) for name in ("type", "enum", "$ref")}
)


class Operation:
    """An operation of the API.

    :param answers: the validator of the body by status; None where there is none.
    """

    def __init__(self, path: str, answers: Mapping[int, Any]) -> None:
        self._path = re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
        self.answers = answers

    def is_at(self, path: str) -> bool:
        """Tell whether a request to this path asks for it."""
        return self._path.fullmatch(path) is not None


class Description:
    """The description, compiled."""

    def __init__(self) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first where there is one: ten times as fast
        document = yaml.load(DESCRIPTION.read_text(), loader)  # noqa: S506 - both are safe
        self._registry = Registry().with_resource(_URI, DRAFT202012.create_resource(document))
        self._operations: dict[str, list[Operation]] = {}
        for path, methods in document["paths"].items():
            for method in methods.keys() & {"get", "post", "put", "patch", "delete"}:
                self._add(method, path, methods[method]["responses"])
        for path, methods in WRITES.items():
            for method in methods:
                self._add(method, path, _answer({"$ref": _PUSH_OPERATION}))
        for path, schema in READS.items():
            self._add("get", path, _answer(schema))
        self._error = self._validator({"$ref": _ERROR})
        self._events = {
            event: self._validator(methods["post"]["requestBody"]["content"]["application/json"]["schema"])
            for event, methods in document["webhooks"].items()
        }

    def problems(self, method: str, path: str, status: int, body: bytes) -> list[ValidationError | str]:
        """Return what an answer has that the description does not, or the other way round."""
        if status in ERRORS:
            return list(self._error.iter_errors(json.loads(body)))
        operation = next((each for each in self._operations.get(method, []) if each.is_at(path)), None)
        if operation is None:
            return [f"there is no such operation, but it answers {status}"]
        if status not in operation.answers:
            return [f"answers {status}, documented are {sorted(operation.answers)}"]
        validator = operation.answers[status]
        if validator is None:
            return [f"has a body: {body!r}"] if body else []
        return list(validator.iter_errors(_shortened(json.loads(body))))

    def event_problems(self, event: str, body: bytes) -> list[ValidationError]:
        """Return what the body of a webhook has that the description does not; ``event`` is its name there."""
        return list(self._events[event].iter_errors(json.loads(body)))

    def _add(self, method: str, path: str, responses: Mapping[str, Any]) -> None:
        answers = {
            int(status): self._validator(response["content"]["application/json"]["schema"])
            if "content" in response
            else None
            for status, response in responses.items()
            if status.startswith("2")
        }
        self._operations.setdefault(method.upper(), []).append(Operation(path, answers))

    def _validator(self, schema: Mapping[str, Any]) -> Any:
        whole = json.loads(json.dumps(schema).replace('"#/', f'"{_URI}#/'))
        return _Validator(whole, registry=self._registry, format_checker=FormatChecker(["uuid"]))


def _answer(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"200": {"content": {"application/json": {"schema": schema}}}}


def _shortened(body: Any) -> Any:
    if isinstance(body, dict) and isinstance(body.get("results"), list):
        return body | {"results": body["results"][:LONGEST]}
    return body


@functools.cache
def description() -> Description:
    """Return the description, read and compiled once."""
    return Description()


def differences(method: str, path: str, status: int, body: bytes, *, nulls: bool = False) -> list[str]:
    """Return in words how an answer differs from the description, other than by an exception.

    :param nulls: whether it comes from a simulator that shows all fields of a pending push as null, as it was told to.
    """
    try:
        found = description().problems(method, path, status, body)
    except ValueError as error:
        found = [f"is no JSON: {error}"]
    return [
        f"{method} {path} ({status}): {problem if isinstance(problem, str) else _said(problem)}"
        for problem in found
        if isinstance(problem, str) or not (_is_exception(problem) or (nulls and problem.instance is None))
    ]


def event_differences(event: str, body: bytes) -> list[str]:
    """Return in words how the body of a webhook differs from the description.

    :param event: its type as the description has it, such as ``{dataType}.write.successful``.
    """
    return [f"{event}: {_said(problem)}" for problem in description().event_problems(event, body)]


def _is_exception(error: ValidationError) -> bool:
    return any(exemption.is_about(error) for exemption in EXCEPTIONS.values())


def _said(error: ValidationError) -> str:
    return f"{error.json_path} {error.message[:200]}"


_ID = rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?"
# What begins with a certain character is found in half the time.
_VALUES = re.compile(b'"(?:%b|%b)' % (_ID, _TIME)), re.compile(b"/" + _ID)
_ONE_DIGIT = bytes.maketrans(b"0123456789abcdef", b"0" * 16)


def with_one_digit(text: bytes) -> bytes:
    """Return a text with the digit 0 for all digits of its ids and times, where a quote or a slash is before them.

    The description asks of an id or a time only that it is one, and how long it is. Neither changes here.
    """
    for values in _VALUES:
        text = values.sub(lambda found: found[0].translate(_ONE_DIGIT), text)
    return text


#: What the answers since the last :func:`taken` have been found to be.
_found: list[str] = []


def taken() -> list[str]:
    """Return how answers have differed from the description since the last call."""
    found = _found.copy()
    del _found[: len(found)]  # a server's thread may have found more meanwhile
    return found


def check_all_answers() -> None:
    """Check the answers of every simulator in this process from now on."""
    answer = Middleware.answer

    @functools.wraps(answer)
    async def checked(self: Middleware, scope: Any, fault: Fault | None, entry: LoggedRequest) -> Response:
        response = await answer(self, scope, fault, entry)
        if entry.method != "HEAD" and (fault is None or fault.kind not in OF_THE_TEST):
            body, nulls = bytes(response.body), self._pending_fields == "null"
            if not _was_there(entry.method, entry.path, response.status_code, body, nulls=nulls):
                _found.extend(differences(entry.method, entry.path, response.status_code, body, nulls=nulls))
        return response

    Middleware.answer = checked


def _was_there(method: str, path: str, status: int, body: bytes, *, nulls: bool) -> bool:
    """Tell whether an answer without differences was there that had only other ids and times: most answers were."""
    if len(body) > LARGEST_KEPT:
        return False
    return not _differences_of(
        method, with_one_digit(path.encode()).decode(), status, with_one_digit(body), nulls=nulls
    )


_differences_of = functools.lru_cache(maxsize=10_000)(differences)
