"""The kernel of orders against a naive account in exact decimals, for every option it has."""

from datetime import timedelta
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backtest.compiled import interpreted
from pipelines.backtest.engine import run
from pipelines.backtest.execution import Execution
from pipelines.backtest.exits import Bars, walk_exits
from pipelines.backtest.filling import Book
from pipelines.backtest.gate import new_memory
from pipelines.backtest.guarded import rules_of
from pipelines.backtest.intrabar import bars_of_candles, bars_of_trades, lay_under
from pipelines.backtest.ordered import lay, terms_of
from pipelines.backtest.orders import walk_orders
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.risk import Risk
from strategies.base import Strategy
from strategies.columns import resample
from strategies.evaluate import evaluate
from strategies.sample import sample_candles
from tests.naive_orders import bars_by_candle, naive
from tests.property.test_exits import Given, maybe, wild_candles

D = Decimal
PLAIN: dict[str, Any] = {"strategy": "given", "symbol": "X-Y", "timeframe": "1m"}


def with_volume(candles: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The candles with volumes around what an account of 10,000 buys; none where none was."""
    volume = np.random.default_rng(seed).exponential(150.0, candles.height)
    return candles.with_columns(volume=pl.when(pl.col("volume") > 0).then(pl.Series(volume)).otherwise(0.0))


TIERS = [
    {"traded": 0, "maker": 0.002, "taker": 0.003},
    {"traded": 15_000, "maker": 0.001, "taker": 0.002},
    {"traded": 60_000.5, "maker": 0.0, "taker": 0.0005},
]

executions = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([("market", 0.0), ("limit", 0.0037), ("limit", 0.0), ("stop", 0.0041)]),
        "expires": st.sampled_from([1, 2, 5]),
        "fees": st.sampled_from([{}, {"maker_fee": 0.0002}, {"fee_tiers": TIERS}]),
        "volume_share": st.sampled_from([None, 0.1, 0.5]),
        "spread": st.sampled_from([0.0, 0.05]),
        "impact": st.sampled_from([0.0, 0.1]),
    }
)
risks = st.fixed_dictionaries(
    {
        "stop_loss": maybe,
        "take_profit": maybe,
        "trailing_stop": maybe,
        "max_candles": st.sampled_from([None, 1, 3, 9]),
        "max_position_fraction": st.sampled_from([D(1), D("0.6")]),
    }
)
sizes = st.sampled_from([{}, {"sizing": "fixed", "size": D(3_000)}, {"sizing": "percent", "size": D("0.4")}])


@st.composite
def markets(draw: st.DrawFn) -> tuple[pl.DataFrame, Given]:
    """Hourly candles over some days with volumes, and signals on any of them."""
    count = draw(st.integers(1, 90))
    candles = wild_candles(count, draw(st.integers(0, 9_999)), draw(st.sampled_from([0.0, 0.3])))
    random = np.random.default_rng(draw(st.integers(0, 9_999)))
    often = draw(st.sampled_from([0.1, 0.5, 0.9]))
    signals = Given(list(random.random(count) < often), list(random.random(count) < 0.15))
    return with_volume(candles, draw(st.integers(0, 9_999))), signals


def compared(
    strategy: Strategy, candles: pl.DataFrame, request: BacktestRequest, path: pl.DataFrame | None
) -> None:
    """The engine's equity, times, reasons, fees and profits are the naive account's."""
    laid = lay_under(candles, path, Timeframe(request.timeframe))
    with localcontext(prec=50):
        equity, account = naive(bars_by_candle(laid), evaluate(strategy, candles), request)
    outcome = run(strategy, candles, request, path=path)
    assert outcome.equity["equity"].to_list() == pytest.approx([float(e) for e in equity], rel=1e-9)
    trades = outcome.trades
    assert trades["exit_reason"].to_list() == [reason for _, _, reason, _, _ in account.trades]
    assert trades["entry_time"].to_list() == [entry for entry, *_ in account.trades]
    assert trades["exit_time"].to_list() == [leave for _, leave, *_ in account.trades]
    fees, pnl = [float(f) for *_, f, _ in account.trades], [float(p) for *_, p in account.trades]
    assert trades["fees"].to_list() == pytest.approx(fees, rel=1e-9, abs=1e-9)
    assert trades["pnl"].to_list() == pytest.approx(pnl, rel=1e-9, abs=1e-6)
    assert outcome.metrics["fees"] == pytest.approx(sum(fees), rel=1e-9, abs=1e-9)


def options(drawn: dict[str, Any]) -> dict[str, Any]:
    """The drawn execution as a document."""
    order, offset = drawn["kind"]
    plain = {name: drawn[name] for name in ("expires", "volume_share", "spread", "impact")}
    return {"order": order, "offset": offset, **drawn["fees"], **plain}


@given(markets(), executions, risks, sizes, st.sampled_from([None, "quote"]))
@settings(max_examples=200, deadline=None)
def test_every_order_and_cost_equals_a_naive_account(
    market: tuple[pl.DataFrame, Given],
    execution: dict[str, Any],
    risk: dict[str, Any],
    size: dict[str, Any],
    pays: str | None,
) -> None:
    """Market, limit and stop entries, expiry, maker fees, tiers, spread, slippage, impact, partial fills, all
    exits and sizes: equity of every candle, and time, reason, fees and profit of every trade."""
    candles, strategy = market
    request = BacktestRequest(
        strategy="given",
        symbol="BTC-USDT",
        timeframe="1h",
        slippage=0.0005,
        fee_currency=pays,
        risk=risk | size,
        execution=options(execution),
    )
    if not (candles["volume"] > 0).any():
        return
    compared(strategy, candles, request, None)


@given(markets(), executions, risks)
@settings(max_examples=40, deadline=None)
def test_python_walks_what_compiled_code_walks(
    market: tuple[pl.DataFrame, Given], execution: dict[str, Any], risk: dict[str, Any]
) -> None:
    """A short run is walked by the functions that the kernels were written as: every number is the same."""
    candles, strategy = market
    request = BacktestRequest.read(
        {"strategy": "given", "symbol": "BTC-USDT", "timeframe": "1h", "risk": risk | {"max_drawdown": "0.2"}}
    )
    judged = evaluate(strategy, candles)
    buys, sells = judged["buy"].to_numpy(writable=True), judged["sell"].to_numpy(writable=True)
    laid = lay(candles, None, 0, Timeframe.H1)
    rules, terms = (
        rules_of(request.risk or Risk(), request),
        terms_of(Execution.model_validate(options(execution)), request),
    )
    weights, most = np.ones(1), int(buys.sum()) + 1
    finest = laid.bars
    bars = Bars(finest.open, finest.high, finest.low, finest.close, finest.traded, finest.day, finest.closed)
    for kernel, before in (
        (walk_exits, (bars, buys, sells, weights, rules)),
        (walk_orders, (finest, buys, sells, weights, rules, terms)),
    ):
        told = []
        for walk in (kernel, interpreted(kernel)):
            book = Book(
                np.zeros(buys.size),
                np.zeros((most, 5), np.int64),
                np.zeros((most, 6)),
                np.zeros((most, 2), np.int64),
                np.zeros(1),
            )
            end = (book,) if kernel is walk_orders else book[:3]
            with np.errstate(all="ignore"):
                told.append(
                    (walk(*before, request.cash, new_memory(rules), *end), *(part.tobytes() for part in book))
                )
        assert told[0] == told[1]


@given(markets(), risks, sizes, st.sampled_from([None, "quote"]))
@settings(max_examples=150, deadline=None)
def test_without_options_it_is_the_kernel_of_exits(
    market: tuple[pl.DataFrame, Given], risk: dict[str, Any], size: dict[str, Any], pays: str | None
) -> None:
    """Empty execution options change nothing: equity and trades are those without, to the last digits."""
    candles, strategy = market
    common = {"strategy": "given", "symbol": "BTC-USDT", "timeframe": "1h", "slippage": 0.0005}
    plain = run(strategy, candles, BacktestRequest(**common, fee_currency=pays, risk=risk | size))
    same = BacktestRequest(**common, fee_currency=pays, risk=risk | size, execution={})
    ordered = run(strategy, candles, same)
    assert ordered.equity["equity"].to_list() == pytest.approx(plain.equity["equity"].to_list(), rel=1e-12)
    exact = ("entry_time", "exit_time", "exit_reason")
    assert ordered.trades.select(exact).equals(plain.trades.select(exact))
    assert ordered.trades["pnl"].to_list() == pytest.approx(plain.trades["pnl"].to_list(), rel=1e-9, abs=1e-9)
    assert ordered.signals.equals(plain.signals)


@given(
    st.integers(0, 999),
    st.integers(0, 999),
    st.sampled_from(["minutes", "trades", "half"]),
    executions,
    risks,
)
@settings(max_examples=80, deadline=None)
def test_the_path_inside_candles_equals_a_naive_account(
    seed: int, chosen: int, inside: str, execution: dict[str, Any], risk: dict[str, Any]
) -> None:
    """On minutes or trades below quarter hours every fill happens in the bar where its price was reached; a
    candle that the path does not cover exactly is taken as a whole."""
    minutes = sample_candles(15 * 40, seed=seed).with_columns(
        pl.col("open", "high", "low", "close").round(2), volume=pl.col("volume") * 40
    )
    candles = resample(minutes, Timeframe.M15, Timeframe.M1)
    random = np.random.default_rng(chosen)
    strategy = Given(list(random.random(40) < 0.5), list(random.random(40) < 0.2))
    path = bars_of_candles(minutes)
    if inside == "trades":
        path = _trades(minutes)
    if inside == "half":
        path = path.gather(np.sort(random.choice(path.height, path.height // 2, replace=False)))
    tight = {name: value and value / 7 for name, value in risk.items() if name not in ("max_candles",)}
    request = BacktestRequest(
        strategy="given",
        symbol="BTC-USDT",
        timeframe="15m",
        risk=tight | {"max_candles": risk["max_candles"], "max_position_fraction": D(1)},
        execution=options(execution),
    )
    compared(strategy, candles, request, path)


def _trades(minutes: pl.DataFrame) -> pl.DataFrame:
    """Four trades a minute that make its candle; one in a minute without volume makes none."""
    rows = []
    for m in minutes.filter(pl.col("volume") > 0).iter_rows(named=True):
        begin = m["timestamp"] - timedelta(minutes=1)
        prices = (m["open"], m["low"], m["high"], m["close"])
        rows += [(begin + timedelta(seconds=15 * n), p, m["volume"] / 4) for n, p in enumerate(prices)]
    schema = {"timestamp": pl.Datetime("us", "UTC"), "price": pl.Float64, "size": pl.Float64}
    return bars_of_trades(pl.DataFrame(rows, schema=schema, orient="row"))


def test_covered_candles_are_counted() -> None:
    """Every quarter is covered by its minutes; one whose minutes say something else is not."""
    minutes = sample_candles(15 * 20)
    candles = resample(minutes, Timeframe.M15, Timeframe.M1)
    request = BacktestRequest(
        strategy="given", symbol="BTC-USDT", timeframe="15m", execution={"intrabar": "1m"}
    )
    strategy = Given([True] * 20, [False] * 20)
    path = bars_of_candles(minutes)
    assert run(strategy, candles, request, path=path).covered == 20
    wrong = path.with_columns(high=pl.when(pl.int_range(pl.len()) == 17).then(1e6).otherwise("high"))
    assert run(strategy, candles, request, path=wrong).covered == 19
    assert run(strategy, candles, request).covered == 0


def test_the_path_decides_which_exit_came_first() -> None:
    """A candle that touches profit and stop is a loss as a whole, and a profit where its minutes say so."""
    minutes = sample_candles(5).with_columns(
        open=pl.Series([100.0, 100.0, 103.0, 100.0, 96.0]),
        high=pl.Series([100.0, 103.0, 103.0, 100.0, 96.0]),
        low=pl.Series([100.0, 100.0, 100.0, 96.0, 96.0]),
        close=pl.Series([100.0, 103.0, 100.0, 96.0, 96.0]),
        volume=pl.lit(5.0),
    )
    before = minutes.with_columns(
        pl.col("timestamp") - timedelta(minutes=5), open=100.0, high=100.0, low=100.0, close=100.0
    )
    candles = resample(pl.concat([before, minutes]), Timeframe.M5, Timeframe.M1)
    block = {"stop_loss": 0.02, "take_profit": 0.02}
    request = BacktestRequest(
        strategy="given", symbol="BTC-USDT", timeframe="5m", fee=0.0, risk=block, execution={}
    )
    strategy = Given([True, False], [False, False])
    whole = run(strategy, candles, request).trades
    assert whole["exit_reason"].to_list() == ["stop_loss"]
    fine = run(strategy, candles, request, path=bars_of_candles(minutes)).trades
    assert fine["exit_reason"].to_list() == ["take_profit"]
    assert fine["exit_price"].to_list() == [102.0]
    assert fine["exit_time"].to_list() == [minutes["timestamp"][1]]


@pytest.mark.parametrize("execution", [None, {}], ids=["exits", "orders"])
def test_a_gap_beyond_the_profit_fills_at_the_open(execution: dict[str, Any] | None) -> None:
    """The open comes first in time: one above the profit takes it there, though the candle fell through the
    stop later."""
    candles = sample_candles(3).with_columns(
        open=pl.Series([100.0, 100.0, 110.0]),
        high=pl.Series([100.0, 100.0, 111.0]),
        low=pl.Series([100.0, 100.0, 90.0]),
        close=pl.Series([100.0, 100.0, 91.0]),
        volume=pl.lit(5.0),
    )
    request = BacktestRequest(
        **PLAIN, fee=0.0, risk={"stop_loss": 0.02, "take_profit": 0.05}, execution=execution
    )
    (trade,) = run(Given([True, False, False], [False] * 3), candles, request).trades.to_dicts()
    assert (trade["exit_reason"], trade["exit_price"]) == ("take_profit", 110.0)


@pytest.mark.parametrize(
    ("execution", "field"),
    [
        ({"offset": 0.01}, "offset"),
        ({"order": "limit", "offset": 1.0}, "execution.offset"),
        ({"order": "iceberg"}, "execution.order"),
        ({"order": "limit", "expires": 0}, "execution.expires"),
        ({"volume_share": 0}, "execution.volume_share"),
        ({"spread": -1}, "execution.spread"),
        ({"impact": float("nan")}, "execution.impact"),
        ({"maker_fee": 0.0, "fee_tiers": TIERS}, "maker_fee"),
        ({"fee_tiers": TIERS[1:]}, "fee_tiers"),
        ({"fee_tiers": TIERS[::-1]}, "fee_tiers"),
        ({"patience": 3}, "execution.patience"),
    ],
)
def test_wrong_options_are_named(execution: dict[str, Any], field: str) -> None:
    """A wrong option is one line that names the field."""
    values = {"strategy": "x", "symbol": "BTC-USDT", "timeframe": "1m", "execution": execution}
    with pytest.raises(BadInput) as caught:
        BacktestRequest.read(values)
    assert caught.value.field == field


def test_volume_has_to_be_known_where_it_decides() -> None:
    """A part of no volume would fill nothing for ever: refused. So are orders that wait with fill close."""
    candles = sample_candles(50).with_columns(volume=0.0)
    strategy = Given([True] * 50, [False] * 50)
    for option in ({"volume_share": 0.1}, {"impact": 0.1}):
        request = BacktestRequest(strategy="given", symbol="X-Y", timeframe="1m", execution=option)
        with pytest.raises(BadInput, match="need candles with a volume"):
            run(strategy, candles, request)
    values = {"strategy": "x", "symbol": "X-Y", "timeframe": "1m", "fill": "close", "execution": {}}
    with pytest.raises(BadInput, match="not below every price"):
        run(strategy, candles, BacktestRequest(**PLAIN, execution={"spread": 1e6}))
    with pytest.raises(BadInput, match="fill open"):
        BacktestRequest.read(values)
