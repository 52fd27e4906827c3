"""The sweeps page without a browser: its figures, what its best row is worth, and the bot made of a row."""

import plotly.graph_objects as go
import pytest

from config.files import BotFile
from dashboards.figures.sweep import (
    heatmap_figure,
    kept_by_neighbours,
    lines_figure,
    ordered,
    parallel_figure,
)
from dashboards.promotion import bot_document, free_name
from dashboards.sweep_axes import is_whole, kept_words, steps, with_gaps
from dashboards.sweeps import deflated
from dashboards.theme import DARK
from pipelines.validation.trials import Trials

CELLS = [
    {"x": 5, "y": 0.5, "value": -1.0, "rows": 1},
    {"x": 10, "y": 0.5, "value": 2.0, "rows": 1},
    {"x": 5, "y": None, "value": None, "rows": 1},
]
RUN = {
    "strategy_name": "ema_crossover",
    "fee": 0.001,
    "slippage": 0.0005,
    "parameters": {"grid": {}, "fixed": {"risk_percentage": 0.02}, "risk": {"sizing": "fixed", "size": 0.5}},
}
ROW = {
    "symbol": "BTC-USDT",
    "timeframe": "5m",
    "parameters": {"fast_period": 5, "slow_period": 20, "stop_loss": 0.02, "take_profit": None},
}


def test_the_heat_map_has_a_cell_for_every_pair_and_marks_the_best():
    """Values in order, what is not set first; a pair not walked is a gap; zero is the middle."""
    figure = heatmap_figure(
        CELLS, ("fast_period", "stop_loss"), "sharpe", {"fast_period": 10, "stop_loss": 0.5}, "dark"
    )
    go.Figure(figure)
    heat, mark = figure["data"]
    assert heat["x"] == ["5", "10"]
    assert heat["y"] == ["none", "0.5"]
    assert heat["z"] == [[None, None], [-1.0, 2.0]]
    assert heat["zmin"] == -heat["zmax"]
    assert (mark["x"], mark["y"]) == (["10"], ["0.5"])


def test_parallel_coordinates_take_words_and_leave_out_rows_without_the_metric():
    """A parameter that is not all numbers gets a place for each of its values."""
    rows = [
        {"parameters": {"n": 1, "order": "limit"}, "value": 1.0},
        {"parameters": {"n": 2, "order": None}, "value": 3.0},
        {"parameters": {"n": 3, "order": "limit"}, "value": None},
    ]
    figure = parallel_figure(rows, ["n", "order"], "trades", "light")
    go.Figure(figure)
    n, order, metric = figure["data"][0]["dimensions"]
    assert n["values"] == [1, 2]
    assert n["ticktext"] == ["1", "2"]
    assert order["ticktext"] == ["none", "limit"]
    assert order["values"] == [1, 0]
    assert metric["values"] == [1.0, 3.0]
    dark = parallel_figure(rows, ["n", "order"], "sharpe", "dark")["data"][0]["line"]["colorscale"]
    assert not {DARK["raised"], DARK["surface"], DARK["background"]} & {colour for _, colour in dark}


def test_the_lines_go_through_the_best_row():
    """One small chart a parameter, the best value starred."""
    lines = {"n": [(2, 1.0), (1, 0.5)], "m": [(0.1, 1.0), (0.2, None)]}
    figure = lines_figure(lines, {"n": 2, "m": 0.1}, "sharpe", "dark")
    go.Figure(figure)
    first, second = figure["data"]
    assert first["x"] == ["1", "2"]
    assert first["marker"]["symbol"] == ["circle", "star"]
    assert second["xaxis"] == "x2"
    assert figure["layout"]["xaxis2"]["domain"][1] == 1


def test_neighbours_tell_a_plateau_from_a_peak():
    """Their mean over the best; nothing where the best earns nothing or has no neighbour."""
    lines = {"n": [(1, 0.5), (2, 1.0), (3, 0.7), (9, -9.0)], "m": [(5, 1.0)]}
    assert kept_by_neighbours(lines, {"n": 2, "m": 5}) == pytest.approx(0.6)
    assert kept_by_neighbours({"n": [(1, -2.0), (2, -1.0)]}, {"n": 2}) is None
    assert kept_by_neighbours({"n": [(2, 1.0)]}, {"n": 2}) is None


def test_a_neighbour_that_was_not_kept_is_not_skipped():
    """Of a large sweep the best rows are there alone: the next one that is was far away, and tells nothing of
    what is beside the best. In the chart no line leads there. One that was ruled out is no neighbour."""
    run = {"status": "done", "parameters": {"grid": {"n": "1:9:1", "m": [5.0]}, "combinations": 9}}
    assert steps(run, "n") == [*range(1, 10)] and steps(run, "m") == [5]
    assert steps({"parameters": {"grid": {"n": "1 … 30 (30 values)"}}}, "n") == []
    line = with_gaps([(3, 2.0), (9, 1.9)], steps(run, "n"))
    assert not is_whole(run, 2) and is_whole(run, 9) and not is_whole(run | {"status": "running"}, 9)
    assert kept_by_neighbours({"n": line}, {"n": 3}, is_whole=False) is None
    assert lines_figure({"n": line}, {"n": 3}, "sharpe", "dark")["data"][0]["y"] == [
        *(None, None, 2.0),
        *(None,) * 5,
        1.9,
    ]
    assert kept_by_neighbours({"n": [*line[:2], (2, 1.0), (4, None)]}, {"n": 3}) == 0.5
    assert "best 2 of 9 rows" in kept_words(run, 2) and kept_words(run, 9) == ""


def test_values_of_all_kinds_have_an_order():
    """What is not set, numbers, words."""
    assert ordered({3, None, "b", 0.5, "a"}) == [None, 0.5, 3, "a", "b"]


def test_more_trials_deflate_a_ratio():
    """A year of daily returns with a ratio of 2 is convincing once and not after a thousand trials."""
    once = deflated(2.0, 365, Trials(1, None))
    often = deflated(2.0, 365, Trials(1000, 1.5))
    assert once is not None and once > 0.97
    assert often is not None and often < 0.2
    assert deflated(2.0, 2.5, Trials(1, None)) is None
    assert deflated(None, 365, Trials(1, None)) is None


def test_a_row_becomes_a_bot_that_trades_as_it_did():
    """What varied and what stayed the same goes where bots have it, and the file is a valid one."""
    document = bot_document(RUN, ROW, "a_1", 5_000, False)
    assert document["parameters"] == {"risk_percentage": 0.02, "fast_period": 5, "slow_period": 20}
    assert document["risk"] == {"sizing": "fixed", "size": 0.5, "stop_loss": 0.02}
    assert "execution" not in document
    bot = BotFile.model_validate(document)
    assert (bot.symbol, bot.timeframe, float(bot.slippage), bot.enabled) == ("BTC-USDT", "5m", 0.0005, False)


def test_a_free_name_is_the_first_number_not_taken():
    """Names are those that bot files allow."""
    assert free_name("ema_crossover", ["ema_crossover_1", "x"]) == "ema_crossover_2"
    assert free_name("my strategy", []) == "my_strategy_1"
