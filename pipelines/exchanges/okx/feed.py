"""Live trades from OKX, for as long as the process runs: one session after the other, without storms."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from core.errors import Unavailable
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.codec import Codec
from pipelines.exchanges.okx.hosts import Hosts, WrongUrl
from pipelines.exchanges.okx.limits import connection_budget
from pipelines.exchanges.okx.session import OnState, OnTrades, Session
from pipelines.exchanges.okx.watch import Patience

# A connection that lasted this long counts as a success: the next delay is the first again.
STABLE_S = 30.0
TAKEOVER_S = 20.0


class OkxTradeFeed:
    """`pipelines.exchanges.base.TradeFeed` over OKX v5's `/public`.

    address: the base URL of the WebSocket, or several to fall back on

    Trades may be handed on twice (around a move to a new connection, and the last trade at each
    subscription): receivers de-duplicate by id.
    """

    def __init__(
        self,
        address: str | Hosts,
        backoff: Backoff | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.codec = Codec()
        self.hosts = Hosts([address]) if isinstance(address, str) else address
        self._budget = connection_budget(self.hosts.all[0])
        self._backoff = backoff or Backoff()
        self._sleep = sleep
        self._patience = patience or Patience()

    @property
    def url(self) -> str:
        """Where it is connected to, or tries to."""
        return f"{self.hosts.current}/public"

    async def run(self, symbols: Sequence[str], on_trades: OnTrades, on_state: OnState) -> None:
        """Connect, subscribe, reconnect with back-off, for ever. An error raised by `on_trades` ends it."""
        on_state("connecting", self.url)
        while True:
            reason = await self._one_stretch(symbols, on_trades, on_state)
            delay = self._backoff.next_delay_s()
            on_state("reconnecting", f"{reason}; next attempt in {delay:.1f} s")
            await self._sleep(delay)

    async def _one_stretch(self, symbols: Sequence[str], on_trades: OnTrades, on_state: OnState) -> str:
        """From connecting to the loss of the connection, whose reason is returned."""
        host = self.hosts.current
        session = Session(self.url, symbols, self.codec, self._patience, on_trades, on_state)
        try:
            try:
                await self._budget.wait()
                await session.open()
            except Unavailable as error:
                return self._failed(host, str(error), isinstance(error, WrongUrl))
            while True:
                reason = await _ended_or_moving(session)
                if stable := time.monotonic() - session.opened_at > STABLE_S:
                    self._backoff.reset()
                    self.hosts.worked(host)
                if reason is not None:
                    return reason if stable else self._failed(host, reason)
                session = await self._successor(session, symbols, on_trades, on_state)
        finally:
            await session.close()

    def _failed(self, host: str, reason: str, is_wrong: bool = False) -> str:
        """The reason, and the host that is tried next if it is another one."""
        moved = self.hosts.failed(host, is_wrong)
        return f"{reason}; trying {self.hosts.current}" if moved else reason

    async def _successor(
        self, old: Session, symbols: Sequence[str], on_trades: OnTrades, on_state: OnState
    ) -> Session:
        """The session that takes over from one about to be closed, live before the old one ends.

        If it does not come about, the old session goes on until the exchange cuts it.
        """
        old.moving.clear()
        on_state("moving", "the exchange announced the end of this connection: a new one takes over")
        new = Session(self.url, symbols, self.codec, self._patience, on_trades, on_state)
        try:
            await self._budget.wait()
            await new.open()
            async with asyncio.timeout(TAKEOVER_S):
                await new.live.wait()
        except (Unavailable, TimeoutError):
            await new.close()
            return old
        except BaseException:
            await new.close()
            raise
        await old.close("replaced")
        return new


async def _ended_or_moving(session: Session) -> str | None:
    """The reason of the end, or None when the exchange asks to move."""
    ended = asyncio.ensure_future(session.ended())
    moving = asyncio.ensure_future(session.moving.wait())
    try:
        await asyncio.wait({ended, moving}, return_when=asyncio.FIRST_COMPLETED)
        return ended.result() if ended.done() else None
    finally:
        for waiter in (ended, moving):
            waiter.cancel()
        # To await them one by one, their cancellation suppressed, would swallow our own as well.
        await asyncio.gather(ended, moving, return_exceptions=True)
