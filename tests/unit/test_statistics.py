"""Statistics of validation against published examples, independent computations and a second library."""

import math

import numpy as np
import pytest

from core.statistics.bootstrap import (
    interval,
    max_drawdown_of,
    optimal_block_length,
    resample,
    sharpe_of,
    stationary_rows,
    total_return_of,
    win_rate_of,
)
from core.statistics.sharpe import (
    Moments,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    moments,
    probabilistic_sharpe,
)
from core.statistics.superiority import difference, holm, superiority
from core.statistics.timing import timing_test
from core.statistics.trade_order import trade_order


def autoregressive(n: int, factor: float, seed: int) -> np.ndarray:
    """A series that remembers `factor` of its last value."""
    noise = np.random.default_rng(seed).normal(size=n)
    series = np.empty(n)
    last = 0.0
    for t in range(n):
        last = series[t] = factor * last + noise[t]
    return series


@pytest.mark.parametrize(("skewness", "kurtosis", "published"), [(0.0, 3.0, 0.982), (-2.448, 10.164, 0.913)])
def test_probabilistic_sharpe_meets_the_paper(skewness: float, kurtosis: float, published: float) -> None:
    """Bailey and López de Prado (2012): 24 months at an annual 1.59 are 98.2 % sure if normal, 91.3 % not."""
    measured = Moments(1.59 / math.sqrt(12), skewness, kurtosis, 24)
    assert probabilistic_sharpe(measured) == pytest.approx(published, abs=1e-3)


@pytest.mark.parametrize(
    ("periods", "skewness", "kurtosis", "years"),
    [(250, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_track_record_meets_the_paper(periods: int, skewness: float, kurtosis: float, years: float) -> None:
    """Bailey and López de Prado (2012): years until an annual 2 is above 1 with 95 % confidence."""
    measured = Moments(2 / math.sqrt(periods), skewness, kurtosis, 100)
    needed = minimum_track_record(measured, 1 / math.sqrt(periods))
    assert needed is not None
    assert needed / periods == pytest.approx(years, abs=5e-3)


def test_no_track_record_makes_a_poor_ratio_good() -> None:
    """A ratio that is not above the benchmark has no minimum track record."""
    assert minimum_track_record(Moments(0.05, 0.0, 3.0, 100), 0.05) is None


@pytest.mark.parametrize(
    ("skewness", "kurtosis", "trials", "published"),
    [(-3.0, 10.0, 100, 0.9004), (-3.0, 10.0, 46, 0.9505), (0.0, 3.0, 88, 0.9505)],
)
def test_deflated_sharpe_meets_the_paper(
    skewness: float, kurtosis: float, trials: int, published: float
) -> None:
    """Bailey and López de Prado (2014): five years of days, annual 2.5, a variance of 1/2 among trials."""
    measured = Moments(2.5 / math.sqrt(250), skewness, kurtosis, 1250)
    assert deflated_sharpe(measured, trials, math.sqrt(0.5 / 250)) == pytest.approx(published, abs=1e-3)


def test_expected_maximum_is_that_of_a_simulation() -> None:
    """The best of 50 draws of no skill is on average what the formula says, within one in fifty."""
    best = np.random.default_rng(1).normal(0, 0.3, (20_000, 50)).max(axis=1).mean()
    assert expected_maximum_sharpe(50, 0.3) == pytest.approx(best, rel=0.02)
    assert expected_maximum_sharpe(1, 0.3) == 0


@pytest.mark.parametrize("series", [[], [0.1], [0.1, 0.2], [0.0] * 50, [0.01] * 50])
def test_what_does_not_vary_has_no_moments(series: list[float]) -> None:
    """Too short or constant series have no ratio to speak of."""
    assert moments(np.array(series, dtype=np.float64)) is None


def test_blocks_have_their_mean_length() -> None:
    """Neighbours in a resample are neighbours in the series but where a block begins, one time in six."""
    rows = np.concatenate(list(stationary_rows(200, 6.0, 500)))
    assert rows.shape == (500, 200)
    follows = (rows[:, 1:] == (rows[:, :-1] + 1) % 200).mean()
    # A new block begins where the old one would have gone on in one of 200 cases.
    assert follows == pytest.approx(5 / 6 + 1 / 6 / 200, abs=0.005)
    assert np.bincount(rows.ravel(), minlength=200).min() > 300


def test_intervals_cover_the_truth() -> None:
    """A 95 % interval of the Sharpe ratio of remembering returns holds the true one about 95 times of 100."""
    inside = 0
    for seed in range(120):
        series = 0.1 + autoregressive(400, 0.3, seed)
        drawn = resample(series, {"sharpe": sharpe_of(1)}, optimal_block_length(series), 400, seed)
        low, high = interval(drawn["sharpe"]) or (0.0, 0.0)
        inside += low <= 0.1 * math.sqrt(1 - 0.3**2) <= high
    assert 0.86 <= inside / 120 <= 0.99


def test_statistics_of_resamples_by_hand() -> None:
    """+10 %, −50 %, +20 %: 34 % lost, 50 % drawdown, two of three won; a first loss counts from the start."""
    drawn = np.array([[0.1, -0.5, 0.2], [-0.2, 0.0, 0.5]])
    assert total_return_of(drawn) == pytest.approx([-0.34, 0.2])
    assert max_drawdown_of(drawn) == pytest.approx([-0.5, -0.2])
    assert win_rate_of(drawn) == pytest.approx([2 / 3, 1 / 3])
    assert sharpe_of(365)(drawn)[0] == pytest.approx(drawn[0].mean() / drawn[0].std(ddof=1) * math.sqrt(365))
    assert np.isnan(sharpe_of(365)(np.zeros((1, 3)))[0])


def test_a_wiped_out_path_is_a_total_loss() -> None:
    """A return of −1 ends the path: nothing comes back."""
    drawn = np.array([[0.5, -1.0, 3.0]])
    assert total_return_of(drawn)[0] == -1
    assert max_drawdown_of(drawn)[0] == -1


def test_undefined_resamples_make_no_interval() -> None:
    """When more than one resample in twenty has no value, there is no interval."""
    values = np.arange(100.0)
    assert interval(values, 0.9) == pytest.approx((4.95, 94.05))
    values[:6] = np.nan
    assert interval(values) is None


def test_rotations_are_counted_one_by_one() -> None:
    """The p-value by Fourier transform is the one by a plain loop over all rotations."""
    random = np.random.default_rng(4)
    market = random.normal(0, 0.01, 257)
    position = np.repeat(random.integers(0, 2, 52), 5)[:257].astype(np.float64)
    found = timing_test(position, market)
    assert found is not None
    sums = [float(np.roll(position, s) @ np.log1p(market)) for s in range(257)]
    assert found.captured == pytest.approx(sums[0])
    assert found.expected == pytest.approx(np.mean(sums))
    assert found.p_value == sum(value >= sums[0] - 1e-12 for value in sums) / 257


def test_a_seer_passes_and_the_market_does_not() -> None:
    """Holding exactly before gains is significant; always holding has no timing to test."""
    market = np.random.default_rng(5).normal(0, 0.01, 500)
    found = timing_test((market > 0).astype(np.float64), market)
    assert found is not None
    assert found.p_value == 1 / 500
    assert timing_test(np.ones(500), market) is None
    assert timing_test(np.zeros(500), market) is None


def test_p_values_of_no_skill_are_even() -> None:
    """Positions that know nothing fall below p = 0.1 in about one case of ten."""
    below = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        position = np.repeat(random.integers(0, 2, 40), 10).astype(np.float64)
        found = timing_test(position, random.normal(0, 0.01, 400))
        below += found is not None and found.p_value <= 0.1
    assert 0.06 <= below / 300 <= 0.14


def test_every_order_of_three_trades() -> None:
    """The quantiles of the shuffled drawdown are those of all six orders."""
    gains = np.array([0.5, -0.2, -0.3])
    found = trade_order(gains, paths=6_000)
    assert found is not None
    # The two losses follow each other in four of six orders (−44 %); else 30 % or 20 % … then 30 %.
    assert found.drawdown["p05"] == pytest.approx(-0.44)
    assert found.drawdown["p95"] == pytest.approx(-0.3)
    assert trade_order(gains[:1]) is None


def test_ruin_by_counting() -> None:
    """Of the four draws of +100 % and −50 % two touch −50 % at once and one more never; one in four loses."""
    found = trade_order(np.array([1.0, -0.5]), ruin_at=0.5, paths=20_000)
    assert found is not None
    assert found.loss == pytest.approx(0.25, abs=0.01)
    assert found.ruin == pytest.approx(0.5, abs=0.01)


def test_the_best_of_many_lucky_ones_is_no_discovery() -> None:
    """Of fifty candidates without skill the best is hardly ever found superior, a skilled one is."""
    found, alone = 0, 0
    for seed in range(60):
        luck = np.random.default_rng(seed).normal(0, 0.01, (200, 50))
        tested = superiority(luck, 1.0, 300)
        assert tested is not None
        found += tested.consistent <= 0.05
        alone += difference(luck[:, int(luck.mean(axis=0).argmax())], np.zeros(200), 300).p_value <= 0.05  # type: ignore[union-attr]
    assert found <= 8
    assert alone >= 30  # what a test of the best alone would have claimed
    skilled = np.random.default_rng(7).normal(0, 0.01, (200, 50))
    skilled[:, 11] += 0.004
    tested = superiority(skilled, 1.0)
    assert tested is not None
    assert tested.best == 11
    assert tested.consistent < 0.01


def test_nothing_to_compare_is_none() -> None:
    """Few periods or candidates that equal the benchmark give no p-value."""
    assert superiority(np.zeros((100, 3))) is None
    assert superiority(np.ones((9, 1))) is None
    assert difference(np.ones(50), np.ones(50)) is None
    assert difference(np.arange(9.0), np.zeros(9)) is None


def test_a_difference_is_found_where_there_is_one() -> None:
    """Two series that share the market differ significantly by what one adds steadily."""
    random = np.random.default_rng(8)
    market = random.normal(0, 0.02, 300)
    better = market + 0.001 + random.normal(0, 0.002, 300)
    found = difference(better, market)
    assert found is not None
    assert found.low < 0.001 < found.high
    assert found.p_value < 0.001
    same = difference(market + random.normal(0, 0.002, 300), market)
    assert same is not None
    assert same.p_value > 0.05


def test_holm_meets_its_textbook_example() -> None:
    """0.01, 0.04, 0.03, 0.005 become 0.03, 0.06, 0.06, 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
