"""Strategies by name: every module of this package is searched for classes."""

import pkgutil
from functools import cache
from importlib import import_module
from inspect import isabstract
from typing import Any

import strategies
from core.errors import BadInput
from strategies.base import Strategy, snake_case


@cache
def classes() -> dict[str, type[Strategy]]:
    """Name → class of every strategy, sorted by name."""
    found: dict[str, type[Strategy]] = {}
    for module in pkgutil.iter_modules(strategies.__path__, "strategies."):
        if module.ispkg:
            continue
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Strategy) and not isabstract(value):
                found[value.name] = value
    return dict(sorted(found.items()))


def names() -> list[str]:
    """Names of all strategies, sorted."""
    return list(classes())


def find(name: str) -> type[Strategy]:
    """The class of that name, in any of its spellings (ema_crossover, EMA_Crossover, EmaCrossover);
    BadInput lists the known ones."""
    known = classes()
    strategy = known.get(snake_case(name)) or known.get(name.lower())
    if strategy is None:
        raise BadInput("strategy", f"{name!r} is not known; there are {', '.join(known)}")
    return strategy


def build(name: str, parameters: dict[str, Any] | None = None, timeframe: str | None = None) -> Strategy:
    """A strategy ready to judge candles of that timeframe (None: any).

    parameters: by name, the rest by default; text is read as numbers. BadInput names what is unknown, out of
    bounds or in the wrong order.
    """
    strategy = find(name)
    unsuited = {"timeframe"} & set(parameters or {})
    if unsuited:
        raise BadInput(
            "timeframe", f"{strategy.name} has no such parameter; it belongs to the bot or the run"
        )
    built = strategy(timeframe=timeframe, **(parameters or {}))
    _ = built.window  # a timeframe that does not suit the strategy is refused here, not at the first candle
    return built
