"""What a request may ask for: each parameter is declared once, for reading it and for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from chopsky_trace import moments
from chopsky_trace.server.problems import ProblemError

MOST_CHARS = 1_000
NUL = "\x00"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a query; of its JSON Schema type, format, enum, minimum, maximum and default are read."""

    name: str
    about: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string", "maxLength": MOST_CHARS})

    @property
    def default(self) -> Any:
        return self.schema.get("default")

    def read(self, text: str) -> Any:
        """The value that a text stands for.

        Raises:
            ProblemError: 400: it stands for none.
        """
        try:
            return self._read(text)
        except ValueError as error:
            raise ProblemError(400, f"The parameter {self.name} {error}") from None

    def _read(self, text: str) -> Any:
        if len(text) > MOST_CHARS or NUL in text:
            raise ValueError(f"must have at most {MOST_CHARS} characters, none of them NUL")
        schema = self.schema
        if "enum" in schema and text not in schema["enum"]:
            raise ValueError(f"must be one of {', '.join(schema['enum'])}")
        match schema["type"], schema.get("format"):
            case "integer", _:
                return self._integer(text)
            case "boolean", _:
                if text not in ("true", "false"):
                    raise ValueError("must be true or false")
                return text == "true"
            case _, "uuid":
                try:
                    return UUID(text)
                except ValueError:
                    raise ValueError("must be a uuid") from None
            case _, "moment":
                return _moment(text)
            case _:
                return text

    def _integer(self, text: str) -> int:
        low, high = self.schema["minimum"], self.schema["maximum"]
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(high)) and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    def openapi(self) -> dict[str, Any]:
        """The Parameter Object."""
        return {"name": self.name, "in": "query", "description": self.about, "schema": self.schema}


def _moment(text: str) -> datetime:
    try:
        # A plus that was not escaped is a blank here.
        found = moments.moment(text.replace(" ", "+") if text[-6:-5] == " " else text)
    except ValueError:
        raise ValueError("must be like 24h or 7d, or an ISO 8601 time like 2026-01-31T12:00:00Z") from None
    if found.tzinfo is None:
        raise ValueError("must name its time zone, like 2026-01-31T12:00:00Z")
    return found


def read_query(parameters: Sequence[Parameter], query: bytes) -> dict[str, Any]:
    """The values of all parameters, None or the default for those that are not given.

    Raises:
        ProblemError: 400: a parameter is unknown (its filter would be missed), there twice, or of no such value.
    """
    values = {parameter.name: parameter.default for parameter in parameters}
    known = {parameter.name: parameter for parameter in parameters}
    seen: set[str] = set()
    for name, text in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in known:
            raise ProblemError(400, f"There is no parameter of that name here: it takes {', '.join(known) or 'none'}")
        if name in seen:
            raise ProblemError(400, f"The parameter {name} is there twice")
        seen.add(name)
        values[name] = known[name].read(text)
    return values


def read_fields(schemas: Mapping[str, dict[str, Any]], told: Mapping[str, Any]) -> dict[str, Any]:
    """The values of all fields of a JSON object, None or the default for those that are not given.

    Of their JSON Schemas type, enum, minimum, maximum, minLength, maxLength and default are read.

    Raises:
        ProblemError: 400: a field is unknown, or has no such value.
    """
    unknown = told.keys() - schemas.keys()
    if unknown:
        raise ProblemError(400, f"There is no field of that name here: it takes {', '.join(schemas)}")
    for name, value in told.items():
        wrong = _wrong(schemas[name], value)
        if wrong:
            raise ProblemError(400, f"The field {name} {wrong}")
    return {name: schema.get("default") if told.get(name) is None else told[name] for name, schema in schemas.items()}


def _wrong(schema: dict[str, Any], value: Any) -> str | None:
    """What is wrong with a value, if anything is."""
    kinds: list[str] = schema.get("type", [])
    if kinds and not any(_is(kind, value) for kind in kinds):
        return f"must be of type {' or '.join(kinds)}"
    if "enum" in schema and value not in schema["enum"]:
        return f"must be one of {', '.join(str(one) for one in schema['enum'] if one is not None)}"
    if isinstance(value, str) and not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        return f"must have {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    if _is("number", value) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"must be from {schema['minimum']:g} to {schema['maximum']:g}"
    return None


def _is(kind: str, value: Any) -> bool:
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return value is None if kind == "null" else isinstance(value, str)


def limit(default: int, most: int) -> Parameter:
    """How many at most."""
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return Parameter("limit", "Most of them on a page.", schema)


def text(name: str, about: str) -> Parameter:
    """Any text."""
    return Parameter(name, about)


def choice(name: str, about: str, values: Sequence[str], default: str | None = None) -> Parameter:
    """One of several."""
    schema: dict[str, Any] = {"type": "string", "enum": list(values)}
    return Parameter(name, about, schema if default is None else schema | {"default": default})


def moment(name: str, about: str) -> Parameter:
    """A time, or how long ago."""
    known = {"anyOf": [{"format": "date-time"}, {"pattern": "^[0-9]{1,6}[smhdw]$"}]}
    about = f"{about} An ISO 8601 time with its zone, or how long ago: 30m, 24h, 7d, 2w."
    return Parameter(name, about, {"type": "string", "format": "moment", **known})


def flag(name: str, about: str, default: bool | None = None) -> Parameter:
    """Yes or no."""
    schema: dict[str, Any] = {"type": "boolean"}
    return Parameter(name, about, schema if default is None else schema | {"default": default})
