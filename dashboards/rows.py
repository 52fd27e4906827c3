"""A stored bot as the browser shows it: pure, so that the page, the push and the API say the same."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from core.fills import exact
from dashboards.formatting import cents, decimals_of, guess_decimals, strategy

ZERO = Decimal(0)
SILENT_AFTER = timedelta(seconds=30)
_DONE = {("active", "running"), ("paused", "paused"), ("stopped", "stopped")}
_DOING = {"active": "starting", "paused": "pausing", "stopped": "stopping"}


def shown_state(status: str, state: str, heartbeat: datetime | None, now: datetime) -> str:
    """One word for (desired status, actual state): running, paused, stopped, starting, pausing, stopping,
    crashed, error, or silent when a running bot has not been heard of for 30 s of wall time."""
    if "error" in {status, state}:
        return "error"
    if state == "crashed":
        return "crashed"
    if (status, state) not in _DONE:
        return _DOING.get(status, state)
    if state == "running" and (heartbeat is None or now - heartbeat > SILENT_AFTER):
        return "silent"
    return state


def day_start(moment: datetime) -> datetime:
    """Beginning of the UTC day that holds `moment`."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def bot_row(row: dict[str, Any], price: float | None, now: datetime) -> dict[str, Any]:
    """The public row of a bot, JSON-ready.

    row: one of queries.bots.overview; price: last price of its symbol, or None (then the stored value counts)
    now: wall time. Money as floats in the quote currency, rounded to `cents` decimals, ratios as fractions,
    times as epoch ms.
    """
    value, made, today = _worth(row, price)
    closed, winning = row["total_trades"], row["winning_trades"]
    quote = row["symbol"].partition("-")[2]
    places = cents(quote)
    return {
        "bot_id": row["name"],
        "strategy": strategy(row["strategy_name"]),
        "symbol": row["symbol"],
        "quote": quote,
        "cents": places,
        "timeframe": row["timeframe"],
        "status": row["status"],
        "state": row["state"],
        "shown": shown_state(row["status"], row["state"], row["last_heartbeat"], now),
        "heartbeat_ms": epoch_ms(row["last_heartbeat"]),
        "value": round(float(value), places),
        "cash": _float(row["cash"], float(row["virtual_balance"])),
        "quantity": _float(row["quantity"], 0.0),
        "pnl": round(float(made), places),
        "pnl_fraction": round(float(made / row["virtual_balance"]), 6) if row["virtual_balance"] else None,
        "pnl_today": round(float(today), places),
        "fills": row["fills"],
        "closed": closed,
        "win_rate": winning / closed if closed else None,
        "signal_type": row["signal_type"],
        "signal_ms": epoch_ms(row["signal_time"]),
        "signal_price": _float(row["signal_price"], None),
        "decimals": price_decimals(row["tick_size"], price or _float(row["signal_price"], 0.0) or 0.0),
        "restarts": row["restarts"],
        "error": row["last_error"],
    }


def api_row(row: dict[str, Any], price: float | None, now: datetime) -> dict[str, Any]:
    """The public row with all digits of its money, times in place of epoch ms and the last signal in one
    piece."""
    shown = bot_row(row, price, now)
    value, made, today = _worth(row, price)
    signal = None
    if row["signal_type"] is not None:
        signal = {name: row[name] for name in ("signal_type", "confidence")}
        signal |= {"timestamp": row["signal_time"], "price": row["signal_price"]}
    hidden = {"heartbeat_ms", "signal_ms", "signal_type", "signal_price", "strategy", "value"}
    hidden |= {"decimals", "cents"}
    return {
        **{name: value for name, value in shown.items() if name not in hidden},
        "strategy_name": row["strategy_name"],
        "virtual_balance": row["virtual_balance"],
        "current_balance": value,
        "cash": row["virtual_balance"] if row["cash"] is None else row["cash"],
        "quantity": ZERO if row["quantity"] is None else row["quantity"],
        "pnl": made,
        "pnl_today": today,
        "realised_pnl": row["realised_pnl"],
        "fees": row["fees"],
        "last_heartbeat": row["last_heartbeat"],
        "deleted_at": row["deleted_at"],
        "last_signal": signal,
        "kill_switch": row["kill_switch"],
        "halted": row["halted"],
        "last_veto": None
        if row["veto_time"] is None
        else {"timestamp": row["veto_time"], "reason": row["veto_reason"]},
    }


def price_decimals(tick_size: Decimal | None, price: float) -> int:
    """Decimals of a price: from its tick, else from its size."""
    return decimals_of(tick_size) if tick_size is not None else guess_decimals(price)


def epoch_ms(moment: datetime | None) -> int | None:
    """A time as ms since the epoch."""
    return None if moment is None else round(moment.timestamp() * 1000)


def _worth(row: dict[str, Any], price: float | None) -> tuple[Decimal, Decimal, Decimal]:
    """Value, profit since the start and profit since 00:00 UTC, exact."""
    with exact():
        if row["quantity"] is None or (price is None and row["quantity"] != 0):
            value = row["current_balance"]
        else:
            # the digits that the exchange told, not the float's
            value = row["cash"] + row["quantity"] * Decimal(str(price or 0))
        return value, value - row["virtual_balance"], value - row["day_start_value"]


def _float(value: Decimal | float | None, missing: float | None) -> float | None:
    return missing if value is None else float(value)
