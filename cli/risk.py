"""`tcp risk` and `tcp kill-switch`: limits over all bots, halts, and stopping everything."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from config.settings import Settings
from core.errors import BadInput

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(no_args_is_help=True)
JSON = typer.Option(False, "--json", help="Print one JSON document.")


@app.command()
def show(as_json: bool = JSON) -> None:
    """Limits over all bots and how far they are used, kill switches, halted bots."""
    from pipelines.warehouse.risk import overview

    document = overview(_engine(_settings()))
    if as_json:
        _print_json(document)
        return
    print(f"kill switch        {'ON' if document['kill_switch'] else 'off'}")
    for name in document["switched_off"]:
        print(f"  on for           {name}")
    for field, value in document["limits"].items():
        print(f"{field:<30} {value}")
    if not document["limits"]:
        print("no limits over all bots: see config/schemas/risk.schema.json for risk.json")
    for portfolio in document["portfolios"]:
        print(
            f"{portfolio['quote']}: equity {portfolio['equity']:,.2f}, "
            f"exposure {portfolio['exposure']:,.2f}, "
            f"{portfolio['open_positions']} open positions, profit {portfolio['pnl']:+,.2f}"
            + (f"; HALTED: {portfolio['halted']}" if portfolio["halted"] else "")
        )
    for name, reason in document["halted"].items():
        print(f"halted: {name}: {reason} (`tcp risk reset {name}`)")


@app.command()
def check(file: Path | None = typer.Argument(None, help="Default: risk.json of the config folder.")) -> None:
    """Check limits over all bots without putting them in force."""
    from config.files import read_document
    from pipelines.warehouse.risk import check_limits, limits_file

    settings = _settings()
    path = file or limits_file(settings)
    check_limits(_engine(settings), read_document(path), str(path))
    print(f"{path}: fine")


@app.command()
def apply(as_json: bool = JSON) -> None:
    """Put risk.json of the config folder in force now; a running daemon does so by itself."""
    import msgspec

    from pipelines.warehouse.risk import apply_limits_file

    settings = _settings()
    limits = msgspec.structs.asdict(apply_limits_file(_engine(settings), settings))
    given = {name: value for name, value in limits.items() if value not in (None, False)}
    if as_json:
        _print_json({"limits": given})
    else:
        print("in force: " + (", ".join(f"{name} {value}" for name, value in given.items()) or "no limits"))


@app.command()
def reset(
    bot: str | None = typer.Argument(None, help="Id of a bot; without one, the stops over all bots."),
    as_json: bool = JSON,
) -> None:
    """Let a halted bot, or all of them together, buy again; losses are measured from here on."""
    from pipelines.warehouse.exposure import reset_portfolios
    from pipelines.warehouse.risk import reset_bot

    engine = _engine(_settings())
    halted = reset_bot(engine, bot) if bot else ", ".join(reset_portfolios(engine))
    if as_json:
        _print_json({"bot": bot, "was_halted": halted or None})
    else:
        print(f"reset; {'it was halted: ' + halted if halted else 'it was not halted'}")


def kill_switch(
    position: str = typer.Argument(metavar="on|off", help="on: no order is sent any more, sells included."),
    flatten: bool = typer.Option(False, "--flatten", help="With on: sell what the bots hold."),
    bot: str | None = typer.Option(None, "--bot", help="Only this bot's switch."),
    as_json: bool = JSON,
) -> None:
    """Stop every bot, or one, from trading: on withdraws what is open and vetoes every order."""
    if position not in {"on", "off"}:
        raise BadInput("kill-switch", f"{position!r} is neither on nor off")
    if flatten and position == "off":
        raise BadInput("--flatten", "sells what is held when the switch is turned on: leave it out with off")
    from pipelines.warehouse.kill_switch import switch

    done = switch(_engine(_settings()), position == "on", "set on the command line", bot, flatten)
    if as_json:
        document: dict[str, Any] = {"kill_switch": done.on, "cancelled_orders": done.cancelled}
        document |= {"bot": bot} if bot else {}
        document |= {"sold": done.sold, "unsold": done.unsold} if flatten else {}
        _print_json(document)
        return
    parts = [f"kill switch{f' of {bot}' if bot else ''} is {position}"]
    if done.cancelled:
        parts.append(f"{done.cancelled} open orders cancelled")
    if flatten:
        parts.append(f"sold: {', '.join(done.sold) or 'nothing'}")
    parts += [f"{name} not sold: {why}" for name, why in done.unsold.items()]
    print("; ".join(parts))


def _settings() -> Settings:
    from cli.stack.ensure import ensure

    return ensure(database=True, must_exist=True)


def _engine(settings: Settings) -> "Engine":
    from pipelines.warehouse.database import engine

    return engine(str(settings.database_url))


def _print_json(document: dict[str, Any]) -> None:
    from pipelines.bus.json import encode

    print(encode(document).decode())
