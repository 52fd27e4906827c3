"""Rows of the exchange's answers and pushes, as JSON bytes. Built by hand: this is the feed's hot path."""

from collections.abc import Sequence

import msgspec

from pipelines.exchanges.sim.days import Candles, DayTrades, Flags, Ints
from pipelines.exchanges.sim.specs import SymbolSpec


def aggregated_trades(spec: SymbolSpec, trades: DayTrades, which: slice | Ints) -> list[bytes]:
    """The `trades` channel's rows of some of the day's aggregates: one per taker order and price."""
    joined = trades.aggregates
    last = joined.last[which]
    prices: dict[int, str] = {}
    rows = []
    for trade_id, ticks, lots, buy, ts, count in zip(
        trades.ids[last].tolist(),
        trades.price[last].tolist(),
        joined.size[which].tolist(),
        trades.buy[last].tolist(),
        trades.ts[last].tolist(),
        joined.count[which].tolist(),
        strict=True,
    ):
        price = prices.get(ticks) or prices.setdefault(ticks, spec.price_text(ticks))
        rows.append(
            f'{{"instId":"{spec.symbol}","tradeId":"{trade_id}","px":"{price}",'
            f'"sz":"{spec.size_text(lots)}","side":"{"buy" if buy else "sell"}","ts":"{ts}",'
            f'"count":"{count}","source":"0","seqId":{trade_id}}}'.encode()
        )
    return rows


def single_trades(spec: SymbolSpec, trades: DayTrades) -> list[bytes]:
    """Rows of single matches, oldest first, as REST and the `trades-all` channel give them."""
    return [
        f'{{"instId":"{spec.symbol}","tradeId":"{trade_id}","px":"{spec.price_text(ticks)}",'
        f'"sz":"{spec.size_text(lots)}","side":"{"buy" if buy else "sell"}","ts":"{ts}",'
        f'"source":"0"}}'.encode()
        for trade_id, ticks, lots, buy, ts in zip(
            trades.ids.tolist(),
            trades.price.tolist(),
            trades.size.tolist(),
            trades.buy.tolist(),
            trades.ts.tolist(),
            strict=True,
        )
    ]


def candles(spec: SymbolSpec, rows: Candles, confirmed: Flags) -> list[bytes]:
    """Candle rows, oldest first; `confirmed` says which are complete."""
    lists = [column.tolist() for column in rows.columns()[:7]]
    encoded = []
    for ts, open_, high, low, close, volume, value, complete in zip(*lists, confirmed.tolist(), strict=True):
        quote = spec.value_text(value)
        encoded.append(
            f'["{ts}","{spec.price_text(open_)}","{spec.price_text(high)}","{spec.price_text(low)}",'
            f'"{spec.price_text(close)}","{spec.size_text(volume)}","{quote}","{quote}",'
            f'"{1 if complete else 0}"]'.encode()
        )
    return encoded


def envelope(rows: Sequence[bytes]) -> bytes:
    """A REST answer around encoded rows."""
    return b'{"code":"0","msg":"","data":[' + b",".join(rows) + b"]}"


def frame(channel: str, inst_id: str, rows: Sequence[bytes], action: str = "") -> bytes:
    """A WebSocket push around encoded rows."""
    head = msgspec.json.encode({"arg": {"channel": channel, "instId": inst_id}})[:-1]
    if action:
        head += b',"action":"' + action.encode() + b'"'
    return head + b',"data":[' + b",".join(rows) + b"]}"
