"""Bot files: what is accepted, and the one line that each mistake gets."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from config.execution import ExecutionFile
from config.files import ConfigError
from config.settings import PROJECT_ROOT, Settings
from pipelines.backtest.execution import Execution
from pipelines.warehouse.bot_files import folder_version, read_bot_file, read_folder

GOOD = {
    "bot_id": "mine",
    "strategy": "EMA_Crossover",
    "parameters": {"fast_period": 3},
    "symbol": "BTC-USDT",
    "timeframe": "5m",
    "virtual_balance": 10000,
}


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Settings with a config folder that has one strategy file."""
    (tmp_path / "bots").mkdir()
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "rsi.json").write_text('{"strategy_name": "RSI_Reversion"}')
    return Settings(config_dir=tmp_path, home=tmp_path / "var", strategies_dir=tmp_path / "own")


def _file(settings: Settings, name: str, document: object) -> Path:
    path = settings.config_dir / "bots" / name
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_the_bots_that_ship_are_all_usable():
    """Five enabled bots, none refused."""
    bots, problems = read_folder(Settings(config_dir=PROJECT_ROOT / "config"))
    assert problems == {}
    assert sum(bot.enabled for bot in bots.values()) >= 5


def test_a_resolved_bot_is_complete_and_its_numbers_are_numbers(home):
    """Strategy inline under its registry name, defaults filled in, exact decimals."""
    bot = read_bot_file(_file(home, "mine.json", GOOD | {"risk": {"stop_loss": 0.05}}), home)
    document = bot.document()
    assert (bot.strategy, bot.virtual_balance) == ("ema_crossover", Decimal(10000))
    assert document["virtual_balance"] == 10000 and document["fee"] == 0.001
    assert (document["risk"]["max_position_fraction"], document["risk"]["stop_loss"]) == (1, 0.05)
    assert json.loads(json.dumps(document)) == document


def test_yaml_is_accepted(home):
    """The same document as YAML."""
    text = "bot_id: mine\nstrategy_file: rsi.json\nsymbol: BTC-USDT\ntimeframe: 1m\nvirtual_balance: 100.5\n"
    bot = read_bot_file(_file(home, "mine.yaml", text), home)
    assert (bot.strategy, bot.virtual_balance) == ("rsi_reversion", Decimal("100.5"))


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ('{"bot_id": "mine",', "line 1, column 19"),
        ([1, 2], "file: Input should be a valid dictionary"),
        (GOOD | {"virtual_balance": 0}, "virtual_balance: Input should be greater than 0"),
        (GOOD | {"virtual_balance": "much"}, "virtual_balance: Input should be a valid decimal"),
        (GOOD | {"virtual_balance": True}, "virtual_balance: Value error, must be a number"),
        (GOOD | {"symbol": "btc/usdt"}, "symbol: String should match pattern"),
        (GOOD | {"symbol": "DOGE-USDT"}, "symbol: 'DOGE-USDT' is not collected (BTC-USDT, ETH"),
        (GOOD | {"timeframe": "7m"}, "timeframe: '7m' is not one of 1m, 5m"),
        (GOOD | {"strategy": "no_such"}, "strategy: 'no_such' is not known; there are "),
        (GOOD | {"parameters": {"fast": 3}}, "fast: ema_crossover has no such parameter; it has "),
        (GOOD | {"parameters": {"fast_period": 99}}, "fast_period: must be less than slow_period"),
        (GOOD | {"colour": "red"}, "colour: Extra inputs are not permitted"),
        (GOOD | {"risk": {"stop_loss": 2}}, "risk.stop_loss: Input should be less than 1"),
        (GOOD | {"strategy_file": "rsi.json"}, "give either strategy_file or strategy"),
        ({k: v for k, v in GOOD.items() if k != "strategy"} | {"strategy_file": "x.json", "parameters": {}},
         "strategy_file: x.json is not in "),
        ({k: v for k, v in GOOD.items() if k != "bot_id"}, "bot_id: Field required"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_line_that_names_the_file_and_the_field(home, document, line):
    """Never a traceback, never two lines."""
    path = _file(home, "mine.json", document)
    with pytest.raises(ConfigError) as refused:
        read_bot_file(path, home)
    message = str(refused.value)
    assert message.startswith(f"{path}: ") and line in message and "\n" not in message


def test_two_files_with_one_id_are_one_bot_and_one_problem(home):
    """The first by name counts; the other is told of it, and a broken file disturbs neither."""
    _file(home, "a.json", GOOD)
    second = _file(home, "b.json", GOOD)
    broken = _file(home, "c.json", "{")
    bots, problems = read_folder(home)
    assert [path.name for path in bots] == ["a.json"]
    assert problems[second] == f"{second}: bot_id: 'mine' is already the id of a.json; choose another"
    assert set(problems) == {second, broken}


def test_an_edited_strategy_file_is_noticed(home):
    """The version of the folder changes with any bot, parameter or strategy file."""
    _file(home, "a.json", GOOD)
    before = folder_version(home)
    assert folder_version(home) == before
    (home.config_dir / "strategies" / "rsi.json").write_text('{"strategy_name": "Buy_And_Hold"}')
    edited = folder_version(home)
    assert edited != before
    home.strategies_dir.mkdir()
    (home.strategies_dir / "mine.py").write_text("x = 1")
    assert folder_version(home) != edited


@pytest.mark.parametrize(
    ("block", "line"),
    [
        ({"execution": {"order": "iceberg"}}, "execution.order: Input should be 'market', 'limit', 'stop'"),
        ({"execution": {"offset": 0.1}}, "execution.offset: belongs to a limit or stop entry: set order"),
        ({"execution": {"order": "limit", "offset": 1}}, "execution.offset: Input should be less than 1"),
        (
            {"execution": {"order": "stop", "limit_offset": 0.1}},
            "execution.limit_offset: belongs to a stop_l",
        ),
        ({"execution": {"expires": 3}}, "execution.expires: belongs to a waiting entry: set order"),
        ({"execution": {"volume_share": 0}}, "execution.volume_share: Input should be greater than 0"),
        ({"execution": {"intrabar": "5m"}}, "execution.intrabar: Input should be 'trades', '1m' or 'candle'"),
        ({"execution": {"patience": 1}}, "execution.patience: Extra inputs are not permitted"),
        (
            {"execution": {"maker_fee": 0, "fee_tiers": [{"traded": 0, "maker": 0, "taker": 0}]}},
            "execution.maker_fee: is in the fee tiers already: leave one of them out",
        ),
        (
            {"execution": {"fee_tiers": [{"traded": 5, "maker": 0, "taker": 0}]}},
            "execution.fee_tiers: must begin at traded 0 and rise",
        ),
        ({"risk": {"sizing": "fixed"}}, "risk.size: is needed for sizing fixed"),
        ({"risk": {"sizing": "risk", "size": 0.1}}, "risk.sizing: risk needs a stop_loss or a trailing_stop"),
        ({"risk": {"sizing": "risk", "stop_loss": 0.1}}, "risk.size: sizing risk needs it: give it, or the"),
        (
            {"risk": {"sizing": "volatility", "size": 0.2, "volatility_candles": 60_000}},
            "risk.volatility_candles: must be below 50000",
        ),
    ],
)
def test_orders_and_sizes_that_make_no_sense_are_named(home, block, line):
    """One line with file, field and what was expected."""
    path = _file(home, "mine.json", GOOD | block)
    with pytest.raises(ConfigError) as refused:
        read_bot_file(path, home)
    assert str(refused.value).startswith(f"{path}: {line}")


def test_every_option_of_a_backtests_orders_is_one_of_a_bots():
    """The words are the same, and so are their defaults, but for the path that orders are judged on."""
    bots, backtests = ExecutionFile.model_fields, Execution.model_fields
    assert set(backtests) <= set(bots) and set(bots) - set(backtests) == {"limit_offset", "book"}
    for name in set(backtests) - {"intrabar"}:
        assert bots[name].default == backtests[name].default, name
