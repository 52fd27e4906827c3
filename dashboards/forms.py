"""Forms made from schemas: one field a parameter, with its bounds said and its error beside it."""

from typing import Any

import dash_mantine_components as dmc
from pydantic import BaseModel

from dashboards.formatting import quantity

HIDDEN = frozenset({"risk_percentage"})
"""Parameters that change nothing in a backtest."""


def parameter_fields(model: type[BaseModel], kind: str, values: dict[str, Any] | None = None) -> list[Any]:
    """A field for every property of the model's JSON schema; ids are {"type": kind, "name": property}."""
    properties = model.model_json_schema().get("properties", {})
    values = values or {}
    return [
        _field(name, schema, {"type": kind, "name": name}, values.get(name, schema.get("default")))
        for name, schema in properties.items()
        if name not in HIDDEN
    ]


def _field(name: str, schema: dict[str, Any], identity: dict[str, str], value: Any) -> Any:
    shared = {"id": identity, "label": words(name), "description": hint(schema), "size": "xs"}
    schema = plain(schema)
    if "enum" in schema:
        return dmc.Select(**shared, data=[str(choice) for choice in schema["enum"]], value=str(value))
    if schema.get("type") == "boolean":
        return dmc.Switch(id=identity, label=words(name), checked=bool(value), size="xs")
    if schema.get("type") in {"integer", "number"}:
        whole = schema["type"] == "integer"
        search = schema.get("search") or {}
        return dmc.NumberInput(
            **shared,
            value=value,
            step=search.get("step", 1 if whole else 0.1),
            allowDecimal=not whole,
            clampBehavior="none",
            thousandSeparator="",
        )
    return dmc.TextInput(**shared, value="" if value is None else str(value))


def plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of the value itself where null is allowed too."""
    for choice in schema.get("anyOf", []):
        if choice.get("type") != "null":
            return {**schema, **choice}
    return schema


def words(name: str) -> str:
    """`fast_period` → `Fast period`."""
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def hint(schema: dict[str, Any]) -> str:
    """What the parameter means, and its bounds."""
    inner = plain(schema)
    low = inner.get("minimum", inner.get("exclusiveMinimum"))
    high = inner.get("maximum", inner.get("exclusiveMaximum"))
    bounds = [
        f"from {quantity(low)}" if low is not None else "",
        f"to {quantity(high)}" if high is not None else "",
    ]
    said = " ".join(part for part in bounds if part)
    text = schema.get("description", "")
    return f"{text} · {said}" if text and said else text or said
