"""Forms made from JSON Schemas: one field a property, with its bounds said and its error beside it.

A field has the id {"type": kind, "name": property}; properties of nested objects are written
`risk.stop_loss`. Every field keeps what it shows in `value`, so that one callback reads and marks them all.
"""

import json
import re
from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any

import dash_mantine_components as dmc
from pydantic import BaseModel

from core.errors import BadInput
from dashboards.components import prose
from dashboards.formatting import quantity

Schema = Mapping[str, Any]
HIDDEN = frozenset({"risk_percentage"})
"""Parameters that change nothing in a backtest."""
YES_OR_NO = ({"value": "true", "label": "Yes"}, {"value": "false", "label": "No"})
LONG_HINT = 120
"""Characters of a hint from which on its field takes a line of its own."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")
BOUNDS = (
    ("minimum", "from"),
    ("exclusiveMinimum", "above"),
    ("maximum", "to"),
    ("exclusiveMaximum", "below"),
)


def parameter_fields(
    model: type[BaseModel],
    kind: str,
    values: Mapping[str, Any] | None = None,
    hidden: frozenset[str] = HIDDEN,
) -> list[Any]:
    """A field for every property of the model but the hidden ones; `values` go over its defaults."""
    given = values or {}
    return [
        field(name, schema, kind, given.get(name, default_of(schema)))
        for name, schema in properties(model).items()
        if name not in hidden
    ]


@lru_cache(maxsize=64)
def properties(model: type[BaseModel]) -> dict[str, Schema]:
    """Name → schema of everything that a document of this model may say, nested objects laid flat. Read only:
    it is made once for each model."""
    document = model.model_json_schema()
    found: dict[str, Schema] = {}
    _collect(document, document.get("$defs", {}), "", found)
    return found


def _collect(schema: Schema, definitions: Schema, prefix: str, found: dict[str, Schema]) -> None:
    for name, part in schema.get("properties", {}).items():
        inner = plain(part)
        if "$ref" in inner:
            inner = {**definitions[inner["$ref"].rpartition("/")[2]], "default": inner.get("default")}
        if "properties" in inner:
            _collect(inner, definitions, f"{prefix}{name}.", found)
        else:
            found[prefix + name] = part


def field(name: str, schema: Schema, kind: str, value: Any) -> Any:
    """The input that suits a property: a choice, a number or a text. A fraction whose schema says `percent`
    is shown and entered as percent."""
    inner = plain(schema)
    said = hint(schema)
    shared: dict[str, Any] = {
        "id": {"type": kind, "name": name},
        "label": words(name.rpartition(".")[2]) + (", %" if inner.get("percent") else ""),
        "description": prose(said) if "`" in said else said,
        "size": "xs",
        **({"className": "wide"} if len(said) > LONG_HINT else {}),
    }
    if inner.get("type") == "boolean":
        return dmc.Select(**shared, data=list(YES_OR_NO), value=str(bool(value)).lower(), allowDeselect=False)
    if "enum" in inner:
        choices = [str(choice) for choice in inner["enum"]]
        shown = None if value is None else str(value)
        return dmc.Select(**shared, data=choices, value=shown, allowDeselect=False)
    if inner.get("type") in {"integer", "number"}:
        whole = inner["type"] == "integer"
        search = inner.get("search") or {}
        number = quoted(value) if inner.get("percent") and isinstance(value, int | float) else value
        return dmc.NumberInput(
            **shared,
            value="" if number is None else number,
            placeholder="none" if is_optional(schema) else "",
            step=search.get("step", 1 if whole else 0.01 if inner.get("percent") else 0.1),
            allowDecimal=not whole,
            clampBehavior="none",
            thousandSeparator=",",
        )
    if inner.get("type") == "array":
        return dmc.Textarea(
            **shared, value=json.dumps(value) if value else "", autosize=True, placeholder="[]"
        )
    return dmc.TextInput(**shared, value="" if value is None else str(value))


def entered(name: str, schema: Schema, value: Any) -> Any:
    """What a field's `value` means in a document: None where nothing was entered. BadInput for a text that
    should be a JSON list and is none."""
    if value is None or value == "":
        return None
    inner = plain(schema)
    if inner.get("type") == "boolean":
        return value == "true"
    if "enum" in inner:
        return next((choice for choice in inner["enum"] if str(choice) == value), value)
    if inner.get("type") == "array":
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise BadInput(name, f"must be a JSON list: {error.msg} at character {error.colno}") from None
    if inner.get("percent") and isinstance(value, int | float):
        return round(value / 100, 8)
    return value


def quoted(fraction: float) -> float:
    """A fraction as the percentage that its field holds."""
    return round(float(fraction) * 100, 6)


def in_percent(message: str) -> str:
    """What is said of a fraction, as it is said beside a field of percent: 0.1 is 10 %."""
    return _NUMBER.sub(lambda found: f"{quoted(float(found[0])):g}\u2009%", message)


def default_of(schema: Schema) -> Any:
    """The property's default as a form shows it: exact decimals, which schemas write as text, as numbers."""
    default = schema.get("default")
    if isinstance(default, str) and plain(schema).get("type") in {"integer", "number"}:
        number = float(default)
        return int(number) if number.is_integer() else number
    return default


def is_optional(schema: Schema) -> bool:
    """Whether a document may leave it at null."""
    return any(choice.get("type") == "null" for choice in schema.get("anyOf", []))


def plain(schema: Schema) -> dict[str, Any]:
    """The schema of the value itself where null, or a number as text, is allowed too."""
    for choice in schema.get("anyOf", []):
        if choice.get("type") != "null":
            return {**schema, **choice}
    return dict(schema)


def period_field(
    name: str, first: date, last: date, about: str, latest: date | None = None
) -> dmc.DatePickerInput:
    """A stretch of UTC days, both included, until `latest` (`last`) at most; `about` stands below its
    label."""
    return dmc.DatePickerInput(
        id=name,
        label="Period",
        description=about,
        type="range",
        value=[first.isoformat(), last.isoformat()],
        maxDate=(latest or last).isoformat(),
        valueFormat="YYYY-MM-DD",
        allowSingleDateInRange=True,
        size="xs",
    )


def words(name: str) -> str:
    """`fast_period` → `Fast period`."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def _matters(bound: float | None) -> bool:
    """Whether anybody could come near this bound."""
    return bound is not None and abs(bound) < 1e12


def hint(schema: Schema) -> str:
    """What the property means, and its bounds."""
    inner = plain(schema)
    times, unit = (100, "\u2009%") if inner.get("percent") else (1, "")
    said = " ".join(
        f"{word} {quantity(inner[key] * times)}{unit}" for key, word in BOUNDS if _matters(inner.get(key))
    )
    text = str(schema.get("description", ""))
    return f"{text} · {said}" if text and said else text or said
