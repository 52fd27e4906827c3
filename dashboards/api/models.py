"""The shapes of answers, as the OpenAPI document states them.

Rows come from the database as exact decimals and are encoded as JSON numbers with all their digits
(dashboards.api.documents); these models describe them and are checked against real answers in the tests.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, WithJsonSchema

Exact = Annotated[Decimal, WithJsonSchema({"type": "number"})]
"""A JSON number with all its digits, where pydantic would say text."""


class Extensible(BaseModel):
    """A row that may have more columns than are named."""

    model_config = ConfigDict(extra="allow")


class Problem(BaseModel):
    """Every error. `field` names the parameter at fault where there is one."""

    detail: Any
    field: str | None = None


class LastSignal(BaseModel):
    """The last buy or sell that a strategy gave."""

    signal_type: str
    timestamp: datetime
    price: Exact
    confidence: float


class Veto(BaseModel):
    """An order that was not let through, and why."""

    timestamp: datetime
    reason: str


class Bot(Extensible):
    """A bot: what is wanted (status), what it does (state), both in one word (shown), and what it made.

    Money in quote currency at the last price, ratios as fractions; fills: buys and sells; closed: round
    trips; kill_switch: on, of all bots or its own; halted: why it buys nothing until it is reset
    """

    bot_id: str
    strategy_name: str
    symbol: str
    quote: str
    timeframe: str
    status: str
    state: str
    shown: str
    virtual_balance: Exact
    current_balance: Exact
    cash: Exact | None
    quantity: Exact | None
    realised_pnl: Exact | None
    fees: Exact | None
    pnl: Exact
    pnl_fraction: float | None
    pnl_today: Exact
    fills: int
    closed: int
    win_rate: float | None
    last_heartbeat: datetime | None
    last_signal: LastSignal | None
    kill_switch: bool
    halted: str | None
    last_veto: Veto | None
    restarts: int
    error: str | None
    deleted_at: datetime | None


class Deleted(BaseModel):
    """A bot that is gone; purged: with its history."""

    bot_id: str
    deleted: bool
    purged: bool


class ConfigVersion(Extensible):
    """A configuration of a bot. changes: field to [before, after]; after_candle: the last one judged before
    it was in force, null for none."""

    version: int
    created_at: datetime
    origin: str
    applied_at: datetime | None
    after_candle: datetime | None
    changes: dict[str, Any]
    document: dict[str, Any]


class ConfigVersions(BaseModel):
    """Newest first; `next` is the cursor of the following page."""

    items: list[ConfigVersion]
    next: str | None


class Crash(Extensible):
    """The end of a bot's process that nobody asked for; exit_code: null where it was ended from here."""

    id: int
    timestamp: datetime
    exit_code: int | None
    reason: str
    stack_trace: str | None


class Crashes(BaseModel):
    """Newest first; `next` is the cursor of the following page."""

    items: list[Crash]
    next: str | None


class Bots(BaseModel):
    """All bots, by name; `next` is the cursor of the following page."""

    items: list[Bot]
    next: str | None


class Trade(Extensible):
    """One fill. fees, pnl and balance_after in quote currency; pnl only of sells, fees deducted."""

    id: str
    timestamp: datetime
    side: str
    price: Exact
    quantity: Exact
    fees: Exact
    pnl: Exact | None
    balance_after: Exact
    signal_id: str | None
    order_id: str | None


class Rows(BaseModel):
    """Rows of a table; `next` is the cursor of the following page."""

    items: list[dict[str, Any]]
    next: str | None


class Trades(BaseModel):
    """Newest first; `next` is the cursor of the following page."""

    items: list[Trade]
    next: str | None


class Signal(Extensible):
    """What a strategy said at the close of a candle."""

    id: str
    timestamp: datetime
    signal_type: str
    price: Exact
    confidence: float
    indicators: dict[str, Any]
    latency_ms: float | None


class Signals(BaseModel):
    """Newest first; `next` is the cursor of the following page."""

    items: list[Signal]
    next: str | None


class Value(Extensible):
    """What a bot was worth. Money in quote currency."""

    timestamp: datetime
    total_value: Exact
    cash_balance: Exact
    crypto_balance: Exact
    total_trades: int
    winning_trades: int
    total_fees: Exact


class Values(BaseModel):
    """Newest first; `next` is the cursor of the following page."""

    items: list[Value]
    next: str | None


class Candle(Extensible):
    """timestamp is the close time; prices in quote, volume in base currency."""

    timestamp: datetime
    open: Exact
    high: Exact
    low: Exact
    close: Exact
    volume: Exact
    trades_count: int
    source: str
    revision: int
    provisional: bool


class History(BaseModel):
    """Candles, oldest first; `next` leads to the page before these."""

    symbol: str
    timeframe: str
    items: list[Candle]
    next: str | None


class Book(BaseModel):
    """The best levels of an order book as (price, size), best first. timestamp: of its newest change;
    sequence: the exchange's number of this state."""

    symbol: str
    timestamp: datetime
    bids: list[tuple[Exact, Exact]]
    asks: list[tuple[Exact, Exact]]
    sequence: int | None


class Run(Extensible):
    """A backtest or sweep in the list."""

    id: str
    kind: str
    strategy: str
    symbol: str
    timeframe: str
    status: str
    created_at: datetime


class Runs(BaseModel):
    """Newest first; `next` is the cursor of the following page."""

    items: list[Run]
    next: str | None


class Backtest(Extensible):
    """A backtest's result; ratios in metrics are fractions."""

    id: str
    strategy: str
    symbol: str
    timeframe: str
    params: dict[str, Any]
    initial_cash: float
    final_value: float | None
    metrics: dict[str, Any]
    trades: list[dict[str, Any]]


class Sweep(Extensible):
    """A sweep's grid and a page of its combinations."""

    id: str
    strategy: str
    status: str
    items: list[dict[str, Any]]
    next: str | None


class Health(BaseModel):
    """ok, or which of database and redis is away; current: both were asked in the last 15 seconds."""

    status: str
    database: bool
    redis: bool
    current: bool
    feed: str
