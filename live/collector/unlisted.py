"""Symbols that the exchange does not list: left out, told once, and asked for again."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from core.errors import BadInput

ASK_AGAIN_S = 60.0
"""Pause before what is not listed is asked for again."""


class ListedStart:
    """Starts symbols, each for itself: one that is not listed, or not any more, holds up no other.

    Parameters
    ----------
    start: starts a symbol; BadInput, and nothing done, when the exchange does not list it
    on_event: told (level, event, message) of what is left out, and of what is listed by now

    unlisted: the symbols that are left out, with the exchange's reason
    """

    def __init__(
        self, start: Callable[[str], Awaitable[None]], on_event: Callable[[str, str, str], None]
    ) -> None:
        self._start = start
        self._on_event = on_event
        self.unlisted: dict[str, BadInput] = {}

    async def first(self, symbols: Sequence[str]) -> None:
        """Start them; BadInput when the exchange lists none."""
        await self._try(symbols)
        if symbols and len(self.unlisted) == len(symbols):
            raise self.unlisted[symbols[0]]
        for symbol, error in self.unlisted.items():
            self._on_event(
                "error",
                "symbol_unlisted",
                f"{symbol} is left out, the exchange refused it ({error}): "
                "correct TCP_SYMBOLS; should it be listed one day, it is collected from then on",
            )

    async def again(self) -> list[str]:
        """Start what is listed by now; returns it."""
        asked = list(self.unlisted)
        await self._try(asked)
        listed = [symbol for symbol in asked if symbol not in self.unlisted]
        for symbol in listed:
            self._on_event("info", "symbol_listed", f"{symbol} is listed by now, and collected")
        return listed

    async def _try(self, symbols: Sequence[str]) -> None:
        await asyncio.gather(*(self._try_one(symbol) for symbol in symbols))

    async def _try_one(self, symbol: str) -> None:
        try:
            await self._start(symbol)
            self.unlisted.pop(symbol, None)
        except BadInput as error:
            self.unlisted[symbol] = error
