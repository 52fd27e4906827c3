"""What a page is: an address, its words in the navigation, its layout and its callbacks."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from dash import Dash

from dashboards.services import Services


@dataclass(frozen=True, slots=True)
class Page:
    """layout: (services, query string's parameters) → component tree; register: adds its callbacks once."""

    path: str
    title: str
    icon: str
    layout: Callable[[Services, dict[str, str]], Awaitable[Any]]
    register: Callable[[Dash, Services], None]
    key: str = ""

    @property
    def shortcut(self) -> str:
        """The letter that goes here after `g`: the first of the title unless `key` names another."""
        return self.key or self.title[0].lower()
