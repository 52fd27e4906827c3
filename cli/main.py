"""The `tcp` command: a table of commands, each in a module that is imported only when it is called."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import typer

INTERRUPTED = 130


class Command(NamedTuple):
    """Where a command lives: `module:attribute`, a function or a typer app, and its line in `tcp --help`."""

    target: str
    help: str


COMMANDS: dict[str, Command] = {
    "up": Command("cli.stack.up:up", "Run everything here; Ctrl-C stops all of it."),
    "down": Command("cli.stack.down:down", "Stop everything of this TCP_HOME, leftovers included."),
    "status": Command("cli.stack.status:status", "What runs, where, and whether it answers."),
    "doctor": Command("cli.stack.doctor:doctor", "Check this machine, the settings and the config files."),
    "health": Command("cli.health:health", "Whether a part answers, for containers and monitors."),
    "db": Command("cli.db:app", "The database: migrate, url, backup, restore."),
    "live": Command("cli.live:live", "The daemon alone: collector and bots, in the foreground."),
    "notify": Command("cli.notify:notify", "Tell people what happens: mail, Telegram, Discord, webhooks."),
    "sim": Command("cli.sim:sim", "The simulated exchange alone."),
    "bots": Command("cli.bots:app", "List, show, create, start, stop and pause bots."),
    "kill-switch": Command("cli.risk:kill_switch", "Veto every order of every bot, or one: on or off."),
    "risk": Command("cli.risk:app", "Limits over all bots: show, check, apply; lift halts."),
    "backfill": Command("cli.backfill:app", "Fetch history from the exchange; resumable."),
    "data": Command("cli.data:app", "Import, verify, archive and compact market data."),
    "strategies": Command("cli.strategies:app", "List, show and check strategies."),
    "backtest": Command("cli.backtest:backtest", "One strategy over one history."),
    "sweep": Command("cli.sweep:sweep", "A strategy over a grid of parameters."),
    "compare": Command("cli.compare:compare", "Backtest runs side by side, with significance."),
    "parity": Command("cli.parity:parity", "A live bot beside a backtest over the same candles."),
    "dashboard": Command("cli.dashboard:dashboard", "The dashboard alone."),
    "dagster": Command("cli.dagster:dagster", "Dagster alone: webserver, daemon and code."),
    "docs": Command("cli.docs:docs", "The data lineage and model documentation."),
}


def build_app(chosen: str | None) -> typer.Typer:
    """The application with `chosen` loaded and every other command only named."""
    app = typer.Typer(
        name="tcp",
        help="Collect crypto market data, test strategies, run bots side by side, see everything.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name, command in COMMANDS.items():
        if name == chosen:
            _register(app, name, command)
        else:
            app.command(name, help=command.help)(_named_only)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit 0 success, 1 the work failed, 2 wrong use or bad input."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    chosen = next((part for part in given if not part.startswith("-")), None)
    try:
        build_app(chosen)(given, prog_name="tcp")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `tcp … | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        from cli.problems import explained  # pydantic is slow to import, and `tcp --help` needs none

        known = explained(error)
        if known is None:
            raise
        line, code = known
        print(f"tcp: {line}", file=sys.stderr)
        sys.exit(code)


def _register(app: typer.Typer, name: str, command: Command) -> None:
    module, _, attribute = command.target.partition(":")
    target: Any = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        app.add_typer(target, name=name, help=command.help)
    else:
        callback: Callable[..., Any] = target
        app.command(name, help=callback.__doc__ or command.help)(callback)


def _root() -> None:
    """Kept so that a lone command stays a sub-command."""


def _named_only() -> None:
    raise AssertionError("a command that was not chosen is never called")


if __name__ == "__main__":
    main()
