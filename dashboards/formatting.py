"""Numbers and times as people read them. assets/format.js holds the same rules for the browser."""

from datetime import datetime
from decimal import Decimal
from math import isfinite

from pipelines.reports.wording import PERCENT, shown

DASH = "—"
MINUS = "−"
THIN = "\u2009"
ABSURD = 1_000
"""A fraction beyond this is what a few hours look like by the year: its digits say nothing."""

FINE = {"BTC": 6, "ETH": 5, "BNB": 4, "OKB": 4}
"""Coins that others are quoted in, and the decimals of a few cents of them."""

Number = float | int | Decimal


def money(value: Number | None, decimals: int = 2, signed: bool = False) -> str:
    """Thousands separated, a true minus sign, an em dash for nothing: `61,828.02`, `−32.10`."""
    if value is None or not isfinite(value):
        return DASH
    text = f"{abs(value):,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def cents(quote: str) -> int:
    """Decimals that amounts of a currency are shown with: 2, more where one of it is worth thousands."""
    return FINE.get(quote, 2)


def percent(fraction: Number | None, decimals: int = 2, signed: bool = True) -> str:
    """A fraction as percent with a thin space: 0.0124 is `+1.24 %`."""
    if fraction is None or not isfinite(fraction):
        return DASH
    return money(float(fraction) * 100, decimals, signed) + THIN + "%"


def measure(name: str, value: Number | None) -> str:
    """A metric of core.metrics as all pages write it: `+1.24 %`, `1.83`, `12`."""
    if name in PERCENT and value is not None and abs(float(value)) > ABSURD:
        return f"{MINUS if value < 0 else ''}> {ABSURD * 100:,}{THIN}%"
    text = shown(name, value).replace("-", MINUS).replace("%", f"{THIN}%")
    return text if any(digit in text for digit in "123456789") else text.lstrip(f"+{MINUS}")


def size(count: float) -> str:
    """Bytes as people say them: `812 KB`, `1,204.3 TB`."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def quantity(value: Number | None, digits: int = 8) -> str:
    """At most `digits` decimals, no trailing zeros, never an exponent."""
    if value is None or not isfinite(value):
        return DASH
    text = f"{value:,.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", MINUS)


def decimals_of(step: Decimal | None, fallback: int = 2) -> int:
    """Decimals that a tick size asks for: 0.01 → 2, 0.00001 → 5, 5 → 0."""
    if step is None or step <= 0:
        return fallback
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else fallback


def guess_decimals(price: float) -> int:
    """Decimals for a price whose tick size is not known: five significant figures, at least two decimals."""
    if price <= 0 or price >= 1000:
        return 2
    digits = 2
    while price < 100 and digits < 8:
        price *= 10
        digits += 1
    return digits


def utc(moment: datetime | None) -> str:
    """`2026-11-20 14:05:00` (UTC), or an em dash."""
    return DASH if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def strategy(name: str) -> str:
    """A registry name for people: `ema_crossover` → `EMA crossover`."""
    words = name.replace("_", " ").split()
    known = {"ema", "sma", "rsi", "macd", "atr", "adx", "vwap"}
    shown = [word.upper() if word.lower() in known else word.lower() for word in words]
    if shown and shown[0].islower():
        shown[0] = shown[0].capitalize()
    return " ".join(shown)
