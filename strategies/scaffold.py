"""A new strategy as a file that runs at once: `tcp strategies new NAME`."""

import keyword
import re
from pathlib import Path

from core.errors import BadInput
from strategies.base import snake_case
from strategies.catalogue import Catalogue

VECTOR = '''"""What this strategy is about, in a sentence."""

import polars as pl

from strategies.base import VectorStrategy
from strategies.conditions import crosses_above, crosses_below
from strategies.indicators.averages import ema
from strategies.indicators.base import Indicator, indicator
from strategies.parameters import Parameters, parameter


@indicator(warmup=lambda period: period + 1)
def momentum(period: int) -> pl.Expr:
    """An indicator of one's own is one function: change of the close over `period` candles, a fraction."""
    return pl.col("close") / pl.col("close").shift(period) - 1


class {class_name}Parameters(Parameters):
    """Bounds are checked; the search space is what `tcp sweep` tries."""

    ordered = (("fast_period", "slow_period"),)
    fast_period: int = parameter(10, "Length of the fast EMA, candles", low=1, high=500, search=(5, 30, 5))
    slow_period: int = parameter(30, "Length of the slow EMA, candles", low=2, high=500, search=(20, 100, 10))
    momentum_period: int = parameter(
        20, "Candles over which momentum is measured", low=1, high=1000, search=(10, 60, 10)
    )


class {class_name}(VectorStrategy[{class_name}Parameters]):
    """Buy when the fast EMA crosses above the slow one while the price rises, sell when it crosses below."""

    def indicators(self) -> dict[str, Indicator]:
        """Column name → indicator; the warm-up follows from them. `ema(30).on("1h")` reads hourly candles."""
        p = self.parameters
        return {{
            "fast": ema(p.fast_period),
            "slow": ema(p.slow_period),
            "momentum": momentum(p.momentum_period),
        }}

    def buy(self) -> pl.Expr:
        """True on the candles at whose close to buy."""
        return crosses_above("fast", "slow") & (pl.col("momentum") > 0)

    def sell(self) -> pl.Expr:
        """True on the candles at whose close to sell."""
        return crosses_below("fast", "slow")

    def confidence(self) -> pl.Expr:
        """How sure a signal is, 0 … 1."""
        return (pl.col("momentum").abs() * 100).clip(0.0, 1.0)
'''

STEPS = '''"""What this strategy is about, in a sentence."""

from typing import ClassVar

from core.signals import SignalType
from strategies.parameters import Parameters, parameter
from strategies.steps import Decision, State, Step, StepStrategy


class {class_name}Parameters(Parameters):
    """Bounds are checked; the search space is what `tcp sweep` tries."""

    falls: int = parameter(3, "Falling candles in a row before a buy", low=1, high=50, search=(2, 6, 1))


class {class_name}State(State, frozen=True):
    """Everything it remembers from candle to candle."""

    falls: int = 0


class {class_name}(StepStrategy[{class_name}Parameters, {class_name}State]):
    """Buy after some falling candles in a row, sell after a rising one."""

    memory: ClassVar[int | None] = 60  # candles after which the state has forgotten how it began

    def begin(self) -> {class_name}State:
        """The state before the first candle."""
        return {class_name}State()

    def on_candle(self, candle: Step, state: {class_name}State) -> Decision[{class_name}State]:
        """What follows from a candle, and the state after it."""
        falls = min(state.falls + 1, self.parameters.falls) if candle.close < candle.open else 0
        if falls == self.parameters.falls:
            return Decision({class_name}State(falls), SignalType.BUY)
        signal = SignalType.SELL if candle.close > candle.open else SignalType.HOLD
        return Decision({class_name}State(falls), signal)
'''

KINDS = {"vector": VECTOR, "steps": STEPS}


def scaffold(name: str, kind: str, catalogue: Catalogue) -> Path:
    """Write the file into the user's folder, made if needed; its path.

    kind: vector (conditions as columns) or steps (a candle at a time). BadInput when the name cannot be one,
    is taken, or the folder cannot be written; nothing is ever overwritten.
    """
    if kind not in KINDS:
        raise BadInput("--kind", f"{kind!r} is not one of {', '.join(KINDS)}")
    module = snake_case(name)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", module) or keyword.iskeyword(module):
        raise BadInput("name", f"{name!r} must be a word such as my_idea: letters, digits, underscores")
    folder = catalogue.own_folder
    path = folder / f"{module}.py"
    if module in catalogue.classes() or path.exists():
        raise BadInput("name", f"{module!r} is taken; choose another")
    class_name = "".join(part.capitalize() for part in module.split("_"))
    if snake_case(class_name) != module:
        class_name = module.title()  # digits after an underscore: Sma_2, which reads back as sma_2
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(KINDS[kind].format(class_name=class_name))
    except OSError as error:
        raise BadInput("TCP_STRATEGIES_DIR", f"{path}: {error.strerror or error}") from None
    return path
