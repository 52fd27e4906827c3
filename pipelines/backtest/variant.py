"""Under which parameters a run is kept, and which of them a bot's backtest would have."""

from collections.abc import Container
from typing import Any

from config.files import BotFile
from core.errors import BadInput
from pipelines.backtest.execution import Execution
from pipelines.backtest.risk import Risk


def variant(
    parameters: dict[str, Any], risk: Risk | None, execution: Execution | None, sizes: Container[str]
) -> dict[str, Any]:
    """All parameters of a strategy with what its risk and execution blocks set; blocks that set nothing are
    left out, and so is what of the risk block the strategy chose itself (`sizes`, names of fields)."""
    said = risk.document() if risk else {}
    blocks = {
        "risk": {name: value for name, value in said.items() if name not in sizes},
        "execution": execution.document() if execution else {},
    }
    return parameters | {name: block for name, block in blocks.items() if block}


def bot_variant(bot: BotFile) -> dict[str, Any] | None:
    """What a backtest of all that this bot does is kept under, with its strategy's defaults filled in; None
    where no backtest can do it, or the strategy cannot be had: who starts the bot says why."""
    from pipelines.backtest.parity_orders import execution_of
    from strategies.registry import build
    from strategies.sizes import sizes_of

    asked = Risk.of_bot(bot.risk)
    try:
        strategy = build(bot.strategy or "", bot.parameters, bot.timeframe)
        sizes = {} if Risk.sized(asked, strategy) == asked else sizes_of(strategy)
        execution = None if bot.execution is None else execution_of(bot.execution)
    except BadInput:
        return None
    if execution is not None and bot.execution is not None:
        path = None if bot.execution.intrabar == "candle" else bot.execution.intrabar
        execution = execution.model_copy(update={"intrabar": path})
    return variant(strategy.parameters.model_dump(exclude_none=True), asked, execution, sizes)
