"""The form of a bot: from a document to fields and back, and errors at the field they are about."""

import pytest

from config.files import ConfigError
from config.settings import Settings
from core.errors import BadInput
from dashboards.backtest_form import blocks_of
from dashboards.bot_form import (
    FIXED,
    MARKET_ORDERS,
    OWN_ORDERS,
    bot_properties,
    form,
    groups,
    marked,
    problem,
    read_bot,
)
from dashboards.bot_tables import indicators_text
from pipelines.warehouse.bot_files import check_bot
from tests.dashboard_server import components

SETTINGS = Settings()
DOCUMENT = {
    "bot_id": "one",
    "strategy": "ema_crossover",
    "parameters": {"fast_period": 5, "slow_period": 20},
    "symbol": "BTC-USDT",
    "timeframe": "5m",
    "virtual_balance": 2500,
    "enabled": False,
    "fee": 0.002,
    "risk": {"stop_loss": 0.05, "halt_until_reset": True, "max_drawdown": 0.2},
    "execution": {
        "order": "limit",
        "offset": 0.01,
        "fee_tiers": [{"traded": 0, "maker": 0.001, "taker": 0.001}],
    },
}
UNUSABLE = (
    ({"parameters": {"fast_period": 90}}, "fast_period", "must be less than slow_period (26), got 90"),
    ({"bot_id": "my bot"}, "bot_id", "must be 1 to 64 letters, digits, _ or -"),
    ({"risk": {"stop_loss": 3}}, "risk.stop_loss", "must be less than 1"),
    ({"virtual_balance": None}, "virtual_balance", "must be a number"),
    ({"fee": 0.5}, "fee", "must be less than 10\u2009%"),
    ({"execution": {"order": "market", "offset": 0.1}}, "execution.offset", "belongs to a limit"),
    ({"strategy": "magic"}, "strategy", "magic"),
)


def entries(kind, document, locked=()):
    """Name → what the field shows, of the form of a document."""
    found = [part for part in components(form(SETTINGS, document, locked)) if isinstance(_id(part), dict)]
    return {part.id["name"]: part.value for part in found if part.id["type"] == kind}


def _id(part):
    return getattr(part, "id", None)


def test_a_document_goes_through_the_form_unchanged():
    """What the fields show of a document is read back as that document, nested blocks and lists included."""
    fields, parameters = entries("bot", DOCUMENT), entries("bot-parameter", DOCUMENT)
    assert (fields["fee"], fields["slippage"]) == (0.2, 0), "percent, as in the form of a backtest"
    assert read_bot(SETTINGS, fields.items(), parameters.items()) == DOCUMENT


def test_defaults_are_left_out_and_paper_orders_need_no_block():
    """A form as it begins gives a short file; the execution block is there only when it is asked for."""
    plain = {name: DOCUMENT[name] for name in ("bot_id", "strategy", "parameters", *FIXED)}
    fields = entries("bot", plain)
    assert fields["orders"] == MARKET_ORDERS
    parameters = entries("bot-parameter", plain)
    assert read_bot(SETTINGS, fields.items(), parameters.items()) == plain | {"enabled": True}
    fields["orders"] = OWN_ORDERS
    assert read_bot(SETTINGS, fields.items(), parameters.items())["execution"] == {}


def test_every_field_belongs_to_one_part_of_the_form():
    """Nothing of a bot's file is missing from the form, and nothing is in it twice."""
    shown = [name for _, names in groups(bot_properties(SETTINGS)) for name in names]
    assert sorted([*shown, "strategy"]) == sorted(bot_properties(SETTINGS))


def test_what_is_fixed_cannot_be_typed_over():
    """Symbol, timeframe and balance of a bot with a history are shown, not asked for."""
    parts = [part for part in components(form(SETTINGS, DOCUMENT, FIXED)) if isinstance(_id(part), dict)]
    assert {part.id["name"] for part in parts if getattr(part, "disabled", False)} == set(FIXED)


def test_fields_of_the_strategy_before_are_not_taken_over():
    """Changing the strategy leaves parameters on the screen for a moment: they are not the new one's."""
    fields = entries("bot", DOCUMENT) | {"strategy": "rsi_reversion"}
    document = read_bot(SETTINGS, fields.items(), {"fast_period": 5, "period": 9}.items())
    assert document["parameters"] == {"period": 9}


@pytest.mark.parametrize(("change", "field", "message"), UNUSABLE)
def test_a_mistake_is_told_at_its_field(change, field, message):
    """The validator's words are put beside the field they are about, without the words around them."""
    with pytest.raises((ConfigError, BadInput)) as caught:
        check_bot(DOCUMENT | change, "document", SETTINGS)
    at, said = problem(caught.value)
    assert at == field
    assert message in said
    fields, parameters, line = marked([*bot_properties(SETTINGS)], ["fast_period"], at, said)
    assert [text for text in (*fields, *parameters) if text] == [said]
    assert said in line


def test_a_text_that_is_no_list_names_its_field():
    """Fee tiers are typed as JSON; what is none is refused before anything else is looked at."""
    fields = entries("bot", DOCUMENT) | {"execution.fee_tiers": "[1,"}
    with pytest.raises(BadInput) as caught:
        read_bot(SETTINGS, fields.items(), [])
    assert caught.value.field == "execution.fee_tiers"


def test_a_backtest_of_a_bot_takes_its_limits_but_for_those_of_the_clock():
    """`max_data_age_s` has no meaning in a backtest; without a bot there are no blocks at all."""
    risk = {"stop_loss": 0.05, "max_data_age_s": 60}
    blocks = blocks_of({"risk": risk, "execution": {"order": "market"}})
    assert blocks == {"risk": {"stop_loss": 0.05}, "execution": {"order": "market"}}
    assert blocks_of({"strategy": "ema_crossover"}) == {}


def test_indicator_values_keep_six_digits():
    """Prices two decimals, oscillators four, small values six; none is an em dash."""
    values = {"ema_fast": 61_828.021, "rsi": 48.12347, "slope": 0.000123456, "ready": True, "atr": None}
    said = "ema fast 61,828.02 · rsi 48.1235 · slope 0.000123 · ready True · atr —"
    assert indicators_text(values) == said
