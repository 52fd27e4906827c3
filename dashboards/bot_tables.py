"""What a bot left on record, as tables of its page: columns, and rows out of the database."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from dashboards.formatting import money
from dashboards.grids import SIGNED, number, text, time
from dashboards.queries import bots as queries
from dashboards.rows import epoch_ms
from pipelines.warehouse import risk

SHOWN = 200
Position = tuple[datetime, str]
_SIDES = {"up": "params.value === 'buy'", "down": "params.value === 'sell'"}


@dataclass(frozen=True, slots=True)
class Record:
    """One kind of rows of a bot.

    columns: for the decimals of its prices and of amounts of money
    rows: (engine, bots.id, how many, behind this row, kept kind)
    filters: (value, words) of what may be kept, the first for everything; parameter: its name in the API
    """

    title: str
    nothing: str
    columns: Callable[[int, int], list[dict[str, Any]]]
    rows: Callable[[Engine, int, int, Position | None, str | None], list[dict[str, Any]]]
    shown: Callable[[dict[str, Any]], dict[str, Any]]
    filters: tuple[tuple[str, str], ...] = ()
    parameter: str = ""


def _money(decimals: int) -> str:
    return f"tcpMoney(params.value, false, {decimals})"


def _at(header: str) -> dict[str, Any]:
    return time("at", header, valueFormatter={"function": "tcpTime(params.value)"}, flex=0, width=160)


def _trade_columns(decimals: int, cents: int) -> list[dict[str, Any]]:
    return [
        _at("Time"),
        text("side", "Side", minWidth=56, maxWidth=80, cellClassRules=_SIDES, valueFormatter=_WORD),
        number("price", "Price", _money(decimals)),
        number("quantity", "Quantity", "tcpQuantity(params.value)", "Coins, before the fee", minWidth=96),
        number("worth", "Value", _money(cents), "Price times quantity, quote currency"),
        number("fees", "Fees", _money(cents + 2), "Quote currency, at the fill price"),
        number(
            "pnl",
            "P&L",
            f"tcpMoney(params.value, true, {cents})",
            "Realised by this sale, all fees deducted",
            cellClassRules=SIGNED,
        ),
        number("cash", "Cash after", _money(cents)),
        text("note", "", minWidth=90, tooltipField="note"),
    ]


def _trade(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "at": epoch_ms(row["timestamp"]),
        "side": row["side"],
        "price": float(row["price"]),
        "quantity": float(row["quantity"]),
        "worth": float(row["price"] * row["quantity"]),
        "fees": float(row["fees"]),
        "pnl": None if row["pnl"] is None else float(row["pnl"]),
        "cash": float(row["balance_after"]),
        "note": "found after a restart" if row["recovered"] else "",
    }


def _order_columns(decimals: int, _cents: int) -> list[dict[str, Any]]:
    return [
        _at("Decided"),
        text("side", "Side", minWidth=56, maxWidth=80, cellClassRules=_SIDES, valueFormatter=_WORD),
        text("order_type", "Type", minWidth=72, maxWidth=110, valueFormatter=_WORD),
        number("price", "Price", _money(decimals)),
        number("quantity", "Quantity", "tcpQuantity(params.value)", minWidth=96),
        number("filled", "Filled", "tcpQuantity(params.value)", minWidth=96),
        text(
            "status",
            "Status",
            minWidth=98,
            maxWidth=130,
            valueFormatter={"function": "tcpOrder(params.value)"},
            cellClassRules={"down": "params.value === 'rejected'", "up": "params.value === 'filled'"},
        ),
        text("reason", "Why", flex=3, minWidth=150, tooltipField="reason"),
    ]


def _order(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "at": epoch_ms(row["timestamp"]),
        "price": None if row["price"] is None else float(row["price"]),
        "quantity": float(row["quantity"]),
        "filled": float(row["filled_quantity"]),
        **{name: row[name] for name in ("side", "order_type", "status", "reason")},
    }


def _signal_columns(decimals: int, _cents: int) -> list[dict[str, Any]]:
    return [
        _at("Candle closed"),
        text("signal_type", "Signal", maxWidth=90, cellClassRules=_SIDES, valueFormatter=_WORD),
        number("price", "Close", _money(decimals)),
        number("confidence", "Confidence", "tcpShare(params.value)", maxWidth=110),
        text(
            "indicators", "Indicators", flex=3, minWidth=220, tooltipField="indicators", cellClass="numeric"
        ),
        number(
            "latency",
            "Latency",
            "tcpLatency(params.value)",
            "Candle published to decision stored; none for candles that were read from the database",
            maxWidth=110,
        ),
    ]


def _signal(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "at": epoch_ms(row["timestamp"]),
        "signal_type": row["signal_type"],
        "price": float(row["price"]),
        "confidence": row["confidence"] if row["signal_type"] != "hold" else None,
        "indicators": indicators_text(row["indicators"]),
        "latency": row["latency_ms"],
    }


def indicators_text(values: dict[str, Any]) -> str:
    """`ema fast 61,828.02 · ema slow —`: what the strategy saw, in one line."""
    parts = []
    for name, value in values.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        said = money(value, _digits(value)) if is_number else _plain(value)
        parts.append(f"{name.replace('_', ' ')} {said}")
    return " · ".join(parts)


def _digits(value: float) -> int:
    """Decimals that leave some six digits of it."""
    return 2 if abs(value) >= 100 else 4 if abs(value) >= 1 else 6


def _plain(value: Any) -> str:
    return "—" if value is None else str(value)


def _trades(engine: Engine, bot: int, limit: int, before: Position | None, only: str | None) -> Any:
    return queries.fills(engine, bot, limit, before, side=only)


def _signals(engine: Engine, bot: int, limit: int, before: Position | None, only: str | None) -> Any:
    return queries.signal_rows(engine, bot, limit, before, only)


_WORD = {"function": "tcpWord(params.value)"}
RECORDS: dict[str, Record] = {
    "trades": Record(
        "Trades",
        "No trade yet: one comes with the first buy signal that the risk gate lets through",
        _trade_columns,
        _trades,
        _trade,
        (("", "All"), ("buy", "Buys"), ("sell", "Sells")),
        "side",
    ),
    "orders": Record(
        "Orders",
        "No order yet",
        _order_columns,
        risk.order_rows,
        _order,
        (
            ("", "All"),
            ("rejected", "Vetoed"),
            ("filled", "Filled"),
            ("open", "Open"),
            ("cancelled", "Withdrawn"),
        ),
        "status",
    ),
    "signals": Record(
        "Signals",
        "No candle was judged yet",
        _signal_columns,
        _signals,
        _signal,
        (("", "All"), ("buy", "Buys"), ("sell", "Sells"), ("hold", "Holds")),
        "type",
    ),
}
