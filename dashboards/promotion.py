"""From a row of a sweep to the configuration of a bot: the same strategy, exits, orders and costs."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from config.execution import ExecutionFile
from config.files import RiskFile
from core.errors import BadInput
from strategies import registry

CASH = 10_000


def bot_document(
    run: Mapping[str, Any], row: Mapping[str, Any], bot_id: str, cash: float, enabled: bool
) -> dict[str, Any]:
    """A bot file that trades as the row did. run: the sweep, of strategy_runs; row: one of its combinations.

    What varied goes where it belongs: parameters of the strategy, exits and sizes into `risk`, orders into
    `execution`; what stayed the same comes from the run. BadInput when the strategy is gone.
    """
    own = registry.find(run["strategy_name"]).model.model_fields
    blocks: dict[str, Collection[str]] = {
        "risk": RiskFile.model_fields,
        "execution": ExecutionFile.model_fields,
    }
    described = run["parameters"]
    document: dict[str, Any] = {
        "bot_id": bot_id,
        "strategy": run["strategy_name"],
        "parameters": {**described.get("fixed", {}), **_within(row["parameters"], own)},
        "symbol": row["symbol"],
        "timeframe": row["timeframe"],
        "virtual_balance": cash,
        "enabled": enabled,
        "fee": run["fee"],
        "slippage": run["slippage"],
    }
    for name, fields in blocks.items():
        varied = {key: value for key, value in row["parameters"].items() if key not in own}
        block = {**described.get(name, {}), **_within(varied, fields)}
        if block:
            document[name] = block
    return document


def free_name(strategy: str, taken: Collection[str]) -> str:
    """`ema_crossover_1`, or the first number that no bot has."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "_", strategy)[:56]
    number = 1
    while f"{stem}_{number}" in taken:
        number += 1
    return f"{stem}_{number}"


def refuse_taken(field: str, known: Mapping[str, Any] | None) -> None:
    """BadInput of the field with a new bot's name where `known`, the stored bot of that name, is one."""
    if known is None:
        return
    if known["deleted_at"] is not None:
        raise BadInput(field, f"{known['name']} was deleted: bring it back, or choose another name")
    raise BadInput(field, f"there is a bot {known['name']} already: choose another name")


def _within(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names and value is not None}
