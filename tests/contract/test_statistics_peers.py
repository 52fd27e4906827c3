"""Metrics and statistics beside other libraries: empyrical, arch and scipy, which only tests import."""

import math
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from core.metrics import DAY_MS, Run, summarise
from core.statistics.bootstrap import optimal_block_length, resample
from core.statistics.description import of_market, of_returns
from core.statistics.sharpe import moments
from core.statistics.superiority import long_run_variance, superiority
from tests.unit.test_statistics import autoregressive


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    """arch's; imported here, for that takes seconds and every worker collects every file."""
    from arch import bootstrap

    return bootstrap


@pytest.fixture(scope="module")
def empyrical() -> ModuleType:
    """The library."""
    import empyrical

    return empyrical


@pytest.fixture
def daily(shared_data: Path) -> np.ndarray:
    """Two years of daily returns of a reference portfolio, a hundredth of them."""
    path = shared_data / "reference" / "empyrical" / "returns.csv"
    returns = pl.read_csv(path, has_header=False).to_series(-1).to_numpy() / 100
    assert returns.size == 504
    return returns


def run_of(daily: np.ndarray, pnl: np.ndarray) -> Run:
    """A run of daily candles with those returns."""
    equity = 10_000 * np.cumprod(1 + daily)
    return Run(
        initial_cash=10_000.0,
        equity=equity,
        close=equity,
        close_ms=np.arange(1, daily.size + 1, dtype=np.int64) * DAY_MS,
        candle_ms=DAY_MS,
        held=daily.size,
        pnl=pnl,
        closed=pnl.size,
        fees=0.0,
        traded=0.0,
    )


@pytest.mark.real_data
def test_metrics_are_those_of_empyrical(daily: np.ndarray, empyrical: ModuleType) -> None:
    """Return, growth, volatility, Sharpe, Sortino, drawdown and Calmar agree to the last digits."""
    ours = summarise(run_of(daily, np.empty(0)))
    theirs = {
        "total_return": empyrical.cum_returns_final(daily),
        "cagr": empyrical.annual_return(daily, annualization=365),
        "volatility": empyrical.annual_volatility(daily, annualization=365),
        "sharpe": empyrical.sharpe_ratio(daily, annualization=365),
        "sharpe_bar": empyrical.sharpe_ratio(daily, annualization=365),
        "sortino": empyrical.sortino_ratio(daily, annualization=365),
        "max_drawdown": empyrical.max_drawdown(daily),
        "calmar": empyrical.calmar_ratio(daily, annualization=365),
    }
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, rel=1e-9)


@pytest.mark.real_data
def test_the_shape_of_returns_is_that_of_empyrical(daily: np.ndarray, empyrical: ModuleType) -> None:
    """Value at risk, its conditional, tail ratio and omega agree, alpha and beta against a market too."""
    ours = of_returns(daily)
    assert ours["value_at_risk"] == pytest.approx(empyrical.value_at_risk(daily))
    assert ours["conditional_value_at_risk"] == pytest.approx(empyrical.conditional_value_at_risk(daily))
    assert ours["tail_ratio"] == pytest.approx(empyrical.tail_ratio(daily))
    assert ours["omega"] == pytest.approx(empyrical.omega_ratio(daily))
    market = np.random.default_rng(1).normal(0, 0.01, daily.size) + daily / 2
    found = of_market(daily, market, 365)
    assert found["beta"] == pytest.approx(empyrical.beta(daily, market))
    assert found["alpha"] == pytest.approx(empyrical.alpha(daily, market, annualization=365), rel=1e-6)


def test_moments_are_those_of_scipy() -> None:
    """Skewness and kurtosis are the moments of the sample, kurtosis not in excess."""
    from scipy import stats

    series = np.random.default_rng(2).standard_t(4, 500) * 0.01 + 0.001
    measured = moments(series)
    assert measured is not None
    assert measured.skewness == pytest.approx(stats.skew(series))
    assert measured.kurtosis == pytest.approx(stats.kurtosis(series, fisher=False))
    assert measured.sharpe == pytest.approx(series.mean() / series.std(ddof=1))


@pytest.mark.parametrize(("n", "factor"), [(50, 0.0), (500, 0.0), (500, 0.5), (1_000, 0.9), (400, -0.6)])
def test_block_length_is_that_of_arch(n: int, factor: float, bootstrap: ModuleType) -> None:
    """The automatic block length is the one the library arch computes, though never below 1."""
    series = autoregressive(n, factor, n)
    expected = float(bootstrap.optimal_block_length(series)["stationary"].iloc[0])
    assert optimal_block_length(series) == pytest.approx(max(expected, 1.0), rel=1e-9)


def test_block_lengths_of_many_series_are_those_of_arch(bootstrap: ModuleType) -> None:
    """Also where the number of lags that matter is a close call."""
    many = np.column_stack([autoregressive(60, 0.4, seed) for seed in range(150)])
    expected = np.maximum(bootstrap.optimal_block_length(many)["stationary"].to_numpy(), 1.0)
    assert [optimal_block_length(column) for column in many.T] == pytest.approx(expected.tolist(), rel=1e-9)


def test_bootstrap_error_of_a_mean_is_that_of_arch(bootstrap: ModuleType) -> None:
    """The deviation of resampled means of a remembering series is arch's and that of the closed form."""
    series = autoregressive(300, 0.6, 3)
    ours = resample(series, {"mean": lambda drawn: drawn.mean(axis=1)}, 8.0, 4_000)["mean"].std()
    theirs = bootstrap.StationaryBootstrap(8, series, seed=1).apply(np.mean, 4_000).std()
    assert ours == pytest.approx(theirs, rel=0.05)
    assert ours == pytest.approx(math.sqrt(long_run_variance(series[:, None], 8.0)[0] / 300), rel=0.05)


def test_superiority_is_that_of_arch(bootstrap: ModuleType) -> None:
    """Unstudentised, the three p-values are those of arch's reality check."""
    random = np.random.default_rng(6)
    benchmark = random.normal(0, 1, 250)
    models = random.normal(0.0, 1, (250, 8)) + np.linspace(-0.5, 0.12, 8)
    test = bootstrap.SPA(-benchmark, -models, block_size=4, reps=4_000, seed=1)
    test.compute()
    ours = superiority(models - benchmark[:, None], 4.0, 4_000, studentise=False)
    assert ours is not None
    assert [ours.lower, ours.consistent, ours.upper] == pytest.approx(list(test.pvalues), abs=0.02)
    assert ours.best == int((models.mean(axis=0)).argmax())
