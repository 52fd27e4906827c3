"""A bot and the backtest of all that it does have one name."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from config.files import BotFile
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.result import saved_parameters
from pipelines.backtest.run import execute
from pipelines.backtest.variant import bot_variant

MARKET = {"symbol": "BTC-USDT", "timeframe": "1m"}


@pytest.mark.parametrize(
    ("strategy", "blocks"),
    [
        ("ema_crossover", {}),
        ("ema_crossover", {"risk": {"stop_loss": 0.1, "max_silent_candles": 0}}),
        ("volatility_target", {}),
        ("volatility_target", {"risk": {"max_daily_loss": 0.2}}),
        ("ema_crossover", {"risk": {}, "execution": {"spread": 0.5}}),
        ("ema_crossover", {"execution": {"order": "limit", "offset": 0.01, "expires": 3}}),
    ],
)
def test_a_bot_is_named_as_its_backtest_is(strategy: str, blocks: dict[str, Any]):
    """With and without blocks, where the strategy chooses its sizes too."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    prices = [100.0 + step % 7 for step in range(400)]
    candles = pl.DataFrame(
        {
            "timestamp": [start + timedelta(minutes=1 + step) for step in range(400)],
            **dict.fromkeys(("open", "high", "low", "close"), prices),
            "volume": [1.0] * 400,
        }
    )
    tested = execute(BacktestRequest.read({"strategy": strategy, **MARKET, **blocks}), candles=candles)
    document = {"bot_id": "a", "strategy": strategy, "virtual_balance": 1000, **MARKET, **blocks}
    if "execution" in blocks:  # judged on its candles, as the backtest
        document["execution"] = {**blocks["execution"], "intrabar": "candle"}
    bot = BotFile.model_validate(document)
    assert bot_variant(bot) == saved_parameters(tested)


def test_a_bot_whose_strategy_cannot_be_had_has_none():
    """Its file is kept all the same; what is wrong is said when it is started."""
    document = {"bot_id": "a", "strategy": "nowhere", "virtual_balance": 1000, **MARKET}
    assert bot_variant(BotFile.model_validate(document)) is None
