"""A grid of prices, laid anew every session: buy a rung down, sell a rung up."""

from math import floor, log1p
from math import log as ln
from typing import ClassVar

from core.signals import SignalType
from strategies.parameters import Parameters, parameter
from strategies.steps import Decision, State, Step, StepStrategy

HOUR_MS = 3_600_000


class GridTradingParameters(Parameters):
    """How far apart the rungs are, where the first buy is, and how long a grid stays."""

    spacing: float = parameter(
        0.005,
        "Distance of two rungs, a fraction of the price",
        low=0.0001,
        high=0.5,
        search=(0.002, 0.02, 0.002),
    )
    first_rung: int = parameter(
        1, "Rungs below the grid's middle where buying begins", low=0, high=50, search=(0, 5, 1)
    )
    session_hours: int = parameter(
        24, "Hours after which the grid is laid anew, counted from 1970: 24 is a UTC day", low=1, high=744
    )


class GridState(State, frozen=True):
    """middle: price of rung 0, 0 before the first candle; rung: the one that was reached last."""

    middle: float = 0.0
    rung: int = 0


class GridTrading(StepStrategy[GridTradingParameters, GridState]):
    """Buy when the close falls to a rung of the grid that is `first_rung` or more below its middle, sell when
    it rises to one; the middle is the session's first open."""

    outputs: ClassVar[tuple[str, ...]] = ("middle", "rung")

    @property
    def session_ms(self) -> int | None:
        """The grid is laid anew after `session_hours`."""
        return self.parameters.session_hours * HOUR_MS

    def begin(self) -> GridState:
        """No grid yet."""
        return GridState()

    def on_candle(self, candle: Step, state: GridState) -> Decision[GridState]:
        """A rung is reached when the close passes it: one down is bought, one up sold, none twice."""
        middle = state.middle or candle.open
        place = ln(candle.close / middle) / log1p(self.parameters.spacing)
        signal, rung = SignalType.HOLD, state.rung
        if place <= rung - 1:
            rung = -floor(-place)
            signal = SignalType.BUY if rung <= -self.parameters.first_rung else SignalType.HOLD
        elif place >= rung + 1:
            rung, signal = floor(place), SignalType.SELL
        shown = {"middle": middle, "rung": float(rung)}
        return Decision(GridState(middle, rung), signal, 1.0, shown)
