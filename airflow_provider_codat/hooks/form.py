"""The fields of a ``codat`` connection: one table for the parser and for the form of every Airflow version.

Every Airflow process loads this module with the provider's description, so it imports only the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

DEFAULT_HOST = "https://api.codat.io"

# -- values ------------------------------------------------------------------------------------------------------------


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _integer(value: Any) -> int:
    number = _number(value)
    if not number.is_integer():
        raise ValueError(value)
    return int(number)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _boolean(value: Any) -> bool:
    meant = value if isinstance(value, bool) else {"true": True, "false": False}.get(_string(value).strip().lower())
    if meant is None:
        raise ValueError(value)
    return meant


_READ = {"number": _number, "integer": _integer, "string": _string, "boolean": _boolean}


# -- fields ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StandardField:
    """A field that every connection has. The form shows help for it only as a placeholder."""

    label: str
    placeholder: str


@dataclass(frozen=True, kw_only=True)
class ExtraField:
    """A key of the connection's extra.

    :param help: a sentence or two for a reader of the form alone.
    :param unit: the unit of a number; default empty, for a count.
    :param above: a number has to be larger than this; default ``None``, for no bound.
    :param least: a number has to be at least this; default ``None``, for no bound.
    :param is_secret: whether neither a form nor an error shows its value; default ``False``.
    """

    label: str
    help: str
    type: Literal["number", "integer", "string", "boolean"]
    default: Any
    unit: str = ""
    above: int | None = None
    least: int | None = None
    choices: tuple[str, ...] = ()
    is_secret: bool = False

    def read(self, value: Any) -> Any:
        """Return the setting for a value of the extra. A URI, and the form of Airflow 2.11, give every value as text.

        :raises ValueError: the value is not allowed.
        """
        setting: Any = _READ[self.type](value)
        if (
            (self.above is not None and setting <= self.above)
            or (self.least is not None and setting < self.least)
            or (self.choices and setting not in self.choices)
        ):
            raise ValueError(value)
        return setting

    @property
    def expected(self) -> str:
        """The allowed values, for an error message."""
        if self.type == "boolean":
            return "true or false"
        if self.choices:
            return " or ".join(map(repr, self.choices))
        if self.type == "string":
            return "text"
        kind = "a whole number" if self.type == "integer" else "a number"
        bound = f"of {self.least} or more" if self.above is None else f"above {self.above}"
        return f"{self.unit}{', ' if self.unit else ''}{kind} {bound}"

    @property
    def description(self) -> str:
        """The help text. For a number it includes the bound and the default."""
        is_number = self.type in ("number", "integer")
        return f"{self.help} Give {self.expected}; the default is {self.default:g}." if is_number else self.help

    @property
    def schema(self) -> dict[str, Any]:
        """The field as JSON schema. Airflow's form reads ``minimum`` and ignores ``exclusiveMinimum``."""
        schema = {
            "type": [self.type, "null"],
            "format": "password" if self.is_secret else None,
            "default": self.default,
            "minimum": self.least if self.above is None else self.above,
            "exclusiveMinimum": self.above,
            "enum": [None, *self.choices] if self.choices else None,
            "values_display": {"null": "not set"} if self.choices else None,
        }
        return {key: value for key, value in schema.items() if value is not None}


STANDARD_FIELDS = {
    "host": StandardField("Base URL", DEFAULT_HOST),
    # Airflow 3.3.1 and 3.3.2 do not test a connection without a port: https://github.com/apache/airflow/pull/73298.
    "port": StandardField("Port", "443; Airflow 3.3.1 and 3.3.2 do not test a connection without it"),
    # The form of Airflow 3 shows about 66 characters of a placeholder.
    "password": StandardField("API key", 'Codat Portal, Developers > API keys: the key or "Basic ..." header'),
}
HIDDEN_FIELDS = ("schema", "login", "extra")

EXTRA_FIELDS: dict[str, ExtraField] = {
    "connect_timeout": ExtraField(
        label="Connect timeout",
        help="How long to wait for a connection to be made.",
        type="number",
        default=10.0,
        unit="seconds",
        above=0,
    ),
    "read_timeout": ExtraField(
        label="Read timeout",
        help="How long to wait for the next bytes of an answer.",
        type="number",
        default=60.0,
        unit="seconds",
        above=0,
    ),
    "max_attempts": ExtraField(
        label="Attempts",
        help="How many times a request is sent at most, where sending it again is safe and may help.",
        type="integer",
        default=5,
        least=1,
    ),
    "retry_for": ExtraField(
        label="Retry time",
        help="How long reads, and requests that cannot have been sent, are sent again, even after all attempts.",
        type="number",
        default=120.0,
        unit="seconds",
        least=0,
    ),
    "max_retry_wait": ExtraField(
        label="Longest retry wait",
        help="The longest pause between two attempts; where Codat asks for a longer one, the task fails instead.",
        type="number",
        default=60.0,
        unit="seconds",
        least=0,
    ),
    "requests_per_minute": ExtraField(
        label="Requests per minute",
        help="How many requests all processes together send in any minute; Codat may block an address beyond 1,000.",
        type="integer",
        default=900,
        least=10,
    ),
    "max_concurrent_requests": ExtraField(
        label="Concurrent requests",
        help="How many checks of one kind a triggerer has under way at once for one company; Codat allows 10 in all.",
        type="integer",
        default=10,
        least=1,
    ),
    "sync_schedule_shape": ExtraField(
        label="Sync schedule shape",
        help="How sync schedules are written where Codat's answers do not show it: integer (24) or object"
        " ({intervalHours: 24}). Leave it empty unless Codat refuses a schedule; empty writes integers.",
        type="string",
        default=None,
        choices=("integer", "object"),
    ),
    "allow_http": ExtraField(
        label="Allow plain http",
        help="Permits a base URL of http:// on another machine. The API key then travels in the clear.",
        type="boolean",
        default=False,
    ),
    "webhook_secrets": ExtraField(
        label="Webhook secrets",
        help="Signing secrets of webhook consumers, from the Codat Portal, separated by spaces, for the receiver in the"
        " API server. Give the old and the new one during a rotation.",
        type="string",
        default=None,
        is_secret=True,
    ),
}


# -- forms -------------------------------------------------------------------------------------------------------------


def declared_form() -> dict[str, Any]:
    """Return the form for the provider's description, where Airflow 3.2 and later read it."""
    return {
        "conn-fields": {
            name: {"label": field.label, "description": field.description, "schema": field.schema}
            for name, field in EXTRA_FIELDS.items()
        },
        "ui-field-behaviour": {name.replace("_", "-"): value for name, value in field_behaviour().items()},
    }


def field_behaviour() -> dict[str, Any]:
    """Return how to show the standard fields. Airflow 3 ignores that the extra is hidden, and shows it as JSON."""
    return {
        "hidden_fields": list(HIDDEN_FIELDS),
        "relabeling": {name: field.label for name, field in STANDARD_FIELDS.items()},
        "placeholders": {name: field.placeholder for name, field in STANDARD_FIELDS.items()},
    }


def form_widgets() -> dict[str, Any]:
    """Return the fields of the extra as form widgets, for Airflow 2.11 and 3.1.

    Airflow 3.1 replaces the classes imported here by stand-ins. It has no stand-in for a field of decimal numbers.
    """
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from wtforms import BooleanField, IntegerField, PasswordField, StringField
    from wtforms.validators import Optional, any_of

    classes = {"boolean": BooleanField, "integer": IntegerField}

    def widget(field: ExtraField) -> Any:
        validators = [Optional(), any_of(list(field.choices)) if field.choices else _validator(field)]
        text_widget = BS3PasswordFieldWidget if field.is_secret else BS3TextFieldWidget
        return (PasswordField if field.is_secret else classes.get(field.type, StringField))(
            field.label,
            description=field.description,
            default=f"{field.default:g}" if field.type == "number" else field.default,
            validators=validators,
            **({} if field.type == "boolean" else {"widget": text_widget()}),
        )

    return {name: widget(field) for name, field in EXTRA_FIELDS.items()}


def _validator(field: ExtraField) -> Callable[[Any, Any], None]:
    def validate(_: Any, filled: Any) -> None:
        from wtforms.validators import ValidationError  # not above, because Airflow 3.1 has no stand-in for it

        try:
            field.read(filled.data)
        except ValueError:
            raise ValidationError(f"Give {field.expected}.") from None

    return validate
