"""Figures: valid for the plotting library, and right about what they show."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import plotly.graph_objects as go
import polars as pl
import pytest

from dashboards.figures.panes import is_overlay
from dashboards.figures.portfolio import calendar_figure, profit_figure, profits
from dashboards.figures.price import marker_text, marker_time, price_figure
from dashboards.figures.run import equity_figure, fills_of, returns_figure, trades_figure
from dashboards.figures.style import painted
from dashboards.theme import BOTH, DARK, LIGHT

START = datetime(2026, 11, 20, tzinfo=UTC)
MINUTE = 60_000
BUY = {
    "id": "a:1",
    "t": 1_763_600_000_000,
    "side": "buy",
    "price": 61_000.5,
    "quantity": 0.25,
    "fees": 1.0,
    "pnl": None,
}
SELL = BUY | {"id": "a:2", "side": "sell", "pnl": -12.345, "t": BUY["t"] + MINUTE}


def candles(count=400):
    """A rising frame of 1m candles."""
    closes = [100.0 + n for n in range(count)]
    return pl.DataFrame(
        {
            "timestamp": [START + timedelta(minutes=n + 1) for n in range(count)],
            "open": [close - 1 for close in closes],
            "high": [close + 2 for close in closes],
            "low": [close - 2 for close in closes],
            "close": closes,
            "volume": [float(n % 7) for n in range(count)],
        },
        schema_overrides={"timestamp": pl.Datetime("us", "UTC")},
    )


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_price_figure_is_valid_and_shows_the_newest_candles(scheme):
    """The library accepts the figure; the first view ends behind the last candle and holds 150 of them."""
    frame = candles()
    indicators = frame.select("timestamp", ema=pl.col("close") - 3, rsi=pl.lit(55.0))
    figure = price_figure(frame, [BUY, SELL], indicators, MINUTE, 1, scheme, "BTC", "USDT")
    go.Figure(figure)
    kinds = [trace["meta"]["kind"] for trace in figure["data"]]
    assert kinds == ["candles", "volume", "buy", "sell", "indicator", "indicator"]
    first, last = figure["layout"]["xaxis"]["range"]
    times = figure["data"][0]["x"]
    assert sum(1 for time in times if first <= time <= last) == 150
    assert last > times[-1]
    assert figure["data"][2]["meta"]["cents"] == 2
    colours = DARK if scheme == "dark" else LIGHT
    assert figure["layout"]["xaxis"]["gridcolor"] == colours["grid"]


def test_indicators_off_the_price_scale_get_their_own_pane():
    """An average is drawn over the price, each oscillator in a pane below with decimals of its own; lines of
    one family share theirs."""
    frame = candles()
    small = {"macd": pl.lit(0.0000123), "macd_signal": pl.lit(None, pl.Float64)}
    indicators = frame.select("timestamp", ema=pl.col("close") - 3, rsi=pl.lit(5.0), **small)
    figure = price_figure(frame, [], indicators, MINUTE, 1, "dark")
    assert [trace["yaxis"] for trace in figure["data"][4:]] == ["y", "y3", "y4", "y4"]
    hovers = [trace["hovertemplate"] for trace in figure["data"][4:7]]
    assert [hover.partition(":,")[2][:3].rstrip("f}") for hover in hovers] == [".1", ".3", ".8"]
    domains = [figure["layout"][name]["domain"] for name in ("yaxis", "yaxis3", "yaxis4", "yaxis2")]
    assert all(upper[0] >= lower[1] for upper, lower in pairwise(domains))
    assert "macd, macd signal" in [label["text"] for label in figure["layout"]["annotations"]]
    go.Figure(figure)
    assert not is_overlay(pl.Series([None, None], dtype=pl.Float64), frame["close"])


def test_an_empty_market_still_makes_a_figure():
    """No candles is a figure without a view, not an error."""
    go.Figure(price_figure(candles(0), [], None, MINUTE, 2, "dark"))


def test_a_marker_sits_on_the_candle_that_holds_its_fill():
    """A candle is labelled by its close; a fill at the very open belongs to the one that begins."""
    assert marker_time(60_000, MINUTE) == 120_000
    assert marker_time(119_999, MINUTE) == 120_000
    assert marker_time(120_000, MINUTE) == 180_000


def test_a_marker_tells_quantity_price_and_profit():
    """The hover says what was traded, at what price, and what a sale made."""
    assert marker_text(BUY, 1, "BTC", "USDT") == "▲ Buy 0.25 BTC @ 61,000.5"
    assert marker_text(SELL, 1, "BTC", "USDT").endswith("P&L −12.35 USDT")
    assert marker_text(SELL | {"pnl": 0.0004}, 5, "ETH", "BTC").endswith("P&L +0.000400 BTC")


def test_the_equity_figure_has_its_drawdown():
    """Drawdown is measured from the highest equity so far, the starting cash included, in percent."""
    equity = pl.DataFrame(
        {"timestamp": candles(4)["timestamp"], "equity": [90.0, 120.0, 60.0, 120.0]},
    )
    figure = equity_figure(equity, None, 100.0, "USDT", "dark")
    go.Figure(figure)
    drawdown = next(trace for trace in figure["data"] if trace["name"] == "Drawdown")
    assert drawdown["y"] == pytest.approx([-10.0, 0.0, -50.0, 0.0])
    assert ",.2f" in figure["data"][0]["hovertemplate"]
    in_coins = equity_figure(equity, equity, 1.0, "BTC", "dark")
    assert [",.6f" in trace["hovertemplate"] for trace in in_coins["data"]] == [True, True, False]


def test_round_trips_become_markers():
    """A closed trade is a buy and a sell with its profit; an open one only a buy."""
    closed = {
        "entry_time": START,
        "entry_price": 1.0,
        "exit_time": START + timedelta(minutes=5),
        "exit_price": 2.0,
        "quantity": 3.0,
        "pnl": 2.9,
    }
    fills = fills_of([closed, closed | {"exit_time": None, "exit_price": None}])
    assert [(fill["side"], fill["pnl"]) for fill in fills] == [("buy", None), ("sell", 2.9), ("buy", None)]
    go.Figure(trades_figure(candles(), [closed], MINUTE, 2, "BTC", "USDT", "light"))


@pytest.mark.parametrize(("scheme", "colours"), [("dark", DARK), ("light", LIGHT)])
def test_a_painted_trace_names_the_tokens_of_its_colours(scheme, colours):
    """It has the scheme's colours now and their names for the day the theme changes; the rest stays."""
    scale = [[0, "down"], [1, "accent"]]
    trace = painted(
        {"line": {"width": 2}, "meta": {"kind": "x"}}, scheme, line_color="accent", colorscale=scale
    )
    assert trace["line"] == {"width": 2, "color": colours["accent"]}
    assert trace["colorscale"] == [[0, BOTH["down"]], [1, colours["accent"]]]
    assert trace["meta"] == {"kind": "x", "paint": {"line.color": "accent", "colorscale": scale}}


@pytest.mark.parametrize(
    ("by", "found"),
    [
        ("day", [("2026-02-27", 5.0), ("2026-03-01", -2.0), ("2026-03-02", 4.0)]),
        ("week", [("2026-02-23", 3.0), ("2026-03-02", 4.0)]),
        ("month", [("2026-02-01", 5.0), ("2026-03-01", 2.0)]),
    ],
)
def test_profit_is_summed_by_day_week_or_month(by, found):
    """Weeks begin on Monday; no profit is lost or counted twice."""
    days = [
        {"day": date(2026, 2, 27), "pnl": 5},
        {"day": date(2026, 3, 1), "pnl": -2},
        {"day": date(2026, 3, 2), "pnl": 4},
    ]
    assert [(f"{begin}", value) for begin, value in profits(days, by)] == found
    figure = profit_figure(days, by, "USDT", "dark")
    assert figure["data"][0]["y"] == [value for _, value in found]
    go.Figure(figure)


def test_the_calendar_has_a_square_a_day():
    """Weeks are columns from Monday, the newest at the right; days without profit are empty, not zero."""
    made = {date(2026, 3, 2): 12.3, date(2026, 3, 4): -1_530.0, date(2026, 3, 10): 0.0}
    figure = calendar_figure([{"day": day, "pnl": value} for day, value in made.items()], "USDT", "dark")
    go.Figure(figure)
    squares = figure["data"][0]
    assert squares["x"] == ["Feb 09", "Feb 16", "Feb 23", "Mar 02", "Mar 09"]
    monday, tuesday, wednesday = squares["z"][:3]
    assert monday == [None, None, None, 12.3, None]
    assert tuesday[-1] == 0.0
    assert wednesday[3] == -1_530.0
    assert (squares["text"][0][3], squares["text"][1][4], squares["text"][2][3]) == ("+12", "0.0", "−1.5k")
    assert (squares["zmin"], squares["zmax"]) == (-1_530.0, 1_530.0)


def test_an_old_calendar_shows_its_newest_weeks():
    """As many as words fit into."""
    days = [{"day": date(2025, 1, 1) + timedelta(days=n), "pnl": 1.0} for n in range(400)]
    squares = calendar_figure(days, "USDT", "light")["data"][0]
    assert len(squares["x"]) == 12
    assert squares["customdata"][2][-1] == "2026-02-04"


def test_returns_of_trades_are_counted_losses_and_gains_apart():
    """Every trade is in a bar, no bar has both losses and gains; one trade is enough."""
    returns = [-0.02, -0.011, -0.0001, 0.0, 0.004, 0.006, 0.03]
    figure = returns_figure(returns, "dark")
    go.Figure(figure)
    bars, mean = figure["data"]
    assert sum(bars["y"]) == len(returns)
    losses = [count for count, (begin, _) in zip(bars["y"], bars["customdata"], strict=True) if begin < 0]
    assert sum(losses) == 3
    assert mean["x"][0] == pytest.approx(sum(returns) / len(returns) * 100)
    go.Figure(returns_figure([0.01], "light"))
