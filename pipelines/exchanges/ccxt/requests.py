"""A call of ccxt: passing faults tried again, errors in the product's own terms."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import ccxt

from core.errors import BadInput, TcpError, Unavailable
from pipelines.exchanges.okx.backoff import Backoff

ATTEMPTS = 6
LONGEST_DELAY_S = 8.0
LONGEST_TEXT = 300

T = TypeVar("T")


class Caller:
    """Calls of one exchange. Rate limits are ccxt's."""

    def __init__(
        self,
        exchange_id: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._exchange_id = exchange_id
        self._sleep = sleep
        self._attempts = attempts

    async def call(self, what: str, action: Callable[[], Awaitable[T]]) -> T:
        """The result of `action`; `what` (a symbol and what is asked for) goes into the error's text.

        Raises BadInput for what the exchange calls a wrong request, Unavailable after the last attempt.
        """
        backoff = Backoff(first_s=0.5, longest_s=LONGEST_DELAY_S)
        while True:
            try:
                return await action()
            except ccxt.OperationFailed as error:
                delay = backoff.next_delay_s()
                if backoff.failures >= self._attempts:
                    raise translated(
                        self._exchange_id, what, error, f" ({self._attempts} attempts)"
                    ) from None
                await self._sleep(delay)
            except ccxt.BaseError as error:
                raise translated(self._exchange_id, what, error) from None


def translated(exchange_id: str, what: str, error: ccxt.BaseError, note: str = "") -> TcpError:
    """ccxt's error as ours."""
    text = f"{exchange_id}, {what}: {' '.join(str(error).split())[:LONGEST_TEXT]}{note}"
    if isinstance(error, ccxt.BadSymbol):
        return BadInput("symbol", text)
    if isinstance(error, ccxt.NotSupported):
        return BadInput("TCP_EXCHANGE", f"{text} (the exchange does not offer it)")
    if isinstance(error, ccxt.AuthenticationError):
        return BadInput("TCP_EXCHANGE", f"{text} (only exchanges with public market data can be collected)")
    if isinstance(error, ccxt.BadRequest | ccxt.ArgumentsRequired):
        return BadInput("request", text)
    return Unavailable(text)
