"""Every setting of the product: typed, read once from the environment, frozen.

The variables are `TCP_HOME`, `TCP_DATABASE_URL` … (see `Settings`); an unset URL means the embedded server.
"""

import re
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent
SYMBOL = re.compile(r"[A-Z0-9]+-[A-Z0-9]+")
EXCHANGE = re.compile(r"(ccxt:)?[a-z0-9_]{1,32}")
TIMEFRAME = re.compile(r"[1-9]\d*[mhd]")
QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Settings(BaseSettings):
    """The settings in force. An unknown field is an error; a bad value names its variable."""

    model_config = SettingsConfigDict(env_prefix="TCP_", frozen=True, extra="forbid", env_ignore_empty=True)

    home: Path = Field(PROJECT_ROOT / "var", description="State of a local run: databases, logs, spool")
    database_url: str | None = Field(None, description="postgresql+psycopg://…; unset: embedded PostgreSQL")
    database_pool: int = Field(
        15,
        ge=3,
        le=100,
        description="Connections to PostgreSQL of a pool at most; they stay open. A process has one or two",
    )
    prepared_statements: bool = Field(
        True, description="false behind a pooler that shares connections by transaction (pgbouncer)"
    )
    wal_archive: Path | None = Field(
        None,
        description="Folder of base backups and WAL of the embedded PostgreSQL (`tcp db recover`)",
    )
    redis_url: str | None = Field(None, description="redis://…; unset: embedded Redis")
    lake_url: str = Field(str(PROJECT_ROOT / "data_lake"), description="Path or object-store URL of the lake")
    exchange: str = Field(
        "sim", description="sim: the simulated exchange; okx; or one of ccxt's: binance, kraken, ccxt:okx …"
    )
    okx_rest_url: str | None = Field(
        None, description="Base URL of the exchange's REST API, or a comma list to fall back on"
    )
    okx_ws_url: str | None = Field(
        None, description="Base URL of its WebSocket, without /public, or a comma list"
    )
    okx_sockets: int = Field(2, ge=1, le=3, description="WebSockets that bring the same trades side by side")
    order_book: Literal["off", "books", "books5", "bbo-tbt"] = Field(
        "books", description="Channel of the order books shown: 400, 5 or 1 levels; off: none"
    )
    symbols: str = Field("BTC-USDT,ETH-USDT,SOL-USDT", description="Comma list of collected symbols")
    timeframes: str = Field("1m,5m,15m,1h,4h,1d", description="Comma list of candle timeframes")
    raw_trades: str = Field(
        "all", description="Symbols whose trades are stored: all, none or a comma list; candles need none"
    )
    raw_trades_days: int | None = Field(
        None, ge=1, description="Days after which `tcp data prune` drops raw trades that are in the lake"
    )
    bot_detail_days: int | None = Field(
        None, ge=1, description="Days after which it thins holds and snapshots; unset keeps them"
    )
    events_days: int | None = Field(
        None, ge=1, description="Days after which it drops system events; unset keeps them"
    )
    config_dir: Path = Field(PROJECT_ROOT / "config", description="Folder of bots/, strategies/, sweeps/")
    strategies_dir: Path = Field(
        PROJECT_ROOT / "my_strategies", description="Folder of your own strategies, *.py"
    )
    dashboard_host: str = Field("127.0.0.1", description="Address the dashboard binds")
    dashboard_port: int = Field(8050, ge=1, le=65535, description="Port of the dashboard and its API")
    dashboard_token: str | None = Field(None, description="Required to bind anything but loopback")
    dashboard_mcp: bool = Field(
        False, description="Whether assistants may read over MCP, at /_dash-mcp of the dashboard"
    )
    dagster_host: str = Field(
        "127.0.0.1",
        description="Address Dagster's pages bind; they have no login: all but loopback is for containers",
    )
    dagster_port: int = Field(3000, ge=1, le=65535, description="Port of Dagster's pages")
    docs_port: int = Field(8051, ge=1, le=65535, description="Port of `tcp docs`")
    history_days: int = Field(7, ge=0, le=3650, description="Days of 1m candles fetched on first start")
    request_rate: float = Field(
        1, ge=0, description="Share of OKX's REST limits used by this machine; 0, for sim only: no limit"
    )
    refill_ids: int = Field(
        50_000, ge=0, description="Missing trades of a symbol refilled by id; candles close what is larger"
    )
    bot_restarts: int = Field(
        3, ge=0, description="Restarts of a dying bot within an hour; then it stays off"
    )
    bot_memory_mb: int = Field(600, ge=200, description="Memory with which a bot counts as leaking")
    bot_silence_s: float = Field(
        30, ge=5, description="Time without a heartbeat after which a bot counts as hung"
    )
    bot_judgement_s: float = Field(10, gt=0, description="Longest time a strategy may take over one candle")
    real_orders: Literal["off", "demo", "live"] = Field(
        "off", description="Whether bots with broker okx-demo (demo) or okx (live) may send orders to OKX"
    )
    okx_keys_file: Path | None = Field(
        None,
        description="Keys of the OKX account, mode 0600; unset: okx-demo.json, okx.json in TCP_HOME/secrets",
    )
    notify_urls: str | None = Field(
        None, description="Addresses of apprise for notifications, blanks between: mailtos://…, tgram://… …"
    )
    notify_file: Path | None = Field(
        None, description="File of such addresses, a line each, mode 0600; unset: TCP_HOME/secrets/notify"
    )
    notify_level: Literal["info", "warning", "error"] = Field(
        "warning", description="Least level of the events that are told"
    )
    notify_repeat_minutes: int = Field(
        30, ge=0, le=10_080, description="The same thing is told once in so many minutes, with a count"
    )
    notify_quiet: str | None = Field(
        None, description="Hours of the UTC day in which only errors are told, such as 22:00-07:00"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least level of what the daemon, the bots and the dashboard log"
    )

    @field_validator("exchange")
    @classmethod
    def _exchange_is_a_name(cls, name: str) -> str:
        if not EXCHANGE.fullmatch(name) or name == "ccxt:sim":
            raise ValueError(f"{name!r} is not sim, okx or an exchange of ccxt such as binance or ccxt:okx")
        return name

    @field_validator("database_url")
    @classmethod
    def _driver_is_explicit(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith("postgresql+psycopg://"):
            raise ValueError("must start with postgresql+psycopg://")
        return url

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("redis://", "rediss://")):
            raise ValueError("must start with redis:// or rediss://")
        return url

    @field_validator("okx_rest_url")
    @classmethod
    def _rest_scheme(cls, url: str | None) -> str | None:
        if url is not None:
            _check_urls(url, ("http://", "https://"), re.compile(r"/api(/v5)?/?$"))
        return url

    @field_validator("okx_ws_url")
    @classmethod
    def _ws_scheme(cls, url: str | None) -> str | None:
        if url is not None:
            _check_urls(url, ("ws://", "wss://"), re.compile(r"/(public|business|private)/?$"))
        return url

    @field_validator("symbols")
    @classmethod
    def _symbols_are_pairs(cls, text: str) -> str:
        _check_list(text, SYMBOL, "a pair such as BTC-USDT")
        return text

    @field_validator("raw_trades")
    @classmethod
    def _raw_trades_are_pairs(cls, text: str) -> str:
        if text not in {"all", "none"}:
            _check_list(text, SYMBOL, "all, none or pairs such as BTC-USDT")
        return text

    @field_validator("timeframes")
    @classmethod
    def _timeframes_are_known(cls, text: str) -> str:
        _check_list(text, TIMEFRAME, "a timeframe such as 1m, 4h or 1d")
        return text

    @field_validator("notify_quiet")
    @classmethod
    def _quiet_is_a_stretch(cls, text: str | None) -> str | None:
        if text is not None and not QUIET.fullmatch(text):
            raise ValueError(f"{text!r} is not a stretch of the day such as 22:00-07:00")
        return text

    @model_validator(mode="after")
    def _limits_are_kept(self) -> "Settings":
        if self.exchange != "sim" and not 0 < self.request_rate <= 1:
            raise ValueError("TCP_REQUEST_RATE must be above 0 and at most 1: only sim has no limits")
        return self

    @model_validator(mode="after")
    def _open_binds_need_a_token(self) -> "Settings":
        if self.dashboard_host not in LOOPBACK and not self.dashboard_token:
            raise ValueError("TCP_DASHBOARD_HOST is not loopback: set TCP_DASHBOARD_TOKEN")
        return self

    @property
    def quiet_minutes(self) -> tuple[int, int] | None:
        """The quiet stretch, from and to, in minutes of the UTC day."""
        found = QUIET.fullmatch(self.notify_quiet or "")
        if found is None:
            return None
        begin_hour, begin, end_hour, end = (int(part) for part in found.groups())
        return begin_hour * 60 + begin, end_hour * 60 + end

    @property
    def ccxt_id(self) -> str | None:
        """ccxt's id of the exchange; None for the simulated one and OKX, unless asked for as ccxt:okx."""
        name = self.exchange.removeprefix("ccxt:")
        return None if self.exchange in ("sim", "okx") else name

    @property
    def exchange_name(self) -> str:
        """What stands in the `exchange` column: okx for the simulated one too."""
        return self.ccxt_id or "okx"

    @property
    def symbol_list(self) -> tuple[str, ...]:
        """Collected symbols, in order."""
        return tuple(part.strip() for part in self.symbols.split(",") if part.strip())

    @property
    def unkept_symbols(self) -> frozenset[str]:
        """Collected symbols of which no raw trades are stored."""
        if self.raw_trades == "all":
            return frozenset()
        return frozenset(self.symbol_list) - {part.strip() for part in self.raw_trades.split(",")}

    @property
    def timeframe_list(self) -> tuple[str, ...]:
        """Candle timeframes, in order."""
        return tuple(part.strip() for part in self.timeframes.split(",") if part.strip())


def _check_urls(text: str, schemes: tuple[str, ...], surplus: re.Pattern[str]) -> None:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError("must name at least one URL")
    for part in parts:
        if not part.startswith(schemes):
            raise ValueError(f"{part!r} must start with {' or '.join(schemes)}")
        if found := surplus.search(part):
            raise ValueError(f"{part!r} is a base URL: leave out {found.group(0)!r}")


def _check_list(text: str, pattern: re.Pattern[str], expected: str) -> None:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError(f"must name at least one: {expected}")
    for part in parts:
        if not pattern.fullmatch(part):
            raise ValueError(f"{part!r} is not {expected}")


@cache
def settings() -> Settings:
    """The process's settings, read from the environment at the first call."""
    return Settings()
