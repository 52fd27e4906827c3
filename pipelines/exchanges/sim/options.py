"""How a simulated exchange is set up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from core.errors import BadInput
from pipelines.exchanges.sim.clock import Speed
from pipelines.exchanges.sim.trading.keys import SIM_KEY, ApiKey

BulkLayout = Literal["old", "current", "newest"]


@dataclass(frozen=True)
class SimOptions:
    """Options of `tcp sim`.

    port: 0 takes a free one; host: loopback, always
    source: "model", or recorded files (`PATH` or `SYMBOL=PATH`), see `recorded.py`
    timestamps: whether a candle file's times are the close or the open of its candles
    seed: of the market model; activity: multiplies its number of trades
    speed: virtual seconds a real second, or "max": as fast as one core allows; virtual time then moves only
        while somebody is subscribed to a channel, and waits for the slowest reader
    start_ms: virtual time at the start; default: the wall's, or the first trade of recorded files
    end_ms: nothing is traded from this virtual time on, and the clock goes on (at speed "max" it stops soon)
    state_file: keeps the virtual time over restarts
    rate_limit: multiplies OKX's REST limits, which are in wall time at any speed; 0 switches them off
    connection_limits: 3 connections a second, 480 subscription requests an hour, drop after silence
    book_heartbeat_s: an unchanged order book is confirmed after so long
    silent_after_s: how long a connection may be without a push and a request before it is dropped (4004)
    buffer_bytes: a reader that is further behind is dropped (4005)
    deflate: accept permessage-deflate when a client offers it (it costs most of the speed)
    faults: what goes wrong and how often, see `fault_plan.py`; {} for nothing
    api_keys: who may trade; each key is an account of its own
    accounts_file: keeps the accounts over restarts, a kill included; without it they begin anew
    balances: what every account starts with, currency → amount
    maker_fee, taker_fee: shares of what is received
    bulk_layout: columns of the bulk files of trades: old (size before price, GBK header), current, or newest
        (with source); bulk_unsorted: their rows in no order
    """

    port: int = 0
    host: str = "127.0.0.1"
    source: str | tuple[str, ...] = "model"
    timestamps: Literal["close", "open"] = "close"
    seed: int = 1
    activity: float = 1.0
    speed: Speed = 1.0
    start_ms: int | None = None
    end_ms: int | None = None
    state_file: Path | None = None
    rate_limit: float = 1.0
    connection_limits: bool = True
    book_heartbeat_s: float = 60.0
    silent_after_s: float = 30.0
    buffer_bytes: int = 32 << 20
    deflate: bool = False
    faults: Mapping[str, Any] = field(default_factory=dict)
    api_keys: tuple[ApiKey, ...] = (SIM_KEY,)
    accounts_file: Path | None = None
    balances: Mapping[str, str] = field(default_factory=lambda: {"USDT": "100000"})
    maker_fee: str = "0.0008"
    taker_fee: str = "0.001"
    bulk_layout: BulkLayout = "current"
    bulk_unsorted: bool = False

    def __post_init__(self) -> None:
        if self.speed != "max" and not 0 < self.speed <= 1_000_000:
            raise BadInput("speed", f"{self.speed} is not a number in (0, 1000000] or max")
        if not 0 <= self.port <= 65_535:
            raise BadInput("port", f"{self.port} is not in 0 … 65535")
        if self.activity <= 0:
            raise BadInput("activity", f"{self.activity} is not above 0")
        if self.rate_limit < 0:
            raise BadInput("rate-limit", f"{self.rate_limit} is below 0")
        for currency, amount in self.balances.items():
            if not _amount(amount):
                raise BadInput("balances", f"{currency}: {amount!r} is not a number of 0 or more")
        for name, fee in (("maker_fee", self.maker_fee), ("taker_fee", self.taker_fee)):
            if not _amount(fee) or Decimal(fee) >= 1:
                raise BadInput(name, f"{fee!r} is not in [0, 1)")


def _amount(text: str) -> bool:
    try:
        number = Decimal(text)
    except (InvalidOperation, TypeError, ValueError):
        return False
    return number.is_finite() and number >= 0


def parse_speed(text: str) -> Speed:
    """A speed as typed: a number, or max."""
    if text == "max":
        return "max"
    try:
        return float(text)
    except ValueError:
        raise BadInput("speed", f"{text!r} is not a number or max") from None
