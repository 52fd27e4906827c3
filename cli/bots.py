"""`tcp bots` and `tcp kill-switch`: what people want of the bots."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from config.settings import Settings
from core.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from pipelines.warehouse.bots import BotRow

app = typer.Typer(no_args_is_help=True)
NAME = typer.Argument(help="Id of a bot; `tcp bots list` shows them.")
JSON = typer.Option(False, "--json", help="Print one JSON document.")


@app.command("list")
def list_all(as_json: bool = JSON) -> None:
    """Every bot in one line."""
    from pipelines.warehouse.bots import list_bots

    rows = list_bots(_engine())
    if as_json:
        _print_json({"bots": [_document(row) for row in rows]})
        return
    if not rows:
        print("no bots yet: put a file into config/bots or use `tcp bots create FILE`")
        return
    print(f"{'bot':<20} {'strategy':<20} {'candles':<15} {'status':<8} {'state':<9} {'value':>14} trades")
    for row in rows:
        print(
            f"{row.name:<20} {row.strategy_name:<20} {row.symbol + ' ' + row.timeframe:<15} {row.status:<8} "
            f"{row.state:<9} {row.current_balance:>14,.2f} {row.total_trades:>6}"
        )


@app.command()
def show(name: str = NAME, as_json: bool = JSON) -> None:
    """One bot: what is wanted, what is, its account and its configuration."""
    from pipelines.warehouse.bots import find_bot

    settings = _settings()
    engine = _connect(settings)
    document = _document(find_bot(engine, name))
    document["real_orders"] = _real_orders(engine, settings, document["config"].get("broker", "paper"))
    if as_json:
        _print_json(document)
        return
    for key, value in document.items():
        print(f"{key:<16} {'-' if value is None else value}")


@app.command()
def create(file: Path = typer.Argument(help="JSON or YAML; see config/bots."), as_json: bool = JSON) -> None:
    """Check a bot file, keep it in the config folder and store the bot; it starts if it is enabled."""
    from pipelines.warehouse.bot_files import create_bot
    from pipelines.warehouse.bots import find_bot

    settings = _settings()
    engine = _connect(settings)
    bot = create_bot(engine, settings, file)
    _tell(settings, bot.bot_id)
    row = find_bot(engine, bot.bot_id)
    if as_json:
        _print_json(_document(row))
    else:
        print(f"{row.name} created: {row.strategy_name} on {row.symbol} {row.timeframe}, {row.status}")


@app.command()
def start(name: str = NAME, as_json: bool = JSON) -> None:
    """Let a bot run, beginning at the newest candle if it was stopped or paused."""
    _set(name, "active", as_json)


@app.command()
def stop(name: str = NAME, as_json: bool = JSON) -> None:
    """End a bot's process; its position stays as it is."""
    _set(name, "stopped", as_json)


@app.command()
def pause(name: str = NAME, as_json: bool = JSON) -> None:
    """Have a bot judge nothing and hold its position."""
    _set(name, "paused", as_json)


def kill_switch(
    position: str = typer.Argument(metavar="on|off", help="on: no bot sends an order any more."),
    as_json: bool = JSON,
) -> None:
    """Stop every bot from trading: on cancels what is open and vetoes every order; off lets them go on."""
    if position not in {"on", "off"}:
        raise BadInput("kill-switch", f"{position!r} is neither on nor off")
    from pipelines.warehouse.bots import cancel_open_orders
    from pipelines.warehouse.controls import set_kill_switch

    engine, on = _engine(), position == "on"
    set_kill_switch(engine, on, "set on the command line")
    cancelled = cancel_open_orders(engine, "the kill switch was turned on") if on else 0
    if as_json:
        _print_json({"kill_switch": on, "cancelled_orders": cancelled})
    else:
        print(f"kill switch is {position}" + (f"; {cancelled} open orders cancelled" if cancelled else ""))


def _set(name: str, status: str, as_json: bool) -> None:
    from pipelines.warehouse.bots import set_status

    settings = _settings()
    row = set_status(_connect(settings), name, status)
    _tell(settings, name)
    if as_json:
        _print_json(_document(row))
    else:
        print(f"{name}: wanted {row.status}, now {row.state}")


def _settings() -> Settings:
    from cli.stack.ensure import ensure

    return ensure(database=True)


def _connect(settings: Settings) -> "Engine":
    from pipelines.warehouse.database import engine

    return engine(str(settings.database_url))


def _engine() -> "Engine":
    return _connect(_settings())


def _tell(settings: Settings, name: str) -> None:
    """Wake the supervisor; without Redis it notices within two seconds."""
    from pipelines.bus.redis import RedisBus
    from pipelines.warehouse.bots import announce

    async def send() -> None:
        bus = RedisBus(str(settings.redis_url), socket_timeout_s=1.0)
        try:
            with contextlib.suppress(Unavailable):
                await announce(bus, name)
        finally:
            await bus.close()

    asyncio.run(send())


def _document(row: "BotRow") -> dict[str, Any]:
    import msgspec

    shown: Callable[[Any], Any] = msgspec.structs.asdict
    document = shown(row)
    return {"bot_id": document.pop("name"), **{key: value for key, value in document.items() if key != "id"}}


def _real_orders(engine: "Engine", settings: Settings, broker: str) -> dict[str, Any]:
    """Whether a bot's orders leave for an exchange, why not, and what is under way there."""
    from msgspec.structs import asdict

    from pipelines.warehouse.real_orders import real_orders

    return asdict(real_orders(engine, settings, broker))


def _print_json(document: dict[str, Any]) -> None:
    from pipelines.bus.json import encode

    print(encode(document).decode())
