"""The port between a bot and whoever carries its orders out."""

from collections.abc import Callable
from typing import Protocol

from sqlalchemy import Connection

from core.candles import Candle
from core.decisions import Account, Outcome, Rules
from core.signals import Signal

Decide = Callable[[Rules, Account, Signal], Outcome]
"""`core.decisions.judge` of one candle, with the risk gate in it."""


class Broker(Protocol):
    """Called inside the transaction of each decision, which holds the lock of the bot's account: what is not
    committed with the decision has not happened."""

    def account(self, connection: Connection, account: Account) -> Account:
        """The account as of this transaction; `account`: as the bot remembers it."""
        ...

    def judge(
        self,
        connection: Connection,
        rules: Rules,
        account: Account,
        candle: Candle,
        signal: Signal,
        decide: Decide,
    ) -> Outcome:
        """What the bot does at a candle; `account` is what the method of that name gave."""
        ...

    def send(self, connection: Connection, outcome: Outcome) -> bool:
        """The outcome is stored: have its new orders carried out. Whether somebody should be told."""
        ...
