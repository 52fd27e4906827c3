"""Exits and sizes of a backtest: a bot's risk block."""

from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from config.files import RiskFile, plain
from strategies.sizes import sizes_of, with_sizes

if TYPE_CHECKING:
    from strategies.base import Strategy


class Risk(RiskFile):
    """The `risk` block of a bot file means the same here, but for what a clock decides."""

    @model_validator(mode="after")
    def _candles_decide(self) -> Self:
        if self.max_data_age_s is not None:
            raise ValueError("max_data_age_s|has no meaning in a backtest, which is never late: leave it out")
        return self

    @classmethod
    def of_bot(cls, risk: RiskFile) -> Self:
        """A bot's block without what a backtest cannot have."""
        return cls.model_validate(risk.model_dump(exclude={"max_data_age_s"}))

    @classmethod
    def sized(cls, risk: Self | None, strategy: "Strategy") -> Self | None:
        """A run's block with the sizing that the strategy wants, where the block has none; None where
        neither is anything."""
        return with_sizes(risk or cls(), strategy) if sizes_of(strategy) else risk

    def document(self) -> dict[str, Any]:
        """What was set, as JSON."""
        document: dict[str, Any] = plain(self.model_dump(exclude_defaults=True))
        return document
