"""How far a backtest can be believed: the validation of a result, and what is said about it."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from core.errors import BadInput
from core.statistics.sharpe import expected_maximum_sharpe
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.result import BacktestResult
from pipelines.backtest.run import execute
from pipelines.validation.caveats import caveats
from pipelines.validation.luck import Luck
from pipelines.validation.periods import periods_of
from pipelines.validation.trials import Trials, trials_of
from strategies.sample import sample_candles

MINUTES = 20_000


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    """Two weeks of minutes."""
    return sample_candles(MINUTES)


def validated(candles: pl.DataFrame, trials: int | None = None, **options: Any) -> BacktestResult:
    """An EMA crossover over them, validated."""
    parameters = {"fast_period": 20, "slow_period": 60}
    request = BacktestRequest(
        strategy="ema_crossover", symbol="BTC-USDT", timeframe="1m", parameters=parameters, **options
    )
    return execute(request, candles=candles, validate=True, trials=trials)


def test_the_same_run_has_the_same_validation(candles: pl.DataFrame) -> None:
    """Everything random is seeded: twice the same input is twice the same document, and it is JSON."""
    once, again = (validated(candles).validation for _ in range(2))
    assert once == again
    json.dumps(once, allow_nan=False)


def test_validation_says_nothing_new_about_the_run(candles: pl.DataFrame) -> None:
    """The metrics are those of the run without it; the middle row of costs too; intervals hold the value."""
    result = validated(candles)
    plain = execute(result.request, candles=candles)
    assert plain.validation is None
    assert plain.metrics == result.metrics
    found = result.validation or {}
    costs = {row["multiple"]: row for row in found["costs"]}
    assert costs[1.0]["total_return"] == result.metrics["total_return"]
    assert costs[0.0]["total_return"] > costs[1.0]["total_return"] > costs[2.0]["total_return"]
    assert costs[0.0]["fees"] == 0
    for name in ("total_return", "max_drawdown", "win_rate"):
        low, high = found["intervals"][name]
        assert low <= result.metrics[name] <= high


def test_periods_suit_the_length() -> None:
    """Months are judged by days, days by hours, hours by candles; daily candles are days."""
    units = {}
    for count, timeframe in ((50_000, "1m"), (MINUTES, "1m"), (600, "1m"), (20, "1d"), (100, "4h")):
        made = sample_candles(count, timeframe)
        equity = made.select("timestamp", "close", equity=pl.col("close") * 2)
        length = {"1m": 60_000, "4h": 14_400_000, "1d": 86_400_000}[timeframe]
        found = periods_of(equity, float(equity["equity"][0]), length)
        assert found.returns == pytest.approx(found.market)
        units[count] = (found.unit, round(found.a_year))
    assert units == {
        50_000: ("day", 365),
        MINUTES: ("hour", 8_760),
        600: ("candle", 525_600),
        20: ("day", 365),
        100: ("candle", 2_190),
    }


def test_a_position_is_counted_where_it_was_held(candles: pl.DataFrame) -> None:
    """What timing captured is the log return of the closes over the candles with a position, whatever the
    fill; without costs and with fills at closes it is the log of the account itself."""
    result = validated(candles, fee=0.0, fill="close")
    found = (result.validation or {})["timing"]
    assert found["captured"] == pytest.approx(np.log1p(result.metrics["total_return"]), abs=1e-9)
    assert found["rotations"] == MINUTES - 1


def test_more_trials_deflate_more(candles: pl.DataFrame) -> None:
    """One trial deflates nothing, a thousand do, and without their number nothing is said."""
    one, many, unknown = (
        (validated(candles, trials).validation or {})["sharpe"] for trials in (1, 1_000, None)
    )
    assert one["deflated"] == one["probabilistic"]
    assert many["deflated"] < one["deflated"]
    assert many["expected_maximum"] > 0
    assert unknown["deflated"] is None
    with pytest.raises(BadInput, match="--trials"):
        trials_of(0, None, ("a", "b", "c"), {})


def test_known_trials_deflate_by_their_own_spread() -> None:
    """The deviation of annual ratios is brought to the period; unknown, it is the error of no skill."""
    assert Trials(10, 2.0).deviation_per_period(400, 50) == pytest.approx(0.1)
    assert Trials(10, None).deviation_per_period(400, 101) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("count", "said"),
    [(62, "No trades"), (800, "too few to say anything"), (2_500, "too few to be sure")],
)
def test_few_trades_are_said_aloud(count: int, said: str) -> None:
    """A run with hardly any trades begins its caveats with that, and has no interval of a win rate."""
    result = validated(sample_candles(count))
    assert said in caveats(result.to_document())[0]
    if (result.metrics["trades"] or 0) < 10:
        assert (result.validation or {})["intervals"]["win_rate"] is None


def test_caveats_name_what_flatters(candles: pl.DataFrame) -> None:
    """No fee, fills at the signal's own close, chance: each has its sentence."""
    said = " ".join(caveats(validated(candles, fee=0.0, fill="close", trials=50).to_document()))
    for words in ("No fee", "nobody can trade", "50 variants", "hour returns"):
        assert words in said
    assert "No fee" not in " ".join(caveats(validated(candles).to_document()))
    for costs, named in ({"spread": 0.01}, False), ({"order": "limit", "offset": 0.001}, True):
        document = validated(candles, execution=costs).to_document()
        assert ("No slippage" in " ".join(document["validation"]["warnings"])) == named


@pytest.mark.parametrize("part", ["spread", "impact"])
def test_no_run_is_made_where_a_sale_would_bring_nothing(candles: pl.DataFrame, part: str) -> None:
    """Twice a spread of more than half the lowest price, or twice an impact that takes half of it, is no
    market: that row is left out and the caveats say so; less than that stays."""
    lowest = float(candles["low"].min() or 0)  # type: ignore[arg-type]
    given = {"spread": (0.49 * lowest, 0.51 * lowest), "impact": (0.44, 0.45)}[part]
    for value, multiples in zip(given, ([0, 1, 2], [0, 1]), strict=True):
        document = validated(candles, slippage=0.05, execution={part: value}).to_document()
        rows = document["validation"]["costs"]
        assert [row["multiple"] for row in rows] == multiples
        assert all(row["total_return"] >= -1 for row in rows)
        told = any("Twice the costs" in one for one in document["validation"]["warnings"])
        assert told == (len(multiples) == 2)


def test_luck_of_a_sweep_is_that_of_all_its_rows() -> None:
    """Taken in piece by piece, the spread is that of the whole; rows without a ratio count as trials."""
    ratios = np.random.default_rng(3).normal(1.0, 2.0, 300)
    luck = Luck()
    for piece in (ratios[:1], ratios[1:100], ratios[100:]):
        luck.add(pl.Series([*piece, None], dtype=pl.Float64))
    luck.add(pl.Series([None, None], dtype=pl.Float64))
    found = luck.document()
    assert found["trials"] == 305
    assert found["deviation"] == pytest.approx(np.std(ratios, ddof=1))
    assert found["expected_maximum"] == pytest.approx(expected_maximum_sharpe(305, np.std(ratios, ddof=1)))
    assert Luck().document() == {"trials": 0, "deviation": None, "expected_maximum": None}
