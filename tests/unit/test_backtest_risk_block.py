"""A risk block that makes no sense is refused with its field."""

from typing import Any

import pytest

from core.errors import BadInput
from pipelines.backtest.request import BacktestRequest


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ({"stop_loss": 1}, "risk.stop_loss"),
        ({"take_profit": 0}, "risk.take_profit"),
        ({"trailing_stop": -0.1}, "risk.trailing_stop"),
        ({"max_candles": 0}, "risk.max_candles"),
        ({"max_position_fraction": 2}, "risk.max_position_fraction"),
        ({"stoploss": 0.1}, "risk.stoploss"),
        ({"sizing": "kelly"}, "risk.sizing"),
        ({"sizing": "risk", "size": 0.01}, "sizing"),
        ({"sizing": "percent"}, "size"),
        ({"sizing": "percent", "size": 1.5}, "size"),
        ({"size": 100}, "size"),
    ],
)
def test_a_wrong_block_is_named(block: dict[str, Any], field: str) -> None:
    """A wrong limit or size is one line that names the field."""
    with pytest.raises(BadInput) as caught:
        BacktestRequest.read({"strategy": "x", "symbol": "BTC-USDT", "timeframe": "1m", "risk": block})
    assert caught.value.field == field
