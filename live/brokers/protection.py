"""Stops, take-profits and trailing stops of bots with a real broker wait at the exchange, as algo orders."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from config.files import BotFile, ConfigError, RiskFile, parse_model
from core.errors import BadInput, TcpError
from core.fills import exact
from core.instruments import Instrument
from live.bots.faults import is_away, said
from live.bots.threads import uninterrupted
from pipelines.warehouse.exchange_protection import idle_holders, protect

Tell = Callable[[str, str, str], None]
_BARE = "coins without the orders that its risk block or the kill switch asks for"


class Protection:
    """Whoever holds coins and has no order under way gets what its risk block asks for, whatever happened
    before: an entry that was filled, the kill switch that was on, or a crash. A sale that the exchange took
    and cancelled is made again, and a kill switch that is to flatten sells what is held. What is wrong with
    one bot is told, and leaves the others."""

    def __init__(
        self, engine: Engine, broker: str, instrument: Callable[[str], Instrument | None], tell: Tell
    ) -> None:
        self._engine = engine
        self._broker = broker
        self._instrument = instrument
        self._tell = tell
        self._failed: dict[str, str] = {}

    async def renew(self) -> int:
        """Store the orders that are missing; returns how many."""
        return await uninterrupted(self._renew)

    def _renew(self) -> int:
        made, failed = 0, {}
        for flatten in (False, True):
            for row in idle_holders(self._engine, self._broker, flatten):
                try:
                    risk = None if flatten else parse_model(BotFile, row.config, f"bot {row.name}").risk
                    made += self._store(row, risk)
                except (ConfigError, TcpError, ArithmeticError) as error:
                    failed[row.name] = str(error)
                except SQLAlchemyError as error:
                    if is_away(error):
                        raise
                    failed[row.name] = said(error)
        for name, why in failed.items():
            if self._failed.get(name) != why:
                self._tell("error", "unprotected", f"bot {name} holds {_BARE}: {why}")
        self._failed = failed
        return made

    def _store(self, row: Any, risk: RiskFile | None) -> bool:
        """Protect, or without a risk block sell, what a bot holds, as far as an order of it is possible."""
        instrument = self._instrument(row.symbol)
        if instrument is None:
            raise BadInput("symbol", f"the exchange's rules of {row.symbol} are not stored: start the daemon")
        with exact():
            quantity = instrument.floor_size(row.quantity)
        if quantity <= 0 or quantity < instrument.min_size:
            return False
        prices = None if risk is None else _triggers(row, instrument, risk)
        return protect(self._engine, self._broker, row.bot_id, quantity, prices) is not None


def _triggers(row: Any, instrument: Instrument, risk: RiskFile) -> dict[str, Decimal | None]:
    """Prices at the distances of the risk block from the average cost, fees included, on the tick; a trailing
    stop has its distance."""
    with exact():
        average = row.cost / row.quantity
        stop = None if risk.stop_loss is None else instrument.round_price(average * (1 - risk.stop_loss))
        profit = (
            None if risk.take_profit is None else instrument.round_price(average * (1 + risk.take_profit))
        )
    return {"stop_price": stop, "profit_price": profit, "trail": risk.trailing_stop}
