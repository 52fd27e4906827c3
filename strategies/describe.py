"""Strategies as documents: for `tcp strategies`, for forms, and the JSON Schemas in config/schemas."""

from inspect import getdoc
from typing import Any

from strategies import registry


def describe(name: str) -> dict[str, Any]:
    """Name, what it does, parameters (type, default, bounds, search range), warm-up and indicators by
    default; BadInput when it is not known."""
    strategy = registry.build(name)
    schema = parameter_schema(strategy.name)
    return {
        "name": strategy.name,
        "description": " ".join((getdoc(type(strategy)) or "").split()),
        "parameters": [
            {"name": field, **{key: value for key, value in details.items() if key != "title"}}
            for field, details in schema["properties"].items()
        ],
        "indicators": list(strategy.indicator_names),
        "warmup": strategy.warmup,
        "window": strategy.window,
    }


def parameter_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a strategy's parameters, with its own rule of order in words."""
    model = registry.find(name).model
    schema = model.model_json_schema()
    own = {field: value for field, value in schema["properties"].items() if field != "risk_percentage"}
    schema["properties"] = {**own, "risk_percentage": schema["properties"]["risk_percentage"]}
    rules = [f"{smaller} must be less than {larger}." for smaller, larger in model.ordered]
    schema["description"] = " ".join([" ".join((getdoc(model) or "").split()), *rules])
    return schema


def strategy_file_schema() -> dict[str, Any]:
    """The JSON Schema of config/strategies/*.json: the name decides which parameters are allowed."""
    names = registry.shipped()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "StrategyFile",
        "description": "A strategy and its parameters. The name may also be written as in EMA_Crossover.",
        "type": "object",
        "required": ["strategy_name"],
        "additionalProperties": False,
        "properties": {
            "strategy_name": {"type": "string", "description": f"One of {', '.join(names)}"},
            "parameters": {"type": "object"},
        },
        "allOf": [
            {
                "if": {"properties": {"strategy_name": {"pattern": f"^{_any_case(name)}$"}}},
                "then": {"properties": {"parameters": parameter_schema(name)}},
            }
            for name in names
        ],
    }


def _any_case(name: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in name)
