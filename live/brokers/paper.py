"""Simulated fills: the bot's own account meets the market's trades, and nothing leaves the process."""

from sqlalchemy import Connection

from core.candles import Candle
from core.decisions import Account, Outcome, Rules
from core.signals import Signal
from live.brokers.base import Decide


class PaperBroker:
    """The default. Orders are part of the account, and filled where it is judged (`core.matching`)."""

    def account(self, connection: Connection, account: Account) -> Account:
        """The bot's memory: nobody else changes it."""
        return account

    def judge(
        self,
        connection: Connection,
        rules: Rules,
        account: Account,
        candle: Candle,
        signal: Signal,
        decide: Decide,
    ) -> Outcome:
        """The decision on the account as it is."""
        return decide(rules, account, signal)

    def send(self, connection: Connection, outcome: Outcome) -> bool:
        """Nothing has to be sent."""
        return False
