"""What can go wrong at the simulated exchange: the document of `--faults JSON`, validated.

All keys are optional:

    {"seed": 1,                                   the same seed, the same faults

     of each connection:
     "disconnect": {"every_s": 60},               the socket is cut without a close frame
     "silence": {"every_s": 60, "for_s": 20},     data is lost for a while, pings are still answered
     "half_open": {"every_s": 60, "for_s": 300},  nothing is sent or answered any more, and the TCP connection
                                                  stays; cut for_s later (0: it stays until the client leaves)
     "notice": {"every_s": 900, "for_s": 60},     notice 64008, and the connection closed for_s later
     "duplicate": 0.01,                           share of data frames sent twice
     "reorder": 0.01,                             … sent after the next one
     "gap": 0.01,                                 … never sent
     "garbage": 0.01,                             … followed by one that is no valid JSON

     of the market, alike on all connections:
     "unpushed": 0.001,                           share of trades that no socket ever brings; REST has them
     "late": {"share": 0.001, "by_s": 4},         trades pushed by_s after they happened; REST lacks them
                                                  until then too
     "rest_lag_s": 1.0,                           REST knows trades and candles that much after the sockets
     "late_candle": {"share": 0.1, "by_s": 60},   candles that are confirmed by_s after their close
     "revised_candle": {"share": 0.1, "by_s": 60}, minutes whose last match is missing from the exchange's own
                                                  candles, of every length, until by_s after the minute
     "clock": {"ahead_s": 0.5, "drift_s": 0.3, "every_s": 60},
                                                  the time that REST tells is ahead of that of the trades (or
                                                  behind, below 0), and drifts by ±drift_s and back in every_s

     of REST requests:
     "http_429": 0.05, "http_500": 0.01,          share of requests refused

     of order operations:
     "order_lost_request": 0.01,                  share of them that never arrive: no answer
     "order_lost_answer": 0.01,                   … that are carried out, and the answer is lost
     "order_reject": 0.01,                        … that fail with sCode 50026
     "order_429": 0.01,                           … refused with 50011
     "order_late": {"share": 0.01, "by_s": 3},    … that arrive by_s after the client lost its connection
     "order_partial": 0.01,                       … of market orders that the book fills only in part
     "late_push": {"share": 0.1, "by_s": 1},      pushes of orders and balances that come late
     "order_timeout_s": 5,                        seconds until the connection of a lost REST request is cut

     at set times:
     "script": [{"at_s": 600, "fault": "silence", "for_s": 30}]}
                                                  one of disconnect, silence, half_open, notice, http_429 and
                                                  http_500, to all connections (or requests) from at_s to
                                                  at_s + for_s, both in VIRTUAL seconds since the start; or
                                                  book_reset: the numbers of order books begin anew, as after
                                                  maintenance

POST the same document to /sim/faults (application/json) to change the faults of a running server.

Order operations are signed POST requests and the WebSocket's order, cancel-order, amend-order and batch-….
On the WebSocket a lost answer is no answer, on a connection that goes on. `duplicate` and the other shares of
data frames hold for pushes of orders and balances too.

Times outside the script are wall seconds: an accelerated market moves `speed` times as far in them. `every_s`
is the average time between two faults of a kind on one connection, each 50 to 150 % of it. Which trades and
candles are late, unpushed or revised depends on the seed, the symbol and their time alone.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from core.errors import BadInput

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
ScriptedFault = Literal["disconnect", "silence", "half_open", "notice", "book_reset", "http_429", "http_500"]


class Every(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault that comes back: on average every `every_s` s, lasting `for_s` s."""

    every_s: Positive
    for_s: Seconds = 0.0


class Late(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A share of things that come `by_s` wall seconds late."""

    share: Share
    by_s: Positive


class ClockFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the time that REST tells is from that of the trades, in wall seconds."""

    ahead_s: float = 0.0
    drift_s: Seconds = 0.0
    every_s: Positive = 60.0


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault at a set time, in virtual seconds since the server's start."""

    at_s: Seconds
    fault: ScriptedFault
    for_s: Seconds = 0.0


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which faults happen how often; see the module's text."""

    seed: int = 0
    disconnect: Every | None = None
    silence: Every | None = None
    half_open: Every | None = None
    notice: Every | None = None
    duplicate: Share = 0.0
    reorder: Share = 0.0
    gap: Share = 0.0
    garbage: Share = 0.0
    unpushed: Share = 0.0
    late: Late | None = None
    rest_lag_s: Seconds = 0.0
    late_candle: Late | None = None
    revised_candle: Late | None = None
    clock: ClockFault | None = None
    http_429: Share = 0.0
    http_500: Share = 0.0
    order_lost_request: Share = 0.0
    order_lost_answer: Share = 0.0
    order_reject: Share = 0.0
    order_429: Share = 0.0
    order_late: Late | None = None
    order_partial: Share = 0.0
    late_push: Late | None = None
    order_timeout_s: Seconds = 0.0
    script: tuple[Step, ...] = ()


NO_FAULTS = FaultPlan()


def parse_faults(document: Mapping[str, Any]) -> FaultPlan:
    """The plan of a JSON object; BadInput names the wrong key or value."""
    try:
        plan = msgspec.convert(dict(document), FaultPlan)
    except msgspec.ValidationError as error:
        known = ", ".join(FaultPlan.__struct_fields__)
        hint = f"; known are {known}" if "unknown field" in str(error) and "`$." not in str(error) else ""
        raise BadInput("faults", f"{error}{hint}") from None
    if plan.http_429 + plan.http_500 > 1:
        raise BadInput("faults", "http_429 and http_500 are shares of the same requests: at most 1 together")
    return plan
