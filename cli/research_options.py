"""The options that `tcp backtest` and `tcp sweep` share, declared once."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from cli import markets
from cli.execution_options import EXECUTION, execution_of
from core.errors import BadInput

Text = str | None
Number = float | None


def _help(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text)


@dataclass(frozen=True, kw_only=True)
class Research:
    """What was given of them; None is the default of a request or a sweep file."""

    symbol: Annotated[Text, _help("As the exchange writes it, e.g. BTC-USDT.")] = None
    timeframe: Annotated[Text, _help("1m, 5m, 15m, 1h, 4h or 1d.")] = None
    exchange: Annotated[Text, _help("Whose stored candles; default: the exchange in force.")] = None
    start: Annotated[Text, _help("Begin, ISO 8601, UTC unless it names an offset.", "--from")] = None
    end: Annotated[Text, _help("End, as --from.", "--to")] = None
    param: Annotated[list[str], _help("NAME=VALUE, repeatable; the rest by default.")] = field(
        default_factory=list
    )
    candles: Annotated[Path | None, _help("CSV or Parquet file; then no database is needed.")] = None
    timestamps: Annotated[str, _help("What the file's times are: those of the close, or of the open.")] = (
        "close"
    )
    fee: Annotated[Number, _help("Taker fee, a fraction; default 0.001.")] = None
    slippage: Annotated[Number, _help("How much worse than the market each fill is; default 0.")] = None
    cash: Annotated[Number, _help("Cash at the start, quote currency; default 10000.")] = None
    fill: Annotated[Text, _help("open (default): at the next candle's open; close: at the signal's own.")] = (
        None
    )
    fee_currency: Annotated[
        Text,
        _help(
            "What pays a buy's fee: received (coins, as on the exchange) or quote (cash on top). Default: "
            "received with --fill open, quote with --fill close."
        ),
    ] = None
    stop_loss: Annotated[Number, _help("Sell this far below the average cost, a fraction: 0.02 is 2 %.")] = (
        None
    )
    take_profit: Annotated[Number, _help("Sell this far above the average cost, a fraction.")] = None
    trailing_stop: Annotated[
        Number, _help("Sell this far below the highest price since the entry, a fraction.")
    ] = None
    max_candles: Annotated[int | None, _help("Sell after holding for so many candles.")] = None
    sizing: Annotated[
        Text, _help("What a buy spends: all, fixed, percent, risk or volatility; see --size.")
    ] = None
    size: Annotated[
        Number,
        _help(
            "fixed: quote currency; percent: fraction of equity; risk: fraction of equity lost at the stop; "
            "volatility: annual volatility wanted."
        ),
    ] = None
    volatility_candles: Annotated[
        int | None, _help("Candles over which --sizing volatility measures it; default 100.")
    ] = None
    max_daily_loss: Annotated[Number, _help("No buys for the rest of a UTC day that lost this fraction.")] = (
        None
    )
    max_drawdown: Annotated[Number, _help("No buys while this fraction under the highest value so far.")] = (
        None
    )
    order: Annotated[Text, _help("What a buy signal sends: market, limit or stop; see --offset.")] = None
    offset: Annotated[
        Number, _help("Limit this far below, stop this far above the signal's close, a fraction.")
    ] = None
    expires: Annotated[int | None, _help("Candles that a limit or stop entry waits; default 1.")] = None
    maker_fee: Annotated[Number, _help("Fee of a limit entry that rested, a fraction; default: --fee.")] = (
        None
    )
    fee_tiers: Annotated[
        Text,
        _help("TRADED:MAKER:TAKER,…: fees by the value traded in the 30 days before; begins at 0."),
    ] = None
    volume_share: Annotated[
        Number, _help("Largest part of a bar's volume an order takes; the rest waits.")
    ] = None
    spread: Annotated[
        Number, _help("Between bid and ask, quote currency: every fill but a resting one pays half.")
    ] = None
    impact: Annotated[
        Number,
        _help("How much worse an order of a bar's whole volume fills, a fraction; goes with the square."),
    ] = None
    intrabar: Annotated[
        Text,
        _help(
            "Path inside the candles, which decides whether a stop or a profit came first: 1m or trades from "
            "the database and the lake, or a FILE of finer candles or of trades. Without it the worse order "
            "counts."
        ),
    ] = None
    max_position_fraction: Annotated[Number, _help("Largest part of equity in the coin.")] = None
    max_position_value: Annotated[Number, _help("Most the coins may be worth, quote currency.")] = None
    max_order_value: Annotated[Number, _help("Most that one buy spends, quote currency.")] = None
    max_consecutive_losses: Annotated[
        int | None, _help("No buys for the UTC day after so many losing exits in a row.")
    ] = None
    halt_until_reset: Annotated[
        bool | None, _help("A loss, drawdown or run of losses that stops buys stops them for good.")
    ] = None
    cooldown_candles: Annotated[int | None, _help("No buys for so many candles after a losing exit.")] = None
    cooldown_minutes: Annotated[int | None, _help("No buys for so many minutes after one.")] = None
    max_orders_per_hour: Annotated[int | None, _help("No buys after so many orders in 60 minutes.")] = None
    max_orders_per_day: Annotated[int | None, _help("No buys after so many orders in 24 hours.")] = None
    max_price_deviation: Annotated[
        Number, _help("No buys at a close further than this fraction from the one before.")
    ] = None
    max_silent_candles: Annotated[
        int | None, _help("No buys after more candles without a trade; default 5, 0 for no such limit.")
    ] = None
    as_json: Annotated[bool, _help("Print one JSON document.", "--json")] = False

    def values(self) -> dict[str, Any]:
        """The fields of a request that were given, but for the market and the parameters."""
        given = self._given("exchange", "fee", "slippage", "cash", "fill", "fee_currency")
        risk = self._given(*RISK)
        execution = execution_of(self._given(*EXECUTION))
        return given | ({"risk": risk} if risk else {}) | execution

    def parameters(self) -> dict[str, str]:
        """--param NAME=VALUE … by name."""
        return markets.parameters(self.param)

    def check(self) -> None:
        """BadInput for a combination that makes no sense."""
        if self.exchange is not None and self.candles is not None:
            raise BadInput("--exchange", "says whose stored candles to read: leave it out with --candles")

    def _given(self, *names: str) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


GATE = (
    "max_position_fraction",
    "max_position_value",
    "max_order_value",
    "max_consecutive_losses",
    "halt_until_reset",
    "cooldown_candles",
    "cooldown_minutes",
    "max_orders_per_hour",
    "max_orders_per_day",
    "max_price_deviation",
    "max_silent_candles",
)
RISK = (
    "stop_loss",
    "take_profit",
    "trailing_stop",
    "max_candles",
    "sizing",
    "size",
    "volatility_candles",
    "max_daily_loss",
    "max_drawdown",
    *GATE,
)


def with_research_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared options after its own; it gets them as `given`."""
    hints = get_type_hints(Research, include_extras=True)
    shared = [
        Parameter(
            one.name,
            Parameter.KEYWORD_ONLY,
            default=[] if one.default is MISSING else one.default,
            annotation=hints[one.name],
        )
        for one in fields(Research)
    ]
    own = [parameter for name, parameter in signature(command).parameters.items() if name != "given"]

    @wraps(command)
    def with_options(**values: Any) -> None:
        given = Research(**{option.name: values.pop(option.name) for option in shared})
        given.check()
        command(given=given, **values)

    keyword_only = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own]
    with_options.__signature__ = signature(command).replace(parameters=[*keyword_only, *shared])  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
    return with_options
