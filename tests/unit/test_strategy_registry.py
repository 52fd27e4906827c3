"""Strategies by name, their parameters, and what is said about wrong ones."""

import ast
from decimal import Decimal
from pathlib import Path

import pytest

from config.files import StrategyFile, read_model
from config.settings import PROJECT_ROOT
from core.errors import BadInput
from strategies import registry
from strategies.base import snake_case
from strategies.describe import describe

SHIPPED = [
    "bollinger_reversion",
    "buy_and_hold",
    "donchian_breakout",
    "ema_crossover",
    "grid_trading",
    "macd_trend",
    "rsi_reversion",
    "sma_crossover",
    "trend_filter",
    "volatility_target",
]


def test_the_promised_strategies_are_found() -> None:
    """Discovery finds every strategy that ships, by its name in snake_case."""
    assert set(SHIPPED) <= set(registry.names())


@pytest.mark.parametrize("name", ["ema_crossover", "EMA_Crossover", "EmaCrossover", "EMA_CROSSOVER"])
def test_a_name_has_many_spellings(name: str) -> None:
    """People write EMA_Crossover, Python EmaCrossover, files ema_crossover: all are one strategy."""
    assert snake_case(name) == "ema_crossover"
    assert registry.build(name).name == "ema_crossover"


@pytest.mark.parametrize(
    ("name", "parameters", "timeframe", "field", "said"),
    [
        ("nope", {}, None, "strategy", "there are bollinger_reversion"),
        ("ema_crossover", {"fast": 3}, None, "fast", "fast_period, slow_period"),
        ("ema_crossover", {"fast_period": 0}, None, "fast_period", "greater than or equal to 1"),
        ("ema_crossover", {"fast_period": 99_999}, None, "fast_period", "less than or equal to"),
        ("ema_crossover", {"fast_period": 2.5}, None, "fast_period", "valid integer"),
        ("ema_crossover", {"fast_period": "x"}, None, "fast_period", "'x'"),
        ("ema_crossover", {"fast_period": 26}, None, "fast_period", "less than slow_period (26)"),
        ("rsi_reversion", {"oversold": 80}, None, "oversold", "less than overbought (70.0)"),
        ("rsi_reversion", {"oversold": float("nan")}, None, "oversold", "finite"),
        ("ema_crossover", {"risk_percentage": 2}, None, "risk_percentage", "less than or equal to 1"),
        ("ema_crossover", {"timeframe": "1m"}, None, "timeframe", "no such parameter"),
        ("ema_crossover", {}, "7m", "timeframe", "1m, 5m"),
        ("trend_filter", {}, "1h", "timeframe", "shorter"),
        ("trend_filter", {"trend_timeframe": "2h"}, None, "trend_timeframe", "'1h'"),
    ],
)
def test_a_mistake_is_named(
    name: str, parameters: dict, timeframe: str | None, field: str, said: str
) -> None:
    """A wrong name or parameter is one line that names the field and what was expected."""
    with pytest.raises(BadInput) as caught:
        registry.build(name, parameters, timeframe)
    assert caught.value.field == field
    assert said in caught.value.message
    assert "\n" not in str(caught.value)


def test_files_and_the_command_line_give_other_types() -> None:
    """Text and decimals are read as numbers, as JSON files and --param give them."""
    built = registry.build("bollinger_reversion", {"period": "25", "deviations": Decimal("2.5")})
    assert built.parameters.model_dump(exclude_none=True) == {"period": 25, "deviations": 2.5}


@pytest.mark.parametrize("path", sorted((PROJECT_ROOT / "config" / "strategies").glob("*.json")), ids=str)
def test_the_shipped_files_can_be_built(path: Path) -> None:
    """Every file in config/strategies is a strategy with valid parameters."""
    file = read_model(StrategyFile, path)
    assert registry.build(file.strategy_name, file.parameters).name == path.stem


@pytest.mark.parametrize("name", SHIPPED)
def test_a_strategy_describes_itself(name: str) -> None:
    """Description, and for every parameter of its own a description, a default and bounds or choices."""
    document = describe(name)
    assert len(document["description"]) > 20
    for parameter in document["parameters"]:
        assert parameter["description"]
        if parameter["name"] != "risk_percentage":
            assert "default" in parameter
            assert "enum" in parameter or {"minimum", "maximum"} <= set(parameter)


def test_the_warm_up_follows_from_the_indicators() -> None:
    """One more than the longest indicator, for the crossing; the window grows with the recursion."""
    built = registry.build("ema_crossover", {"fast_period": 3, "slow_period": 10})
    longer = registry.build("ema_crossover", {"fast_period": 3, "slow_period": 20})
    assert built.warmup == 11
    assert built.warmup < built.window < longer.window
    assert registry.build("buy_and_hold").warmup == 1


@pytest.mark.parametrize("name", SHIPPED)
def test_a_strategy_is_short(name: str) -> None:
    """The class of a shipped strategy and its parameters take 50 lines, docstrings included."""
    source = (PROJECT_ROOT / "strategies" / f"{name}.py").read_text()
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    assert sum((node.end_lineno or 0) - node.lineno + 1 for node in classes) <= 50
