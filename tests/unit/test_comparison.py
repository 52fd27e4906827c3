"""Runs beside each other: what is significant, and when nothing can be said."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from core.errors import BadInput
from pipelines.reports.comparison import findings
from pipelines.validation.compare import BUY_AND_HOLD, Record, compare

START = datetime(2026, 1, 1, tzinfo=UTC)
CLOSE = np.cumprod(1 + np.random.default_rng(1).normal(0, 0.02, 400)) * 100


def record(name: str, extra: float = 0.0, days: int = 400, skip: int = 0, **fields: Any) -> Record:
    """A run of daily candles that earns the market's returns and `extra` a day, with a little noise."""
    noise = np.random.default_rng(len(name) * 7 + ord(name[-1])).normal(0, 0.002, days)
    market = np.diff(CLOSE[:days], prepend=CLOSE[0]) / np.concatenate((CLOSE[:1], CLOSE[: days - 1]))
    equity = 10_000 * np.cumprod(1 + market + noise + extra)
    times = [START + timedelta(days=n + 1) for n in range(days)]
    frame = pl.DataFrame({"timestamp": times, "equity": equity, "close": CLOSE[:days]}).slice(skip)
    document = {
        "id": name, "strategy": name, "symbol": "BTC-USDT", "timeframe": "1d", "fee": 0.001, "params": {},
        "metrics": {"trades": 100}, "from": str(times[skip]), "to": str(times[-1]),
        "initial_cash": float(equity[skip - 1]) if skip else 10_000.0,
    }  # fmt: skip
    return Record(document | fields, frame.cast({"timestamp": pl.Datetime("us", "UTC")}))


def test_a_steady_advantage_is_found_and_noise_is_not() -> None:
    """What earns 0.1 % a day more is better by 36.5 % a year, what only adds noise is not; best is named."""
    found = compare([record("base"), record("better", 0.001), record("noisy")])
    assert (found["benchmark"], found["period"], found["observations"]) == ("base", "day", 400)
    better, noisy = found["differences"]
    assert better["low"] < 0.365 < better["high"]
    assert better["p_corrected"] < 0.01
    assert noisy["p_corrected"] > 0.05
    assert noisy["p_corrected"] >= noisy["p_value"]
    assert found["superior"]["best"] == "better"
    assert found["superior"]["p_value"] < 0.01
    assert found["notes"] == []


def test_p_values_pay_for_their_number() -> None:
    """The same difference is less sure beside nine others."""
    alone = compare([record("base"), record("x0", 0.0002)])
    many = compare([record("base"), *(record(f"x{n}", 0.0002 if n == 0 else 0.0) for n in range(10))])
    assert many["differences"][0]["p_value"] == alone["differences"][0]["p_value"]
    assert many["differences"][0]["p_corrected"] > alone["differences"][0]["p_corrected"]


def test_one_run_is_compared_with_its_market() -> None:
    """A run alone, or any on request, is set against buying and holding the first one's market."""
    for runs in ([record("better", 0.001)], [record("better", 0.001), record("base")]):
        found = compare(runs, "first" if len(runs) == 1 else BUY_AND_HOLD)
        assert found["benchmark"] == BUY_AND_HOLD
        assert len(found["differences"]) == len(runs)
        assert found["differences"][0]["p_value"] < 0.01


def test_runs_are_compared_where_they_overlap() -> None:
    """A run that began later shares its days; that is said."""
    found = compare([record("base"), record("later", skip=100)])
    assert found["observations"] == 300
    assert any("Different stretches" in note for note in found["notes"])


@pytest.mark.parametrize(("begin", "end"), [(600, 0), (0, 600), (600, 600), (0, 0)])
def test_ragged_days_are_not_paired(begin: int, end: int) -> None:
    """A day that one run saw a part of, at its beginning or at its end, is no pair with a whole one."""
    days = 40
    times = pl.Series(pl.int_range(1, days * 1440 + 1, eager=True) * 60_000_000 + 1_767_225_600_000_000)
    noise = np.random.default_rng(2).normal(0, 1e-5, times.len())
    frame = pl.DataFrame(
        {
            "timestamp": times.cast(pl.Datetime("us", "UTC")),
            "equity": 100 * np.cumprod(1 + noise),
            "close": 100 * np.cumprod(1 + noise),
        }
    )
    document = record("whole").document | {"timeframe": "1m", "initial_cash": 100.0}
    whole = Record(document, frame)
    ragged = Record(document | {"id": "ragged"}, frame.slice(begin, frame.height - begin - end))
    assert compare([whole, ragged])["observations"] == days - (begin > 0) - (end > 0)


def test_a_benchmark_is_named_or_refused() -> None:
    """Any of the runs can be the benchmark; another name is refused, and so is a run that comes twice."""
    runs = [record("base"), record("better", 0.001)]
    assert compare(runs, "better")["differences"][0]["difference"] < 0
    with pytest.raises(BadInput, match="--benchmark: 'best' is none of first, buy_and_hold, base, better"):
        compare(runs, "best")
    with pytest.raises(BadInput, match="twice"):
        compare([record("base"), record("base")])


def test_too_short_a_record_is_said_and_has_no_p_value() -> None:
    """Nine common days give no difference but a sentence; so does a run without a curve."""
    few = compare([record("base", days=9), record("better", 0.01, days=9)])
    assert few["differences"] == []
    assert few["superior"] is None
    assert "9 common periods: too few to compare." in few["notes"]
    bare = record("bare")
    none = compare([record("base"), Record(bare.document, None)])
    assert none["differences"] == []
    assert "No equity curve of bare" in none["notes"][0]
    unknown = record("base")
    assert unknown.equity is not None
    alone = compare([Record(unknown.document, unknown.equity.drop("close"))])
    assert "not kept" in alone["notes"][0]


def test_differences_of_the_setting_are_said() -> None:
    """Other markets, fees and hardly any trades are named beside the numbers."""
    other = record("other", symbol="ETH-USDT", fee=0.0, metrics={"trades": 3})
    said = " ".join(findings([record("base").document, other.document], compare([record("base"), other])))
    for words in ("BTC-USDT, ETH-USDT", "Different fees", "Fewer than 10 trades: other", "not significant"):
        assert words in said


def test_hours_stand_in_for_days() -> None:
    """Five days of minutes are compared by their hours."""
    minutes = 5 * 1440
    random = np.random.default_rng(3)
    times = pl.Series(pl.int_range(1, minutes + 1, eager=True) * 60_000_000 + 1_767_225_600_000_000)
    market = random.normal(0, 1e-3, minutes)

    def run(name: str, extra: float) -> Record:
        frame = pl.DataFrame(
            {
                "timestamp": times.cast(pl.Datetime("us", "UTC")),
                "equity": 100 * np.cumprod(1 + market + extra + random.normal(0, 1e-5, minutes)),
                "close": 100 * np.cumprod(1 + market),
            }
        )
        return Record(record(name).document | {"timeframe": "1m", "initial_cash": 100.0}, frame)

    found = compare([run("a", 0.0), run("b", 1e-6)])
    assert (found["period"], found["observations"]) == ("hour", 120)
    assert found["differences"][0]["difference"] == pytest.approx(525_600e-6, rel=0.3)
    assert any("Few days" in note for note in found["notes"])
