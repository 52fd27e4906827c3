"""Dash's decorators with types: Dash itself has none that a strict checker accepts."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from dash import ClientsideFunction, Dash

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


def on(dash: Dash, *dependencies: Any, **options: Any) -> Callable[[F], F]:
    """Register an async callback: outputs, inputs and states as in `Dash.callback`.

    Async always: a plain one would run on the event loop that feeds every browser.
    """
    return cast("Callable[[F], F]", dash.callback(*dependencies, **options))


def in_browser(dash: Dash, name: str, *dependencies: Any, initial: Any = True) -> None:
    """Register a function of assets/*.js, `space.function`, as a callback that never asks the server.

    initial: whether it also runs when its components appear; "duplicate" for an output that several write
    """
    space, _, function = name.partition(".")
    prevent = "initial_duplicate" if initial == "duplicate" else not initial
    dash.clientside_callback(ClientsideFunction(space, function), *dependencies, prevent_initial_call=prevent)
