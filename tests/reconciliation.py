"""A reconciler over a small market, to be set against what the exchange says."""

from decimal import Decimal

from sqlalchemy import Engine, text

from core.candle_builder import CandleBuilder
from core.candles import Candle
from core.clock import Clock
from core.continuity import Continuity
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.reconcile import Reconciler
from live.collector.stream import SymbolStream
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.gaps import record_gap
from pipelines.warehouse.resume import exact_candles
from pipelines.warehouse.trade_marks import store_trades
from tests.exchange import FakeExchange

SYMBOL = "BTC-USDT"
MIDNIGHT = 1_763_683_200_000
MINUTE = 60_000
DAY = 86_400_000


class At(Clock):
    """A clock that is set."""

    def __init__(self, now_ms: int) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms


class Desk:
    """A reconciler over stored minutes of a tape: a trade a minute from midnight."""

    FRAMES = (Timeframe.M1, Timeframe.M5, Timeframe.M15)

    def __init__(self, engine: Engine, minutes: int = 20, unkept: frozenset[str] = frozenset()) -> None:
        self.engine = engine
        self.unkept = unkept
        self.tape = [
            Trade(SYMBOL, n + 1, MIDNIGHT + n * MINUTE + 5, Decimal(60_000 + n), Decimal(2), Side.BUY)
            for n in range(minutes)
        ]
        self.exchange = FakeExchange(self.tape, MIDNIGHT + minutes * MINUTE + 1, 0.0)
        self.stream = SymbolStream(SYMBOL, self.FRAMES, MIDNIGHT, Continuity(0))
        self.events: list[tuple[str, str, str]] = []
        self.written: list[Candle] = []
        self.loses_what_it_is_given = False
        self.clock = At(MIDNIGHT + minutes * MINUTE)
        self.desk = self.reconciler()

    def reconciler(self) -> Reconciler:
        return Reconciler(
            self.exchange, self.engine, self.clock, self.FRAMES, self.put_right, self.tell, self.unkept
        )

    def tell(self, level: str, event: str, message: str) -> None:
        self.events.append((level, event, message))

    def told(self) -> list[tuple[str, str]]:
        return [event[:2] for event in self.events]

    def put_right(self, trades: list[Trade], candles: list[Candle]) -> None:
        if self.loses_what_it_is_given:
            return
        self.written += candles
        with self.engine.begin() as connection:
            store_trades(connection, trades, self.unkept)
            upsert_candles(connection, candles)

    def collect(self, lost: frozenset[int] = frozenset()) -> None:
        """Everything but the lost ids, given up."""
        got = [trade for trade in self.tape if trade.trade_id not in lost]
        self.stream.take(got)
        with self.engine.begin() as connection:
            store_trades(connection, got, self.unkept)
            for trade_id in lost:
                self.stream.continuity.give_up(trade_id, trade_id)
                record_gap(connection, SYMBOL, trade_id, trade_id, "unfillable", self.clock.now_ms())
        self.stream.confirm_quiet(self.clock.now_ms())
        self.put_right([], self.stream.advance(self.clock.now_ms(), 0, 0.0)[0])
        self.written.clear()

    def forget(self) -> None:
        """As after a restart: the builder knows no minute, the database does."""
        builder = CandleBuilder(SYMBOL, self.FRAMES, self.stream.builder.closed_through_ms)
        self.stream.builder = builder

    async def compare(self, kind: str = "recent") -> None:
        end = MIDNIGHT + DAY if kind == "weekly" else self.clock.now_ms()
        if kind == "recent":
            await self.desk._recent(self.stream)
        else:
            await self.desk._from_last(self.stream, kind, end)
        self.put_right([], self.stream.advance(self.clock.now_ms(), 0, 0.0)[0])

    def revise(self, close_ms: int, volume: str, timeframe: Timeframe = Timeframe.M1) -> None:
        """The exchange's row says another volume from now on."""
        self.exchange.other_volumes[SYMBOL, timeframe, close_ms] = Decimal(volume)

    def differences(self) -> list[tuple]:
        query = text(
            "SELECT timeframe, (extract(epoch FROM timestamp) * 1000)::bigint, explanation, our_volume, "
            "their_volume, resolution FROM candle_differences ORDER BY 2, 1"
        )
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def detail(self) -> str:
        with self.engine.connect() as connection:
            return str(connection.execute(text("SELECT detail FROM candle_differences")).scalar())

    def stored(self, timeframe: Timeframe, close_ms: int) -> Candle:
        with self.engine.connect() as connection:
            (candle,) = exact_candles(connection, SYMBOL, timeframe, close_ms - 1, close_ms)
        return candle

    def delete(self, timeframe: Timeframe, close_ms: int) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "DELETE FROM market_data WHERE timeframe = :timeframe AND timestamp = to_timestamp(:at)"
                ),
                {"timeframe": timeframe.value, "at": close_ms / 1000},
            )
