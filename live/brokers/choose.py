"""Which broker a bot has."""

from config.files import BotFile
from config.real_orders import why_off
from config.settings import settings
from live.brokers.base import Broker
from live.brokers.paper import PaperBroker

ORDERS_CHANNEL = "control:orders"
"""Where bots say that they have stored an order for an exchange; else it is found half a second later."""


def broker_of(config: BotFile, bot_id: int) -> Broker:
    """The broker that a bot's configuration names; whether it may send anything, the settings say."""
    if config.broker == "paper":
        return PaperBroker()
    from live.brokers.exchange import ExchangeBroker

    return ExchangeBroker(bot_id, config.broker, config.symbol, why_off(settings(), config.broker))
