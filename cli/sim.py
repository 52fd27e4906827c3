"""`tcp sim`: the simulated exchange alone."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import typer

from core.errors import BadInput


def sim(
    port: int = typer.Option(0, min=0, max=65535, help="Loopback port; 0: a free one."),
    source: list[str] = typer.Option(["model"], help="model, or a file of trades or candles; repeatable."),
    seed: int = typer.Option(1, help="Of the market model."),
    speed: str = typer.Option("1", help="Virtual seconds a second: a number, or max."),
    start: str = typer.Option(None, help="Virtual time at the start, ISO 8601 UTC; default: now."),
    faults: str = typer.Option(None, help="JSON object of faults; see above."),
    end: str = typer.Option(None, help="Virtual time from which nothing is traded any more."),
    state_file: Path = typer.Option(None, help="Keeps the virtual time over restarts."),
    accounts_file: Path = typer.Option(None, help="Keeps the trading accounts over restarts."),
    activity: float = typer.Option(1.0, help="Multiplies the model's number of trades."),
    more: list[str] = typer.Argument(None, metavar="[FILE]...", help="More files of the source."),
    rate_limit: float = typer.Option(1.0, help="Multiplies OKX's request limits; 0: none."),
    timestamps: str = typer.Option("close", help="Times of a candle file: close or open of its candles."),
    bulk_layout: str = typer.Option("current", help="Columns of the bulk files: old, current or newest."),
    bulk_unsorted: bool = typer.Option(False, "--bulk-unsorted", help="Their rows in no order."),
) -> None:
    """The simulated exchange: OKX's protocol on loopback.

    The first line on stdout is JSON: {"rest": url, "ws": url}. Runs until SIGTERM or Ctrl-C.

    \b
    --faults, all keys optional, times in wall seconds, shares in [0, 1]:
      "seed": 1                                     the same seed, the same faults
      "disconnect", "silence", "half_open", "notice": {"every_s": 60, "for_s": 5}
                                                    of each connection, on average each 60 s
      "duplicate", "reorder", "gap", "garbage": 0.01    share of data frames
      "unpushed": 0.001                             share of trades that REST alone has
      "late": {"share": 0.001, "by_s": 4}           trades that come late
      "late_candle", "revised_candle": {"share": 0.1, "by_s": 60}
                                                    candles confirmed, or put right, late
      "rest_lag_s": 1                               REST knows everything that much later
      "clock": {"ahead_s": 0.5, "drift_s": 0.3, "every_s": 60}
                                                    REST's time against that of the trades
      "http_429", "http_500": 0.05                  share of REST requests refused
      "order_lost_request", "order_lost_answer", "order_reject", "order_429": 0.01
                                                    share of order operations
      "order_late": {"share": 0.01, "by_s": 3}      carried out after the client has given up
      "order_partial": 0.01                         market orders that are filled in part
      "late_push": {"share": 0.1, "by_s": 1}        news of orders and balances that come late
      "order_timeout_s": 5                          until a lost REST request is cut
      "script": [{"at_s": 600, "fault": "silence", "for_s": 30}]
                                                    at virtual seconds after the start: disconnect,
                                                    silence, half_open, notice, http_429, http_500

    POST the same document to /sim/faults (application/json) to change the faults of a running exchange.
    """
    from cli.stack.bound_ports import check_port
    from pipelines.exchanges.sim.options import SimOptions, parse_speed
    from pipelines.exchanges.sim.run import run_forever

    if port:
        check_port("--port", "127.0.0.1", port)
    if timestamps not in ("close", "open"):
        raise BadInput("--timestamps", f"{timestamps!r} is neither close nor open")
    if bulk_layout not in ("old", "current", "newest"):
        raise BadInput("--bulk-layout", f"{bulk_layout!r} is not old, current or newest")
    files = [name for name in (*source, *(more or [])) if name != "model"]
    options = SimOptions(
        port=port,
        source=tuple(files) or "model",
        timestamps=cast(Literal["close", "open"], timestamps),
        seed=seed,
        activity=activity,
        speed=parse_speed(speed),
        start_ms=None if start is None else milliseconds(start),
        end_ms=None if end is None else milliseconds(end, "--end"),
        state_file=state_file,
        accounts_file=accounts_file,
        rate_limit=rate_limit,
        faults={} if faults is None else fault_object(faults),
        bulk_layout=cast(Literal["old", "current", "newest"], bulk_layout),
        bulk_unsorted=bulk_unsorted,
    )
    run_forever(options, lambda urls: print(json.dumps(urls), flush=True))


def milliseconds(text: str, option: str = "--start") -> int:
    """ISO 8601 as ms since the epoch; UTC unless it names an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(option, f"{text!r} is not an ISO 8601 time such as 2026-11-20T09:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def fault_object(text: str) -> dict[str, Any]:
    """The faults as typed."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput("--faults", f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadInput(
            "--faults", 'must be a JSON object such as {"gap": 0.01} or {"disconnect": {"every_s": 60}}'
        )
    return document
