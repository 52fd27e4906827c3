"""The form of a bot: its file's schema as fields, what was entered as a document, errors at their fields."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from config.execution import ExecutionFile
from config.exits import ExitsAndSizes
from config.files import BotFile, ConfigError
from config.limits import BotLimits
from config.settings import Settings
from core.errors import BadInput
from dashboards.formatting import strategy as strategy_words
from dashboards.forms import (
    HIDDEN,
    Schema,
    default_of,
    entered,
    field,
    in_percent,
    parameter_fields,
    properties,
    words,
)
from strategies import registry

FIELD, PARAMETER = "bot", "bot-parameter"
"""Kinds of the form's fields: what every bot has, and what its strategy has."""
ELSEWHERE = frozenset({"strategy_file", "strategy", "parameters", "execution"})
"""Properties that are no fields of their own: the strategy has fields instead of a file."""
FIXED = ("symbol", "timeframe", "virtual_balance")
"""What a bot keeps once it has judged a candle."""
WHERE = "document"
"""How `write_bot` and `check_bot` begin what they say of a document that is no file."""
ALWAYS = frozenset({"symbol", "timeframe", "virtual_balance", "enabled"})
"""Written whatever their value."""
PERCENT = frozenset({"fee", "slippage", "execution.maker_fee"})
"""Fractions of a file that the form has in percent, as that of a backtest does."""
MARKET_ORDERS, OWN_ORDERS = "market orders", "as below"


Entry = tuple[str, Any]


def bot_properties(settings: Settings) -> dict[str, Schema]:
    """Every field of the form but the strategy's parameters: name → schema, choices of this installation
    included."""
    found: dict[str, Schema] = {
        name: schema for name, schema in properties(BotFile).items() if name not in ELSEWHERE
    }
    found["symbol"] = {
        **found["symbol"],
        "enum": list(settings.symbol_list),
        "description": "Collected pairs",
    }
    found["timeframe"] = {
        **found["timeframe"],
        "enum": list(settings.timeframe_list),
        "description": "Length of a candle",
    }
    found["bot_id"] = {**found["bot_id"], "description": "Its name for good: letters, digits, _ and -"}
    found["enabled"] = {**found["enabled"], "description": "Whether a new bot starts at once"}
    found["fee"] = {**found["fee"], "description": "Taker fee of each fill"}
    found["slippage"] = {**found["slippage"], "description": "How much worse than the market a fill is"}
    tiers = found["execution.fee_tiers"]
    found["execution.fee_tiers"] = {
        **tiers,
        "description": f"{tiers['description']}: JSON, fees as fractions",
    }
    for name in PERCENT:
        found[name] = {**found[name], "percent": True}
    found["strategy"] = {
        "enum": registry.names(),
        "default": "ema_crossover",
        "description": "What decides; its parameters are below",
    }
    found["orders"] = {
        "enum": [MARKET_ORDERS, OWN_ORDERS],
        "default": MARKET_ORDERS,
        "description": "Market orders and stops judged on candles, or the settings below",
    }
    return found


def groups(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """(title, names) of the form's parts, in order."""
    known = list(names)
    exits = {f"risk.{name}" for name in ExitsAndSizes.model_fields}
    limits = {f"risk.{name}" for name in BotLimits.model_fields}
    orders = {"orders", *(f"execution.{name}" for name in ExecutionFile.model_fields)}
    first = ("bot_id", "symbol", "timeframe", "virtual_balance", "fee", "slippage", "broker", "enabled")
    return [
        ("Bot", [name for name in first if name in known]),
        ("Exits and sizes", [name for name in known if name in exits]),
        ("Risk limits", [name for name in known if name in limits]),
        ("Orders and costs", ["orders", *(name for name in known if name in orders and name != "orders")]),
    ]


def values_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Name → value of a bot's document, as the fields have them."""
    flat = {name: value for name, value in document.items() if name not in ELSEWHERE and name != "risk"}
    flat["strategy"] = document.get("strategy")
    flat["orders"] = OWN_ORDERS if document.get("execution") is not None else MARKET_ORDERS
    for block in ("risk", "execution"):
        flat |= {f"{block}.{name}": value for name, value in (document.get(block) or {}).items()}
    return {name: value for name, value in flat.items() if value is not None}


def form(settings: Settings, document: Mapping[str, Any], locked: Sequence[str]) -> list[Any]:
    """The form's parts. document: what it begins with; locked: names that cannot be changed any more."""
    schemas, values = bot_properties(settings), values_of(document)
    own = {name for _, names in groups(schemas) for name in names if name in values}
    shown = {name: values.get(name, default_of(schema)) for name, schema in schemas.items()}
    parts = []
    for title, names in groups(schemas):
        fields = [_field(name, schemas[name], shown[name], name in locked) for name in names]
        opened = title == "Bot" or any(
            name in own and values[name] != default_of(schemas[name]) for name in names
        )
        parts.append(_part(title, fields, opened))
    chosen = shown["strategy"]
    strategy = dmc.Select(
        id={"type": FIELD, "name": "strategy"},
        label="Strategy",
        description=schemas["strategy"]["description"],
        data=[{"value": name, "label": strategy_words(name)} for name in schemas["strategy"]["enum"]],
        value=chosen,
        allowDeselect=False,
        searchable=True,
        size="xs",
    )
    inside = html.Div(
        parameters_of(chosen, document.get("parameters") or {}), id="bot-parameters", className="bot-fields"
    )
    parts.insert(1, _part("Strategy", [strategy], True, inside))
    return parts


def parameters_of(strategy: str, values: Mapping[str, Any]) -> list[Any]:
    """The fields of a strategy's parameters; none when it is not known any more."""
    if strategy not in registry.names():
        return []
    fields = parameter_fields(registry.find(strategy).model, PARAMETER, values, frozenset())
    return sorted(fields, key=lambda each: each.id["name"] in HIDDEN)  # those the others do without come last


def _field(name: str, schema: Schema, value: Any, locked: bool) -> Any:
    found = field(name, schema, FIELD, value)
    if locked:
        found.disabled = True
    return found


def _part(title: str, fields: list[Any], opened: bool, *more: Any) -> html.Details:
    return html.Details(
        [html.Summary(title), html.Div(fields, className="bot-fields"), *more],
        open=opened,
        className="form-part",
    )


def read_bot(settings: Settings, fields: Iterable[Entry], parameters: Iterable[Entry]) -> dict[str, Any]:
    """The document that the form describes: what equals its default is left out, so that files stay short.

    BadInput names a field whose text is no JSON.
    """
    schemas = bot_properties(settings)
    given = {name: entered(name, schemas[name], value) for name, value in fields}
    own_orders = given.pop("orders", None) == OWN_ORDERS
    strategy = given.pop("strategy", None)
    document: dict[str, Any] = {"bot_id": given.pop("bot_id", None) or "", "strategy": strategy}
    document["parameters"] = _parameters(strategy, parameters)
    blocks: dict[str, dict[str, Any]] = {"risk": {}, "execution": {}}
    for name, value in given.items():
        if value is None or (name not in ALWAYS and value == default_of(schemas[name])):
            continue
        block, _, inner = name.rpartition(".")
        (blocks[block] if block else document)[inner] = value
    if blocks["risk"]:
        document["risk"] = blocks["risk"]
    if own_orders:
        document["execution"] = blocks["execution"]
    return document


def _parameters(strategy: str | None, entries: Iterable[Entry]) -> dict[str, Any]:
    """What was entered for this strategy; fields of the one before, which may still be shown, are not its."""
    if strategy not in registry.names():
        return {}
    known = properties(registry.find(strategy).model)
    given = {name: entered(name, known[name], value) for name, value in entries if name in known}
    return {name: value for name, value in given.items() if value is not None}


def problem(error: BadInput | ConfigError) -> tuple[str, str]:
    """(name of the field at fault as the form has it, what was expected)."""
    if isinstance(error, BadInput):
        name, message = error.field, error.message
    else:
        name, _, message = str(error).removeprefix(f"{WHERE}: ").partition(": ")
    renamed = {"execution": "orders", "strategy_name": "strategy"}
    if name == "bot_id" and "pattern" in message:
        message = "must be 1 to 64 letters, digits, _ or -"
    elif message.startswith("Decimal input"):
        message = "must be a number"
    name = renamed.get(name, name.removeprefix("parameters."))
    if name in PERCENT:
        message = in_percent(message)
    return name, message.replace("Input should be", "must be").replace("Field required", "must be given")


def marked(
    names: Sequence[str], parameters: Sequence[str], at: str, message: str
) -> tuple[list[str | None], list[str | None], str]:
    """The error of each field, of each parameter, and the line that says it where no field is in sight."""
    fields = [message if name == at else None for name in names]
    inside = [message if name == at and at not in names else None for name in parameters]
    return fields, inside, f"{words(at.replace('.', ': '))}: {message}"
