"""Strategies by name, from the package and from the user's folder (`TCP_STRATEGIES_DIR`)."""

from functools import cache
from typing import Any

from config.settings import settings
from core.errors import BadInput, TcpError
from strategies.base import Strategy
from strategies.catalogue import Catalogue, failure


@cache
def catalogue() -> Catalogue:
    """The process's strategies; it looks at the folders each time it is asked."""
    return Catalogue(settings().strategies_dir)


def classes() -> dict[str, type[Strategy]]:
    """Name → class of every strategy, sorted by name."""
    return catalogue().classes()


def names() -> list[str]:
    """Names of all strategies, sorted."""
    return list(classes())


def shipped() -> list[str]:
    """Names of those that come with the product, sorted."""
    return catalogue().shipped()


def find(name: str) -> type[Strategy]:
    """The class of that name, in any of its spellings (ema_crossover, EMA_Crossover, EmaCrossover);
    BadInput lists the known ones, or says in which file and line it is broken."""
    return catalogue().find(name)


def build(
    name: str | type[Strategy], parameters: dict[str, Any] | None = None, timeframe: str | None = None
) -> Strategy:
    """A strategy ready to judge candles of that timeframe (None: any).

    name: or its class, where thousands are built · parameters: by name, the rest by default; text is read as
    numbers. BadInput names what is unknown, out of bounds or in the wrong order, and the line of a strategy
    that raises.
    """
    strategy = find(name) if isinstance(name, str) else name
    unsuited = {"timeframe"} & set(parameters or {})
    if unsuited:
        raise BadInput(
            "timeframe", f"{strategy.name} has no such parameter; it belongs to the bot or the run"
        )
    try:
        built = strategy(timeframe=timeframe, **(parameters or {}))
        _ = built.window  # a timeframe that does not suit it is refused here, not at the first candle
    except TcpError:
        raise
    except (Exception, SystemExit) as error:
        raise failure(strategy, error) from error
    return built
