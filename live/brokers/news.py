"""Tells on `status:{bot_id}` of matches at the exchange, as a paper bot tells of its fills."""

import asyncio

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from core.errors import Unavailable
from live.bots.messages import account_document
from live.bots.threads import uninterrupted
from live.messages import iso
from pipelines.bus.base import Bus
from pipelines.warehouse.exchange_fills import FillNews, newest_fills
from pipelines.warehouse.sql import to_ms

MOST_WAITING = 1000

_log = structlog.get_logger("orders")


class News:
    """A bounded queue beside the work: a bus or a database that is away holds up no order, and what could not
    be told is read from the database by whoever wants it."""

    def __init__(self, engine: Engine, bus: Bus) -> None:
        self._engine = engine
        self._bus = bus
        self._queue: asyncio.Queue[tuple[str, int]] = asyncio.Queue(MOST_WAITING)

    def filled(self, order_id: str, matches: int) -> None:
        """So many matches of an order are stored; with a thousand waiting it is not told."""
        if not self._queue.full():
            self._queue.put_nowait((order_id, matches))

    async def run(self) -> None:
        """Tell, for ever."""
        while True:
            order_id, matches = await self._queue.get()
            try:
                news = await uninterrupted(newest_fills, self._engine, order_id, matches)
                await self._bus.publish(f"status:{news.bot}", fill_message(news))
            except (Unavailable, DBAPIError) as error:
                _log.debug("not told", order_id=order_id, error=str(error).partition("\n")[0])


def fill_message(news: FillNews) -> dict[str, object]:
    """The message of a trade, with the account valued at its price."""
    document: dict[str, object] = {
        "bot_id": news.bot,
        "event": "trade",
        "status": news.status,
        "state": news.state,
    }
    price = news.trades[-1].price
    return (
        document
        | account_document(news.portfolio, news.last_candle_ms, price)
        | {
            "trades": [
                {
                    "id": row.id,
                    "timestamp": iso(to_ms(row.timestamp)),
                    "side": row.side,
                    "price": row.price,
                    "quantity": row.quantity,
                    "fees": row.fees,
                    "pnl": row.pnl,
                    "balance_after": row.balance_after,
                }
                for row in news.trades
            ]
        }
    )
