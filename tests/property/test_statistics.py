"""What must hold of the statistics whatever the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core import metrics
from core.metrics import DAY_MS
from core.statistics.bootstrap import (
    interval,
    max_drawdown_of,
    optimal_block_length,
    sharpe_of,
    stationary_rows,
    total_return_of,
)
from core.statistics.description import of_returns, of_trades
from core.statistics.sharpe import (
    Moments,
    deflated_sharpe,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
)
from core.statistics.superiority import holm, superiority
from core.statistics.timing import timing_test
from core.statistics.trade_order import trade_order

LOSSES = st.floats(-0.6, 0.9, allow_subnormal=False).map(lambda x: round(x, 6))


def series(least: int, most: int) -> st.SearchStrategy[np.ndarray]:
    """Returns a period, from −60 % to +90 %."""
    return arrays(np.float64, st.integers(least, most), elements=LOSSES)


@given(returns=series(1, 60))
def test_resampled_statistics_are_those_of_the_metrics(returns: np.ndarray) -> None:
    """On the series as it is, the statistics of the bootstrap are the metrics of its equity curve."""
    equity = 100 * np.cumprod(1 + returns)
    times = np.arange(1, returns.size + 1, dtype=np.int64) * DAY_MS
    row = returns[None, :]
    assert total_return_of(row)[0] == pytest.approx(equity[-1] / 100 - 1)
    assert max_drawdown_of(row)[0] == pytest.approx(metrics.drawdown(equity, times, 100.0, DAY_MS)[0])
    expected = metrics.sharpe(returns, 365)
    if expected is not None and abs(expected) < 1e9:
        assert sharpe_of(365)(row)[0] == pytest.approx(expected, rel=1e-6)


@given(n=st.integers(1, 300), length=st.floats(1, 50), resamples=st.integers(1, 40), seed=st.integers(0, 99))
def test_resamples_are_made_of_the_series(n: int, length: float, resamples: int, seed: int) -> None:
    """Every resample has the length of the series and only its periods; a seed gives the same ones again."""
    rows = np.concatenate(list(stationary_rows(n, length, resamples, seed)))
    assert rows.shape == (resamples, n)
    assert rows.min() >= 0
    assert rows.max() < n
    assert np.array_equal(rows, np.concatenate(list(stationary_rows(n, length, resamples, seed))))


@given(returns=series(0, 200))
def test_block_lengths_are_possible(returns: np.ndarray) -> None:
    """Between one period and as many as the rule allows."""
    length = optimal_block_length(returns)
    assert 1 <= length <= max(1, np.ceil(min(3 * np.sqrt(returns.size), returns.size / 3)))


@given(
    sharpe=st.floats(-1, 1),
    skewness=st.floats(-1, 1),
    n=st.integers(3, 5_000),
    trials=st.integers(1, 10_000),
    deviation=st.floats(0.001, 1),
)
def test_trials_only_make_less_sure(
    sharpe: float, skewness: float, n: int, trials: int, deviation: float
) -> None:
    """Probabilities are probabilities, and more trials never raise one."""
    measured = Moments(sharpe, skewness, 3 + skewness**2, n)
    one, two = (deflated_sharpe(measured, tried, deviation) for tried in (trials, trials + 1))
    assert 0 <= two <= one <= probabilistic_sharpe(measured) <= 1


@given(sharpe=st.floats(0.01, 1), n=st.integers(3, 5_000), confidence=st.floats(0.6, 0.99))
def test_the_track_record_is_where_the_confidence_is_reached(
    sharpe: float, n: int, confidence: float
) -> None:
    """After the minimum track record the probability is the confidence that was asked for."""
    needed = minimum_track_record(Moments(sharpe, -0.5, 5.0, n), 0.0, confidence)
    assert needed is not None
    # n − 1 stands in the formula of the probability, so a fractional n is fine here.
    reached = probabilistic_sharpe(Moments(sharpe, -0.5, 5.0, needed))  # type: ignore[arg-type]
    assert reached == pytest.approx(confidence, abs=1e-9)


@given(returns=series(0, 80))
def test_moments_do_not_depend_on_the_scale(returns: np.ndarray) -> None:
    """Ten times the returns have the same ratio and shape; kurtosis is at least 1 + skewness²."""
    found, scaled = moments(returns), moments(10 * returns)
    assert (found is None) == (scaled is None)
    if found and scaled:
        assert scaled.sharpe == pytest.approx(found.sharpe, rel=1e-6)
        assert scaled.kurtosis == pytest.approx(found.kurtosis, rel=1e-6)
        assert found.kurtosis >= 1 + found.skewness**2 - 1e-6


@given(market=series(2, 120), shift=st.integers(0, 119), data=st.data())
def test_rotating_both_changes_nothing(market: np.ndarray, shift: int, data: st.DataObject) -> None:
    """The p-value is a count of n rotations, the same when positions and market are moved together."""
    position = data.draw(arrays(np.float64, market.size, elements=st.sampled_from([0.0, 1.0])))
    found = timing_test(position, market)
    moved = timing_test(np.roll(position, shift), np.roll(market, shift))
    assert (found is None) == (moved is None)
    if found and moved:
        assert found.p_value == moved.p_value
        assert 1 <= round(found.p_value * market.size) <= market.size


@given(gains=series(2, 40))
@settings(max_examples=30)
def test_shuffling_trades_only_moves_the_way(gains: np.ndarray) -> None:
    """A shuffled drawdown is never less deep than the worst trade nor than the total loss."""
    found = trade_order(gains, paths=200)
    assert found is not None
    least = min(0.0, float(gains.min()), float(np.prod(1 + gains) - 1))
    assert all(depth <= least + 1e-12 for depth in found.drawdown.values())
    assert sorted(found.drawdown.values()) == list(found.drawdown.values())
    assert 0 <= found.ruin <= 1


@given(values=arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e6, 1e6)))
def test_an_interval_is_inside_its_values(values: np.ndarray) -> None:
    """Its ends are in order and within what was drawn."""
    low, high = interval(values) or (0.0, 0.0)
    assert values.min() <= low <= high <= values.max()


@given(p_values=st.lists(st.floats(0, 1), max_size=30))
def test_correction_never_helps(p_values: list[float]) -> None:
    """A corrected p-value is not below the plain one nor above 1, and the order stays."""
    corrected = holm(p_values)
    assert all(plain <= after <= 1 for plain, after in zip(p_values, corrected, strict=True))
    by_plain = [after for _, after in sorted(zip(p_values, corrected, strict=True))]
    assert by_plain == sorted(by_plain)


@given(advantage=arrays(np.float64, st.tuples(st.integers(10, 40), st.integers(1, 5)), elements=LOSSES))
@settings(max_examples=30)
def test_bounds_of_superiority_are_in_order(advantage: np.ndarray) -> None:
    """lower ≤ consistent ≤ upper, and none is ever zero."""
    found = superiority(advantage, resamples=100)
    if found is not None:
        assert 0 < found.lower <= found.consistent <= found.upper <= 1
        assert 0 <= found.best < advantage.shape[1]


@given(values=series(0, 60))
def test_descriptions_are_numbers_or_none(values: np.ndarray) -> None:
    """Whatever the returns or results, nothing described is NaN or infinite."""
    for described in (of_returns(values), of_trades(values, np.abs(values))):
        assert all(value is None or np.isfinite(value) for value in described.values())
