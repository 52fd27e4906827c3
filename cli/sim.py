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
    faults: str = typer.Option(None, help="JSON object of faults and how often they happen."),
    state_file: Path = typer.Option(None, help="Keeps the virtual time over restarts."),
    activity: float = typer.Option(1.0, help="Multiplies the model's number of trades."),
    more: list[str] = typer.Argument(None, metavar="[FILE]...", help="More files of the source."),
    rate_limit: float = typer.Option(1.0, help="Multiplies OKX's request limits; 0: none."),
    timestamps: str = typer.Option("close", help="Times of a candle file: close or open of its candles."),
) -> None:
    """The simulated exchange: OKX's protocol on loopback.

    The first line on stdout is JSON: {"rest": url, "ws": url}. Runs until SIGTERM or Ctrl-C.
    """
    from cli.stack.bound_ports import check_port
    from pipelines.exchanges.sim.options import SimOptions, parse_speed
    from pipelines.exchanges.sim.run import run_forever

    if port:
        check_port("--port", "127.0.0.1", port)
    if timestamps not in ("close", "open"):
        raise BadInput("--timestamps", f"{timestamps!r} is neither close nor open")
    files = [name for name in (*source, *(more or [])) if name != "model"]
    options = SimOptions(
        port=port,
        source=tuple(files) or "model",
        timestamps=cast(Literal["close", "open"], timestamps),
        seed=seed,
        activity=activity,
        speed=parse_speed(speed),
        start_ms=None if start is None else milliseconds(start),
        state_file=state_file,
        rate_limit=rate_limit,
        faults={} if faults is None else fault_object(faults),
    )
    run_forever(options, lambda urls: print(json.dumps(urls), flush=True))


def milliseconds(text: str) -> int:
    """ISO 8601 as ms since the epoch; UTC unless it names an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput("--start", f"{text!r} is not an ISO 8601 time such as 2026-11-20T09:00:00Z") from None
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
