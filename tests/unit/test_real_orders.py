"""Whether real orders are on, and which bots an exchange can serve."""

import pytest

from config.files import BotFile, ConfigError, parse_model
from config.real_orders import keys_file, why_off
from config.settings import Settings

BOT = {
    "bot_id": "real",
    "strategy": "ema_crossover",
    "symbol": "BTC-USDT",
    "timeframe": "1m",
    "virtual_balance": 1000,
}


@pytest.mark.parametrize(
    ("setting", "exchange", "broker", "said"),
    [
        ("off", "okx", "paper", "the bot's broker is paper"),
        ("live", "okx", "paper", "the bot's broker is paper"),
        ("off", "okx", "okx", "TCP_REAL_ORDERS is off: set it to live"),
        ("off", "sim", "okx-demo", "TCP_REAL_ORDERS is off: set it to demo"),
        ("demo", "okx", "okx", "TCP_REAL_ORDERS is demo, and the bot's broker is okx"),
        ("live", "okx", "okx-demo", "TCP_REAL_ORDERS is live, and the bot's broker is okx-demo"),
        ("live", "sim", "okx", "candles come from sim: real orders need TCP_EXCHANGE=okx"),
        ("live", "kraken", "okx", "candles come from kraken: real orders need TCP_EXCHANGE=okx"),
        ("demo", "sim", "okx-demo", None),
        ("demo", "okx", "okx-demo", None),
        ("live", "okx", "okx", None),
    ],
)
def test_orders_leave_only_where_bot_and_settings_agree(setting, exchange, broker, said):
    """Real money needs the bot's word, the setting's word, and the market it is traded on."""
    assert why_off(Settings(real_orders=setting, exchange=exchange), broker) == said


def test_nothing_is_sent_unless_somebody_says_so():
    """A bot without a broker is on paper, and the setting is off."""
    assert parse_model(BotFile, BOT, "here").broker == "paper"
    assert Settings().real_orders == "off"


def test_demo_and_live_keys_are_different_files(tmp_path):
    """Live keys cannot be used by mistake where demo ones are meant."""
    files = {keys_file(Settings(home=tmp_path, real_orders=mode)).name for mode in ("demo", "live")}
    assert files == {"okx-demo.json", "okx.json"}


def test_an_exchange_takes_limits_trailing_stops_and_times():
    """Also as the document that is stored, in which all defaults stand."""
    changes = {"execution": {"order": "limit", "offset": 0.001, "expires": 3}}
    changes |= {"risk": {"trailing_stop": 0.01, "max_candles": 5}}
    bot = parse_model(BotFile, BOT | {"broker": "okx"} | changes, "here")
    assert parse_model(BotFile, bot.document(), "stored") == bot


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"broker": "binance"}, "here: broker: Input should be 'paper', 'okx-demo' or 'okx'"),
        ({"execution": {"order": "stop", "offset": 0.1}}, "here: execution.order: stop is for paper orders"),
        ({"execution": {"maker_fee": 0.001}}, "here: execution.maker_fee: is for paper orders"),
        ({"execution": {"book": True}}, "here: execution.book: is for paper orders"),
        (
            {"risk": {"trailing_stop": 0.1, "stop_loss": 0.1}},
            "here: risk.trailing_stop: is an order of its own",
        ),
        ({"risk": {"trailing_stop": 0.0005}}, "here: risk.trailing_stop: is 0.001 or more"),
    ],
)
def test_what_an_exchange_cannot_do_is_refused(changes, said):
    """The field and the remedy, before anything is stored."""
    with pytest.raises(ConfigError, match=said):
        parse_model(BotFile, BOT | {"broker": "okx"} | changes, "here")
