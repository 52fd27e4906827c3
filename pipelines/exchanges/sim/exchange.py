"""The parts that the REST and the WebSocket side share."""

from dataclasses import dataclass, field

from pipelines.exchanges.sim.bars import BARS, Bar
from pipelines.exchanges.sim.clock import VirtualClock
from pipelines.exchanges.sim.delays import Delays
from pipelines.exchanges.sim.history import History
from pipelines.exchanges.sim.specs import SymbolSpec


class Refused(Exception):
    """A request the exchange answers with an error code."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True)
class Exchange:
    """One simulated exchange: its history, its clock, and what of the history is known when."""

    history: History
    clock: VirtualClock
    delays: Delays = field(default_factory=Delays)

    def rest_now_ms(self) -> int:
        """The virtual time up to which REST knows the market."""
        return self.clock.now_ms() - self.delays.rest_lag_ms

    def spec(self, inst_id: str | None) -> SymbolSpec:
        """The instrument of that id; Refused 51000 when missing, 51001 when unknown."""
        if not inst_id:
            raise Refused("50014", "Parameter instId can not be empty.", 400)
        spec = self.history.specs.get(inst_id)
        if spec is None:
            raise Refused("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        return spec


def bar_named(name: str) -> Bar:
    """The candle length of that name; Refused 51000 when unknown."""
    if name not in BARS:
        raise Refused("51000", "Parameter bar error", 400)
    return BARS[name]
