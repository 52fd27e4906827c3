"""A bot's file as the rules of its decisions."""

from decimal import Decimal

import msgspec
import polars as pl

from config.execution import ExecutionFile
from config.exits import ExitsAndSizes
from config.files import BotFile
from core.accounts import Entry, Path, Rules, Sizing
from core.errors import BadInput
from core.fills import Costs, FeeTier
from core.instruments import Instrument
from core.metrics import YEAR_MS
from core.orders import OrderType
from core.risk import RiskLimits
from core.timeframes import Timeframe
from strategies.base import Strategy


def rules_of(config: BotFile, strategy: Strategy, instrument: Instrument) -> Rules:
    """What stays the same from candle to candle. BadInput when a size cannot be known."""
    execution = config.execution
    return Rules(
        bot_name=config.bot_id,
        instrument=instrument,
        costs=costs_of(config),
        limits=msgspec.convert(dict(config.risk), RiskLimits),
        entry=Entry() if execution is None else _entry(execution),
        sizing=sizing_of(config.risk, strategy),
        ticks=execution is not None,
        path=path_of(config),
    )


def path_of(config: BotFile) -> Path:
    """The bars inside candles that a bot's orders meet: none where they wait at an exchange."""
    if config.execution is None or config.broker != "paper":
        return "candle"
    return config.execution.intrabar


def costs_of(config: BotFile) -> Costs:
    """Fees, spread, slippage and impact of a bot."""
    chosen = config.execution or ExecutionFile()
    return Costs(
        fee=config.fee,
        slippage=config.slippage,
        maker_fee=chosen.maker_fee,
        tiers=tuple(FeeTier(tier.traded, tier.maker, tier.taker) for tier in chosen.fee_tiers),
        spread=chosen.spread,
        impact=chosen.impact,
        volume_share=chosen.volume_share,
    )


def sizing_of(risk: ExitsAndSizes, strategy: Strategy) -> Sizing:
    """What a buy spends; with sizing volatility that is a matter of each candle (`volatility_sizing`)."""
    if risk.sizing == "all":
        return Sizing()
    if risk.sizing == "fixed":
        return Sizing(amount=risk.size or Decimal(0), weight=Decimal(0))
    if risk.sizing == "percent":
        return Sizing(weight=risk.size or Decimal(0))
    if risk.sizing == "volatility":
        return Sizing(weight=Decimal(0))
    given = strategy.parameters.risk_percentage
    size = risk.size if risk.size is not None or given is None else Decimal(str(given))
    if size is None:
        raise BadInput("size", "sizing risk needs it, or the strategy's parameter risk_percentage")
    return Sizing(weight=size / (risk.stop_distance or Decimal(1)))


def volatility_sizing(risk: ExitsAndSizes, timeframe: Timeframe, candles: pl.DataFrame) -> Sizing:
    """The part of the account whose annual volatility is the one wanted, by the newest candles: nothing
    before it is known, everything where nothing moves."""
    from strategies.columns import with_indicators
    from strategies.indicators.volatility import realised_volatility

    made = realised_volatility(risk.volatility_candles, YEAR_MS / timeframe.ms)
    measured = with_indicators(candles, {"volatility": made}, timeframe)["volatility"][-1]
    if measured is None:
        return Sizing(weight=Decimal(0))
    if measured == 0:
        return Sizing()
    return Sizing(weight=min(Decimal(str(float(risk.size or 0) / measured)), Decimal(1)))


def _entry(execution: ExecutionFile) -> Entry:
    return Entry(
        kind=OrderType(execution.order),
        offset=execution.offset,
        limit_offset=execution.limit_offset,
        expires=execution.expires,
    )
