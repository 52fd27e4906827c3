"""Reports: one file, nothing from elsewhere, and the numbers of the run in it."""

import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cli.backtest import summary
from core.errors import BadInput
from dashboards.run_details import sure_table
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.result import BacktestResult
from pipelines.backtest.run import execute
from pipelines.reports.backtest import backtest_report
from pipelines.reports.calendar import monthly
from pipelines.reports.charts import Line, lines
from pipelines.reports.comparison import comparison_report
from pipelines.reports.page import table
from pipelines.reports.walk_forward import verdict, walk_forward_report
from pipelines.reports.wording import between, shown
from pipelines.reports.write import check_target, write_report
from pipelines.sweep.request import SweepRequest
from pipelines.validation.compare import Record, compare
from pipelines.walk_forward.run import execute_walk_forward
from pipelines.walk_forward.windows import parse
from strategies.sample import sample_candles


class Checker(HTMLParser):
    """Collects the text, and whether every element is closed in its order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def text_of(html: str) -> str:
    """Its text, once it is proven well formed and to need nothing from anywhere."""
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    assert not re.search(r"https?:|//|src=|<link|<script|@import|url\(", html.replace("<!doctype html>", ""))
    return " ".join(checker.text)


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    """Five days of minutes."""
    return sample_candles(5 * 1440)


@pytest.fixture(scope="module")
def result(candles: pl.DataFrame) -> BacktestResult:
    """An EMA crossover over them, validated."""
    request = BacktestRequest(strategy="ema_crossover", symbol="<b>BTC</b>-USDT", timeframe="1m")
    return execute(request, candles=candles, validate=True, trials=7)


def test_a_backtest_report_stands_alone_and_tells_all(result: BacktestResult) -> None:
    """Metrics with intervals, charts, months, trades, assumptions and what must be known are in it."""
    html = backtest_report(result)
    text = text_of(html)
    assert html.count("<svg") == 2
    for name in ("total_return", "max_drawdown", "sharpe", "fees"):
        assert shown(name, result.metrics[name]) in text
    low, high = (result.validation or {})["intervals"]["total_return"]
    assert f"{low:+.2%} … {high:+.2%}" in text
    for words in (
        "Months",
        "Jan",
        "Assumptions",
        "stationary bootstrap",
        "Had the trades",
        "7 variants",
        "2 times",
    ):
        assert words in text
    assert f"{result.trades.height:,} trades" in text
    assert "<b>BTC</b>-USDT" in text  # escaped: text, not markup
    for warning in (result.validation or {})["warnings"]:
        assert warning in text


def test_an_interval_stands_beside_the_number_that_was_resampled(result: BacktestResult) -> None:
    """Five days have a daily Sharpe ratio and an interval of hourly returns: with it is the hourly ratio."""
    found = result.validation or {}
    assert found["returns"]["period"] == "hour"
    low, high = found["intervals"]["sharpe"]
    said = f"hourly {found['sharpe']['value']:,.2f}: {low:,.2f} … {high:,.2f}"
    assert low < found["sharpe"]["value"] < high
    deepest, least = found["intervals"]["max_drawdown"]
    drawdown = f"hourly: {deepest:+.2%} … {least:+.2%}"
    for text in (text_of(backtest_report(result)), summary(result)):
        assert said in text
        assert drawdown in text
    page = str(sure_table({"metrics": result.metrics}, found))
    assert said.replace("-", "−") in page


def test_ratios_of_days_need_no_word_more() -> None:
    """With thirty days the interval is of daily returns, as the ratio is; the drawdown is of candles."""
    found = {
        "returns": {"period": "day"},
        "intervals": {"sharpe": [-1.0, 2.0], "max_drawdown": [-0.2, -0.1], "win_rate": None},
        "sharpe": {"value": 0.5},
    }
    assert between("sharpe", found) == "-1.00 … 2.00"
    assert between("max_drawdown", found) == "daily: -20.00% … -10.00%"
    assert between("win_rate", found) == "—"
    assert between("fees", {}, none="") == ""


def test_a_run_without_trades_or_validation_has_a_report(candles: pl.DataFrame) -> None:
    """Nothing to show is shown as such."""
    parameters = {"oversold": 1, "overbought": 99}
    request = BacktestRequest(strategy="rsi_reversion", symbol="A", timeframe="1m", parameters=parameters)
    for validate in (False, True):
        text = text_of(backtest_report(execute(request, candles=candles.head(300), validate=validate)))
        assert "No trades: there is nothing to judge." in text
        assert ("Skill or luck" in text) == validate


def test_a_walk_forward_report_has_its_windows(candles: pl.DataFrame) -> None:
    """A row a window, the choices' stability, and the record of the tests."""
    grid: dict[str, Any] = {"fast_period": [5, 10], "slow_period": [30, 60]}
    request = SweepRequest(strategy="ema_crossover", grid=grid, symbol="A-B", timeframe="1m")
    result = execute_walk_forward(request, parse("rolling:train=2d,test=1d"), candles=candles)
    text = text_of(walk_forward_report(result))
    assert text.count("2026-01-03 00:00") >= 1
    assert "sold at the last close of each test" in text
    assert any("3 windows: too few" in said for said in verdict(result))
    for said in verdict(result):
        assert said in text


def test_a_comparison_report_says_what_was_found(result: BacktestResult, candles: pl.DataFrame) -> None:
    """Metrics side by side, differences, the chart of both."""
    other = execute(result.request.model_copy(update={"fee": 0.0}), candles=candles)
    records = [Record(one.to_document(), one.equity) for one in (result, other)]
    html = comparison_report(records, compare(records))
    text = text_of(html)
    assert html.count("<svg") == 1
    for words in (result.id, other.id, "significant", "Different fees", "Holm"):
        assert words in text
    bare = [Record(record.document, None) for record in records]
    assert "No equity curve" in text_of(comparison_report(bare, compare(bare)))


def test_reports_are_written_whole(tmp_path: Path, result: BacktestResult) -> None:
    """The name says HTML or JSON; another name, a folder or a place that cannot be is refused."""
    document = result.to_document()
    write_report(tmp_path / "made" / "r.json", lambda: "", document)
    assert json.loads((tmp_path / "made" / "r.json").read_text())["id"] == result.id
    write_report(tmp_path / "r.html", lambda: "<p>", document)
    assert (tmp_path / "r.html").read_text() == "<p>"
    assert not list(tmp_path.glob("**/.*"))
    (tmp_path / "folder.html").mkdir()
    for name in ("r.pdf", "folder.html", "r.html/x.html"):
        with pytest.raises(BadInput, match="--report"):
            check_target(tmp_path / name)


def test_months_are_by_hand() -> None:
    """100 → 110 in January, 99 in February, 198 next January: +10 %, −10 %, nothing between, +100 %."""
    times = [datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)]
    times += [datetime(2026, 2, 20, tzinfo=UTC), datetime(2027, 1, 31, tzinfo=UTC)]
    equity = pl.DataFrame({"timestamp": times, "equity": [105.0, 110.0, 99.0, 198.0]})
    (year, months, whole), (after, later, gained) = monthly(equity, 100.0)
    assert (year, after) == (2026, 2027)
    assert months[:3] == [pytest.approx(0.1), pytest.approx(-0.1), None]
    assert whole == pytest.approx(-0.01)
    assert later[0] == gained == pytest.approx(1.0)


def test_a_chart_keeps_its_extremes() -> None:
    """However many points, the highest and the lowest are drawn, and a flat line is one too."""
    values = np.sin(np.arange(200_000) / 3_000)
    values[123_456], values[65_432] = 3.0, -2.0
    times = np.arange(values.size) * 60_000
    path = re.search(r' d="M([^"]+)"', lines("Sine", times, [Line("s", values, "one")], height=280))
    assert path is not None
    heights = [float(point.split(",")[1]) for point in path[1].split("L")]
    assert (min(heights), max(heights)) == (10.0, 256.0)
    assert len(heights) < 4_000
    flat = lines("Flat", np.array([0, 60_000]), [Line("f", np.ones(2), "one")])
    assert "nan" not in flat


def test_cells_are_escaped() -> None:
    """What a name contains is shown, not run."""
    assert "&lt;script&gt;" in table(["<script>"], [["<script>"]])
    assert "<script>" not in table(["<script>"], [["<script>"]])
