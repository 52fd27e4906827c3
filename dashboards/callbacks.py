"""Dash's decorators with types: Dash itself has none that a strict checker accepts."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

import orjson
from dash import ClientsideFunction, Dash
from dash.development.base_component import Component

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])
JSON_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
"""Plotly's, which writes the rest of an answer."""


def on(dash: Dash, *dependencies: Any, **options: Any) -> Callable[[F], F]:
    """Register an async callback: outputs, inputs and states as in `Dash.callback`.

    Async always: a plain one would run on the event loop that feeds every browser.
    """
    register = dash.callback(*dependencies, **options)

    def decorate(function: F) -> F:
        @wraps(function)
        async def answered(*arguments: Any, **named: Any) -> Any:
            found = await function(*arguments, **named)
            return tuple(map(packed, found)) if isinstance(found, tuple) else packed(found)

        register(answered)
        return function

    return decorate


def packed(value: Any) -> Any:
    """Components as the JSON they become, anything else as it is.

    Where Dash meets a component in an answer, it copies all of the answer in Python, each number of its
    charts too, before it writes it: a third of what a busy server did.
    """
    if not isinstance(value, Component) and not (
        isinstance(value, list) and any(isinstance(part, Component) for part in value)
    ):
        return value
    return orjson.Fragment(orjson.dumps(value, default=_described, option=JSON_OPTIONS))


def _described(value: Any) -> Any:
    if isinstance(value, Component):
        return value.to_plotly_json()
    raise TypeError(f"{type(value).__name__} is nothing that a page can show")


def in_browser(dash: Dash, name: str, *dependencies: Any, initial: Any = True) -> None:
    """Register a function of assets/*.js, `space.function`, as a callback that never asks the server.

    initial: whether it also runs when its components appear; "duplicate" for an output that several write
    """
    space, _, function = name.partition(".")
    prevent = "initial_duplicate" if initial == "duplicate" else not initial
    dash.clientside_callback(ClientsideFunction(space, function), *dependencies, prevent_initial_call=prevent)
