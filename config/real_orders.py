"""Whether orders leave for a real exchange, and if not, why."""

from pathlib import Path
from typing import Literal

from config.settings import Settings

BrokerName = Literal["paper", "okx-demo", "okx"]
BROKER_OF = {"demo": "okx-demo", "live": "okx"}
"""The broker that each value of TCP_REAL_ORDERS lets trade."""


def why_off(settings: Settings, broker: str) -> str | None:
    """Why orders of bots with that broker are not sent; None: they are, once there are keys."""
    if broker == "paper":
        return "the bot's broker is paper"
    wanted = {name: mode for mode, name in BROKER_OF.items()}[broker]
    if settings.real_orders == "off":
        return f"TCP_REAL_ORDERS is off: set it to {wanted}"
    if settings.real_orders != wanted:
        return f"TCP_REAL_ORDERS is {settings.real_orders}, and the bot's broker is {broker}"
    if settings.exchange != "okx" and not (settings.exchange == "sim" and wanted == "demo"):
        return f"candles come from {settings.exchange}: real orders need TCP_EXCHANGE=okx"
    return None


def keys_file(settings: Settings) -> Path:
    """Where the keys are read when the environment has none: one file for demo trading, one for live."""
    if settings.okx_keys_file is not None:
        return settings.okx_keys_file
    return settings.home / "secrets" / f"{BROKER_OF.get(settings.real_orders, 'okx')}.json"
