"""A stored bot as the browser shows it: pure, so that the page, the push and the API say the same."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from dashboards.formatting import decimals_of, guess_decimals, strategy

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
    now: wall time. Money as floats in the quote currency, ratios as fractions, times as epoch ms.
    """
    start = float(row["virtual_balance"])
    value = _value(row, price)
    closed, winning = row["total_trades"], row["winning_trades"]
    day_value = float(row["day_start_value"])
    return {
        "bot_id": row["name"],
        "strategy": strategy(row["strategy_name"]),
        "symbol": row["symbol"],
        "timeframe": row["timeframe"],
        "status": row["status"],
        "state": row["state"],
        "shown": shown_state(row["status"], row["state"], row["last_heartbeat"], now),
        "heartbeat_ms": epoch_ms(row["last_heartbeat"]),
        "value": round(value, 2),
        "cash": _float(row["cash"], start),
        "quantity": _float(row["quantity"], 0.0),
        "pnl": round(value - start, 2),
        "pnl_fraction": round((value - start) / start, 6) if start else None,
        "pnl_today": round(value - day_value, 2),
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
    """The public row with times in place of epoch ms and the last signal in one piece."""
    shown = bot_row(row, price, now)
    signal = None
    if row["signal_type"] is not None:
        signal = {name: row[name] for name in ("signal_type", "confidence")}
        signal |= {"timestamp": row["signal_time"], "price": row["signal_price"]}
    hidden = {"heartbeat_ms", "signal_ms", "signal_type", "signal_price", "decimals", "strategy", "value"}
    return {
        **{name: value for name, value in shown.items() if name not in hidden},
        "strategy_name": row["strategy_name"],
        "virtual_balance": row["virtual_balance"],
        "current_balance": shown["value"],
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


def _value(row: dict[str, Any], price: float | None) -> float:
    if row["quantity"] is None:
        return float(row["current_balance"])
    if row["quantity"] == 0:
        return float(row["cash"])
    return float(row["current_balance"] if price is None else row["cash"] + row["quantity"] * Decimal(price))


def _float(value: Decimal | float | None, missing: float | None) -> float | None:
    return missing if value is None else float(value)
