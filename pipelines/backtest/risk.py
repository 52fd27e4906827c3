"""Exits and sizes of a backtest: a bot's risk block."""

from typing import Any

from config.files import RiskFile, plain


class Risk(RiskFile):
    """The `risk` block of a bot file means the same here."""

    def document(self) -> dict[str, Any]:
        """What was set, as JSON."""
        document: dict[str, Any] = plain(self.model_dump(exclude_defaults=True))
        return document
