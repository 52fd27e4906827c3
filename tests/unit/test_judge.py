"""Why a candle differs from the exchange's, and which of the two stands."""

from decimal import Decimal

import msgspec
import pytest

from core.candles import Candle
from core.timeframes import Timeframe
from live.collector.judge import Evidence, Known, judge
from tests.reconciliation import MIDNIGHT, SYMBOL


def minute(volume: int = 1, **changes) -> Candle:
    price = Decimal(1)
    made = Candle(SYMBOL, Timeframe.M1, MIDNIGHT, price, price, price, price, Decimal(volume))
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize(
    ("ours", "known", "trades_make", "explanation", "stored"),
    [
        (minute(), Known(), None, "unexplained", None),
        (minute(), Known(equal_before=True), None, "exchange_revision", None),
        (minute(), Known(in_gap=True), None, "known_gap", 2),
        (minute(provisional=True), Known(), None, "known_gap", 2),
        (minute(source="exchange"), Known(), None, "exchange_revision", 2),
        (minute(), Known(), 1, "exchange_row", None),
        (minute(), Known(equal_before=True), 1, "exchange_revision", None),
        (minute(), Known(), 2, "exchange_revision", 2),
        (minute(), Known(in_gap=True), 2, "missing_trades", 2),
        (minute(), Known(), 3, "unexplained", None),
    ],
)
def test_the_explanation_and_who_stands_follow_from_what_is_known(
    ours, known, trades_make, explanation, stored
):
    evidence = None if trades_make is None else Evidence(minute(trades_make))
    judgement = judge(ours, minute(2, source="exchange"), known, evidence)
    assert judgement.difference.explanation == explanation
    assert (judgement.candle and judgement.candle.volume) == stored
