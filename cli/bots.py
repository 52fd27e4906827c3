"""`tcp bots`: what people want of the bots."""

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
def list_all(
    deleted: bool = typer.Option(False, "--deleted", help="Those too that were deleted."),
    as_json: bool = JSON,
) -> None:
    """Every bot in one line."""
    from pipelines.warehouse.bots import list_bots

    engine = _engine()
    rows = list_bots(engine, deleted)
    if as_json:
        _print_json({"bots": [_document(row) for row in rows]})
        return
    if not rows:
        print("no bots yet: put a file into config/bots or use `tcp bots create FILE`")
        return
    held = _held_up(engine)
    print(f"{'bot':<20} {'strategy':<20} {'candles':<15} {'status':<8} {'state':<9} {'value':>14} trades")
    for row in rows:
        print(
            f"{row.name:<20} {row.strategy_name:<20} {row.symbol + ' ' + row.timeframe:<15} {row.status:<8} "
            f"{'deleted' if row.deleted_at else row.state:<9} {row.current_balance:>14,.2f} "
            f"{row.total_trades:>6}" + (f"  {held[row.name]}" if row.name in held else "")
        )
    if "" in held:
        print(held[""])


@app.command()
def show(name: str = NAME, as_json: bool = JSON) -> None:
    """One bot: what is wanted, what is, its account, its configuration and how it stands with its limits."""
    from pipelines.warehouse.bots import find_bot
    from pipelines.warehouse.risk import bot_risk

    settings = _settings()
    engine = _connect(settings)
    document = _document(find_bot(engine, name))
    stands = bot_risk(engine, name)
    document["real_orders"] = _real_orders(engine, settings, document["config"].get("broker", "paper"))
    if as_json:
        _print_json(document | {"risk": stands})
        return
    for key in ("kill_switch", "halted", "vetoes", "last_veto", "last_veto_at"):
        document[key] = getattr(stands, key)
    for key, value in document.items():
        print(f"{key:<16} {'-' if value is None else value}")


@app.command()
def create(file: Path = typer.Argument(help="JSON or YAML; see config/bots."), as_json: bool = JSON) -> None:
    """Check a bot file, keep it in the config folder and store the bot; it starts if it is enabled."""
    from pipelines.warehouse.bot_files import create_bot
    from pipelines.warehouse.bots import find_bot

    settings = _settings(must_exist=False)
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


@app.command()
def configure(
    name: str = NAME,
    file: Path | None = typer.Argument(None, help="A whole new configuration, JSON or YAML."),
    settings_: list[str] = typer.Option(
        [],
        "--set",
        metavar="FIELD=VALUE",
        help="One field: risk.stop_loss=0.05, parameters.fast_period=9; an empty value takes it away.",
    ),
    as_json: bool = JSON,
) -> None:
    """Change a bot's configuration; one that runs goes on by it from its next candle."""
    from config.files import read_document
    from pipelines.warehouse.bot_edits import edit_bot, write_bot
    from pipelines.warehouse.bots import find_bot

    if (file is None) == (not settings_):
        raise BadInput("configure", "give either a FILE or --set FIELD=VALUE")
    settings = _settings()
    engine = _connect(settings)
    before = find_bot(engine, name).config_version
    if file is None:
        edit_bot(engine, settings, name, dict(_assignment(given) for given in settings_))
    else:
        write_bot(engine, settings, name, _object(read_document(file), file), "cli")
    _tell(settings, name)
    row = find_bot(engine, name)
    if as_json:
        _print_json(_document(row))
    elif row.config_version == before:
        print(f"{name}: nothing changes, still version {before}")
    else:
        print(f"{name}: version {row.config_version} instead of {before}, from the next candle on")


@app.command()
def history(name: str = NAME, as_json: bool = JSON) -> None:
    """Every configuration a bot had: when, from where, what changed and after which candle."""
    import msgspec

    from pipelines.warehouse.bot_versions import list_versions
    from pipelines.warehouse.bots import find_bot

    engine = _engine()
    find_bot(engine, name)
    versions = list_versions(engine, name)
    if as_json:
        _print_json({"bot_id": name, "versions": [msgspec.structs.asdict(each) for each in versions]})
        return
    for each in versions:
        since = "not in force yet" if each.applied_at is None else "from its first candle on"
        if each.after_candle is not None:
            since = f"after the candle of {each.after_candle:%Y-%m-%d %H:%M}"
        print(f"version {each.version}  {each.created_at:%Y-%m-%d %H:%M:%S}  {each.origin}  {since}")
        for field, (old, new) in each.changes.items():
            print(f"    {field}: {new}" if each.version == 1 else f"    {field}: {old} -> {new}")


@app.command()
def delete(
    name: str = NAME,
    purge: bool = typer.Option(False, "--purge", help="Forget its history too; this cannot be undone."),
    as_json: bool = JSON,
) -> None:
    """Stop a bot for good and put its file aside; its history stays readable."""
    from pipelines.warehouse.bot_edits import delete_bot

    settings = _settings()
    moved = delete_bot(_connect(settings), settings, name, purge)
    _tell(settings, name)
    if as_json:
        _print_json(
            {"bot_id": name, "deleted": True, "purged": purge, "files": [str(path) for path in moved]}
        )
        return
    kept = "nothing of it is left" if purge else f"`tcp bots restore {name}` brings it back"
    print(f"{name} deleted; {kept}" + "".join(f"\nits file is now {path}" for path in moved))


@app.command()
def restore(name: str = NAME, as_json: bool = JSON) -> None:
    """Bring a deleted bot back, stopped, with its history and its file."""
    from pipelines.warehouse.bot_edits import undelete_bot
    from pipelines.warehouse.bots import find_bot

    settings = _settings()
    engine = _connect(settings)
    undelete_bot(engine, settings, name)
    _tell(settings, name)
    row = find_bot(engine, name)
    if as_json:
        _print_json(_document(row))
    else:
        print(f"{name} is back, {row.status}: `tcp bots start {name}` lets it run")


@app.command()
def balances(
    accept: bool = typer.Option(
        False, "--accept", help="Take what nothing explains for others' from now on."
    ),
    as_json: bool = JSON,
) -> None:
    """What the accounts at exchanges hold, beside what the bots' trades there explain."""
    from msgspec.structs import asdict

    from pipelines.warehouse.real_orders import accept_balances
    from pipelines.warehouse.real_orders import balances as read_balances

    engine = _engine()
    accepted = accept_balances(engine) if accept else []
    rows = read_balances(engine)
    if as_json:
        shown = [asdict(row) | {"difference": row.difference} for row in rows]
        _print_json({"balances": shown, "accepted": [asdict(row) for row in accepted]})
        return
    for row in rows:
        print(
            f"{row.broker:<9} {row.currency:<6} held {row.held.normalize():f}, by trades "
            f"{row.traded.normalize():+f}, others' {row.others.normalize():f}, unexplained "
            f"{row.difference.normalize():f}  ({row.checked_at:%Y-%m-%d %H:%M:%S})"
        )
    if not rows:
        print("no bot has traded at an exchange yet")
    for row in accepted:
        print(f"accepted: {row.difference.normalize():+f} {row.currency}")


def _set(name: str, status: str, as_json: bool) -> None:
    from pipelines.warehouse.bots import set_status

    settings = _settings()
    row = set_status(_connect(settings), name, status)
    _tell(settings, name)
    if as_json:
        _print_json(_document(row))
    else:
        print(f"{name}: wanted {row.status}, now {row.state}")


def _assignment(text: str) -> tuple[str, Any]:
    """FIELD=VALUE; the value is JSON where it can be, else text; None where it is empty."""
    import json

    field, equals, value = text.partition("=")
    if not field or not equals:
        raise BadInput("--set", f"{text!r} is not FIELD=VALUE")
    try:
        return field, json.loads(value) if value else None
    except json.JSONDecodeError:
        return field, value


def _object(document: Any, file: Path) -> dict[str, Any]:
    from config.files import plain

    if not isinstance(document, dict):
        raise BadInput(str(file), "must hold one object with the fields of a bot")
    found: dict[str, Any] = plain(document)
    return found


def _settings(must_exist: bool = True) -> Settings:
    from cli.stack.ensure import ensure

    return ensure(database=True, must_exist=must_exist)


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


def _held_up(engine: "Engine") -> dict[str, str]:
    """Bot → why it buys nothing, or trades not at all; under "" what holds up all of them."""
    from pipelines.warehouse.risk import overview

    stands = overview(engine)
    held = {name: f"halted: {reason}" for name, reason in stands["halted"].items()}
    held |= dict.fromkeys(stands["switched_off"], "its kill switch is on")
    return held | ({"": "the kill switch of all bots is ON"} if stands["kill_switch"] else {})


def _real_orders(engine: "Engine", settings: Settings, broker: str) -> dict[str, Any]:
    """Whether a bot's orders leave for an exchange, why not, and what is under way there."""
    from msgspec.structs import asdict

    from pipelines.warehouse.real_orders import real_orders

    return asdict(real_orders(engine, settings, broker))


def _print_json(document: dict[str, Any]) -> None:
    from pipelines.bus.json import encode

    print(encode(document).decode())
