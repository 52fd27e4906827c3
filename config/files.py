"""The JSON and YAML files people write: bots, strategies, sweeps. Unknown keys are errors."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from config.contradictions import contradiction
from config.execution import ExecutionFile
from config.exits import ExitsAndSizes
from config.limits import BotLimits
from config.real_orders import BrokerName

T = TypeVar("T", bound=BaseModel)
LEAST_TRAIL = Decimal("0.001")
"""Of a trailing stop at OKX."""
MOST_BYTES, MOST_PARTS, DEEPEST, MOST_DIGITS = 1 << 18, 50_000, 50, 300
"""Bounds of a file, so that no file costs more than a moment."""


class ConfigError(ValueError):
    """A file that cannot be used: the message names file, field and remedy."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StrategyFile(_File):
    """config/strategies/*.json: a strategy and its parameters."""

    strategy_name: str = Field(
        description="Name of a strategy; case and underscores as in the registry or EMA_Crossover"
    )
    parameters: dict[str, Any] = Field(default_factory=dict)


class RiskFile(ExitsAndSizes, BotLimits):
    """The `risk` block of a bot: how positions end, how large they are, and when nothing is bought.

    Fractions: 0.1 is 10 %.
    """


class BotFile(_File):
    """config/bots/*.json: one bot."""

    bot_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    strategy_file: str | None = Field(
        None, description="File in config/strategies; or give `strategy` and `parameters`"
    )
    strategy: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    symbol: str = Field(pattern=r"^[A-Z0-9]+-[A-Z0-9]+$")
    timeframe: str
    virtual_balance: Decimal = Field(gt=0, le=10**15, description="Starting cash, quote currency")
    enabled: bool = True
    fee: Decimal = Field(Decimal("0.001"), ge=0, lt=Decimal("0.1"), description="Taker fee, a fraction")
    slippage: Decimal = Field(Decimal(0), ge=0, lt=Decimal("0.1"))
    risk: RiskFile = RiskFile()
    broker: BrokerName = Field(
        "paper",
        description="Where its orders go: simulated fills, OKX's demo trading, or OKX with real money",
    )
    execution: ExecutionFile | None = Field(
        None, description="Orders, costs and the path inside candles; none: market orders, judged on candles"
    )

    @field_validator("virtual_balance", mode="before")
    @classmethod
    def _amount_is_a_number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must be a number of quote currency")
        return value

    @model_validator(mode="after")
    def _one_strategy(self) -> "BotFile":
        if (self.strategy_file is None) == (self.strategy is None):
            raise ValueError("give either strategy_file or strategy")
        if self.strategy_file is not None and self.parameters:
            raise ValueError("parameters belong into the strategy_file, or give `strategy` instead of it")
        return self

    @model_validator(mode="after")
    def _an_exchange_can_do_it(self) -> "BotFile":
        if self.broker == "paper":
            return self
        if self.execution is not None and (said := self.execution.only_on_paper):
            raise ValueError(f"execution.{said}, or set broker to paper, not {self.broker}")
        trail = self.risk.trailing_stop
        if trail is not None and (self.risk.stop_loss is not None or self.risk.take_profit is not None):
            raise ValueError(
                "risk.trailing_stop|is an order of its own at an exchange, beside which no other may sell the"
                " same coins: leave out stop_loss and take_profit, or set broker to paper"
            )
        if trail is not None and trail < LEAST_TRAIL:
            raise ValueError(f"risk.trailing_stop|is {LEAST_TRAIL} or more at the exchange, not {trail}")
        return self

    @model_validator(mode="after")
    def _nothing_contradicts(self) -> "BotFile":
        said = contradiction(self)
        if said is not None:
            raise ValueError(said)
        return self

    def resolved(self, strategy: StrategyFile) -> "BotFile":
        """The same bot with its strategy and parameters inline, independent of any other file."""
        changes = {
            "strategy_file": None,
            "strategy": strategy.strategy_name,
            "parameters": plain(strategy.parameters),
        }
        return self.model_copy(update=changes)

    def document(self) -> dict[str, Any]:
        """The bot as a JSON document with numbers as numbers; unset things left out."""
        document: dict[str, Any] = plain(self.model_dump(mode="python", exclude_none=True))
        return document


def plain(value: Any) -> Any:
    """A document without Decimals: whole ones become int, the others float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def read_document(path: Path, modest: bool = True) -> Any:
    """The JSON or YAML document in a file; ConfigError where it is none, or, being a modest one, more than
    people write."""
    text = _text(path, MOST_BYTES if modest else -1)
    try:
        document = (
            yaml.safe_load(text)
            if path.suffix in {".yaml", ".yml"}
            else json.loads(text, parse_float=Decimal)
        )
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # such as a number of five thousand digits, or no date
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from None
    if modest and (excess := _excess(document)) is not None:
        raise ConfigError(f"{path}: {excess}")
    return document


def _text(path: Path, most: int) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1 or -1)  # a device may have no end
        if 0 <= most < len(content):
            raise ConfigError(f"{path}: is larger than {most >> 10} kB: no file of this kind is")
        return content.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start}: not UTF-8 text") from None


def _excess(document: Any) -> str | None:
    """What of it no person writes. The aliases of YAML make more of ten lines than fits any memory, or a list
    that holds itself; 1e999999999 is a billion digits as soon as somebody asks for a whole number."""
    seen, waiting = 0, [(document, 0)]
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > DEEPEST:
            return "is nested too deeply"
        if seen + len(waiting) > MOST_PARTS:
            return "has more parts than anybody reads"
        if isinstance(value, Decimal) and abs(value.adjusted()) > MOST_DIGITS:
            return f"has a number of more than {MOST_DIGITS} digits"
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting += [(each, depth + 1) for each in inner]
    return None


def read_model(model: type[T], path: Path) -> T:
    """A file as its model; ConfigError names file and field."""
    return parse_model(model, read_document(path), str(path))


def parse_model(model: type[T], document: Any, where: str) -> T:
    """A document as its model; ConfigError names where it came from and the field."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        # A validator of several fields names the one at fault before a bar.
        named, bar, rest = first["msg"].removeprefix("Value error, ").partition("|")
        said = f"{field}.{named}: {rest}".removeprefix("file.") if bar else f"{field}: {first['msg']}"
        raise ConfigError(f"{where}: {said}") from None
