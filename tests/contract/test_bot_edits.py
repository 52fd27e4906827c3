"""Bots created, configured, deleted and brought back: the row, the versions and the file go together."""

import json
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from sqlalchemy import Engine, text

from config.files import ConfigError
from config.settings import Settings
from core.errors import BadInput
from live.bots.bot import Bot
from pipelines.clock import SystemClock
from pipelines.warehouse.bot_edits import delete_bot, edit_bot, undelete_bot, write_bot
from pipelines.warehouse.bot_files import create_bot, read_folder
from pipelines.warehouse.bot_readings import identity_of
from pipelines.warehouse.bot_versions import list_versions
from pipelines.warehouse.bots import find_bot, list_bots, record_crash, save_bot, set_status
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.instruments import upsert_instruments
from pipelines.warehouse.tables import metadata
from tests import bot_bench as bench
from tests.broker_rig import SYMBOLS, Traders

pytestmark = pytest.mark.servers
GOOD = {
    "bot_id": "mine",
    "strategy": "ema_crossover",
    "parameters": {"fast_period": 3, "slow_period": 8},
    "symbol": "BTC-USDT",
    "timeframe": "1m",
    "virtual_balance": 10000,
    "enabled": False,
}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Settings with an empty config folder."""
    (tmp_path / "config" / "bots").mkdir(parents=True)
    return Settings(config_dir=tmp_path / "config", home=tmp_path / "var", strategies_dir=tmp_path / "own")


@pytest.fixture
def file(engine: Engine, home: Settings) -> Path:
    """The file of a bot that was created from it."""
    path = home.config_dir / "bots" / "mine.json"
    path.write_text(json.dumps(GOOD))
    create_bot(engine, home, path)
    return path


def _judge(engine: Engine, candles: int) -> None:
    """Have the bot judge so many candles, at once."""
    market = bench.walk(candles)
    upsert_instruments(engine, [bench.BTC])
    bench.store(engine, market)
    set_status(engine, "mine", "active")
    bot = Bot(find_bot(engine, "mine"), engine, SystemClock(), lambda message: None)
    bot.live_close_ms = market[0].close_ms
    while bot.catch_up() or bench.last_candle_ms(engine, "mine") is None:
        continue


def test_every_change_is_a_version_with_its_origin(engine: Engine, home: Settings, file: Path):
    """What changed is told field by field; doing it again changes nothing; the file has it too."""
    edit_bot(engine, home, "mine", {"risk.stop_loss": 0.05})
    edit_bot(engine, home, "mine", {"risk.stop_loss": 0.05})
    write_bot(engine, home, "mine", GOOD | {"fee": 0.002}, "api")
    versions = list_versions(engine, "mine")
    assert [(each.version, each.origin) for each in versions] == [(3, "api"), (2, "cli"), (1, "cli")]
    assert versions[0].changes == {"fee": [0.001, 0.002], "risk.stop_loss": [0.05, None]}
    assert versions[1].changes == {"risk.stop_loss": [None, 0.05]}
    assert find_bot(engine, "mine").config == versions[0].document
    assert json.loads(file.read_text()) == GOOD | {"fee": 0.002}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"virtual_balance": 0}, "virtual_balance"),
        ({"parameters.fast_period": 99}, "fast_period"),
        ({"strategy": "magic"}, "strategy"),
        ({"symbol": "XXX-USDT"}, "symbol"),
        ({"bot_id": "other"}, "bot_id"),
        ({"colour": "red"}, "colour"),
        ({"symbol.base": "BTC"}, "symbol"),
    ],
)
def test_a_wrong_change_is_refused_and_nothing_is_written(
    engine: Engine, home: Settings, file: Path, change: dict[str, object], field: str
):
    """The field is named; row, versions and folder are as before."""
    with pytest.raises((BadInput, ConfigError), match=field):
        edit_bot(engine, home, "mine", change)
    assert len(list_versions(engine, "mine")) == 1
    assert json.loads(file.read_text()) == GOOD
    assert [path.name for path in file.parent.iterdir()] == ["mine.json"]


def test_a_file_in_yaml_stays_one(engine: Engine, home: Settings):
    """And no second file of the bot appears."""
    path = home.config_dir / "bots" / "other-name.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    create_bot(engine, home, path)
    edit_bot(engine, home, "mine", {"parameters.fast_period": 4})
    assert yaml.safe_load(path.read_text())["parameters"] == {"fast_period": 4, "slow_period": 8}
    assert [each.name for each in path.parent.iterdir()] == ["other-name.yaml"]


def test_no_file_is_written_over_another_bots(engine: Engine, home: Settings, file: Path):
    """A bot whose file is gone, and whose name another's has, gets one of another name; one that cannot be
    read is replaced where it was the bot's own."""
    foreign = json.dumps(GOOD | {"bot_id": "two"})
    file.write_text(foreign)
    edit_bot(engine, home, "mine", {"fee": 0.002})
    own = file.with_name("mine-2.json")
    assert (file.read_text(), json.loads(own.read_text())["fee"]) == (foreign, 0.002)
    for broken in (file, own):
        broken.write_text("{")
    write_bot(engine, home, "mine", GOOD, "cli")
    assert (file.read_text(), json.loads(own.read_text())) == ("{", GOOD)
    assert find_bot(engine, "mine").config_file == "mine-2.json"


def test_market_and_money_may_change_until_the_first_candle_was_judged(
    engine: Engine, home: Settings, file: Path
):
    """Of a new bot both change with its account; of one with a history neither, and the field is named."""
    edit_bot(engine, home, "mine", {"symbol": "ETH-USDT", "virtual_balance": 500})
    row = find_bot(engine, "mine")
    assert (row.symbol, row.virtual_balance, row.cash, row.current_balance) == ("ETH-USDT", 500, 500, 500)
    edit_bot(engine, home, "mine", {"symbol": "BTC-USDT"})
    _judge(engine, 3)
    with pytest.raises(BadInput, match="symbol: bot 'mine' has a history with BTC-USDT: keep that, or"):
        edit_bot(engine, home, "mine", {"symbol": "ETH-USDT"})
    with pytest.raises(BadInput, match="virtual_balance: bot 'mine' has a history with 500: "):
        edit_bot(engine, home, "mine", {"virtual_balance": 501})


def test_a_symbol_that_is_not_listed_and_money_under_the_minimum_are_refused(engine: Engine, home: Settings):
    """The remedy is said: listed symbols, and the least amount."""
    upsert_instruments(engine, [bench.BTC])
    bench.store(engine, bench.walk(1))
    path = home.config_dir / "bots" / "mine.json"
    path.write_text(json.dumps(GOOD | {"symbol": "ETH-USDT"}))
    with pytest.raises(
        BadInput, match=r"symbol: 'ETH-USDT' is not listed by the exchange; .* such as BTC-USDT"
    ):
        create_bot(engine, home, path)
    path.write_text(json.dumps(GOOD | {"virtual_balance": 0.5}))
    with pytest.raises(
        BadInput, match=r"virtual_balance: 0\.5 USDT buys less than .* 0\.00001 BTC: give at least"
    ):
        create_bot(engine, home, path)
    assert list_bots(engine) == []


def test_a_deleted_bot_is_out_of_sight_and_its_history_is_not(engine: Engine, home: Settings, file: Path):
    """Its file is put aside; one that lies there again, a start and a creation are refused with the remedy;
    restored it has all it had and is stopped."""
    _judge(engine, 5)
    assert [path.name for path in delete_bot(engine, home, "mine")] == ["mine.json.deleted"]
    assert delete_bot(engine, home, "mine") == []
    assert list_bots(engine) == [] and [row.name for row in list_bots(engine, deleted=True)] == ["mine"]
    assert len(bench.history(engine, "mine")["signals"]) == 5 and len(list_versions(engine, "mine")) == 1
    file.write_text(json.dumps(GOOD))
    remedy = "bot_id: 'mine' was deleted at .*: `tcp bots restore mine` brings it back"
    with pytest.raises(BadInput, match=remedy):
        save_bot(engine, read_folder(home)[0][file], file.name)
    with pytest.raises(BadInput, match=remedy):
        create_bot(engine, home, file)
    with pytest.raises(BadInput, match=remedy):
        set_status(engine, "mine", "active")
    file.unlink()
    undelete_bot(engine, home, "mine")
    assert (find_bot(engine, "mine").status, file.exists()) == ("stopped", True)
    with pytest.raises(BadInput, match="is not deleted"):
        undelete_bot(engine, home, "mine")


def test_a_bot_that_may_not_be_purged_keeps_its_file(engine: Engine, home: Settings):
    """It has an order at an exchange: the refusal comes before anything is done."""
    traders = Traders(engine, 1, dict.fromkeys(SYMBOLS, Decimal(100)))
    traders.add(1)
    assert traders.decide(1) == 1
    path = home.config_dir / "bots" / "real.json"
    path.write_text('{"bot_id": "real_001"}')
    with pytest.raises(BadInput, match="delete it without purging"):
        delete_bot(engine, home, "real_001", purge=True)
    assert path.exists() and find_bot(engine, "real_001").deleted_at is None


def test_a_purged_bot_leaves_no_row(engine: Engine, home: Settings, file: Path, tmp_path: Path):
    """Every table that refers to bots is empty of it, and its name is free again, but not for a file that
    lies there still, as it does on another host. Nor does that change the bot that is made anew."""
    other = home.model_copy(update={"home": tmp_path / "var2", "config_dir": tmp_path / "config2"})
    shutil.copytree(home.config_dir, other.config_dir)
    _judge(engine, 40)
    record_crash(engine, find_bot(engine, "mine").id, 0, 1, "any", None)
    assert bench.scalar(engine, "SELECT count(*) FROM orders") > 0
    delete_bot(engine, home, "mine", purge=True)
    for table in metadata.sorted_tables:
        if "bot_id" in table.c or table.name == "bots":
            assert bench.scalar(engine, f"SELECT count(*) FROM {table.name}") == 0, table.name
    assert not file.exists()
    file.write_text(json.dumps(GOOD | {"virtual_balance": 7000}))
    with pytest.raises(
        BadInput, match=r"bot_id: 'mine' was purged at .*: remove the file, or `tcp bots create"
    ):
        _read(engine, home)
    assert list_bots(engine) == []
    create_bot(engine, home, file)
    assert (find_bot(engine, "mine").cash, _read(engine, home)) == (Decimal(7000), "unchanged")
    assert (_read(engine, other), find_bot(engine, "mine").cash) == ("kept", Decimal(7000))
    delete_bot(engine, home, "mine", purge=True)
    create_bot(engine, home, _written(file, {"virtual_balance": 9000}))
    for earlier in ({}, {"virtual_balance": 7000}):
        _written(other.config_dir / "bots" / "mine.json", earlier)
        other = other.model_copy(update={"home": tmp_path / str(earlier)})
        assert _read(engine, other) == "kept"
    _written(other.config_dir / "bots" / "mine.json", {"virtual_balance": 9000, "fee": 0.003})
    assert _read(engine, other) == "changed"


def test_a_second_file_with_the_id_of_a_bot_never_takes_it_over(home: Settings, file: Path):
    """Whatever its name: the file that the bot has stays its file, and the other one is told."""
    other = file.with_name("a.json")
    other.write_text(json.dumps(GOOD | {"fee": 0.05}))
    bots, problems = read_folder(home, {"mine": "mine.json"})
    assert list(bots) == [file]
    assert problems[other] == f"{other}: bot_id: 'mine' is already the id of mine.json; choose another"


def test_a_file_counts_where_it_has_changed_since_it_was_read_there(
    engine: Engine, home: Settings, file: Path, tmp_path: Path
):
    """What nobody touched since brings nothing back, neither as it is read nor as a single field is set; what
    was edited does, also back to what it once said, and whatever the other host did meanwhile."""
    other = home.model_copy(update={"home": tmp_path / "var2", "config_dir": tmp_path / "config2"})
    shutil.copytree(home.config_dir, other.config_dir)

    edit_bot(engine, home, "mine", {"risk.stop_loss": 0.05})
    assert [_read(engine, other), _read(engine, other), _read(engine, home)] == ["kept", "kept", "unchanged"]
    edit_bot(engine, other, "mine", {"fee": 0.002})
    assert _stop_loss(engine) == 0.05  # the old file was no ground to build on
    assert [_read(engine, other), _read(engine, home), _stop_loss(engine)] == ["unchanged", "kept", 0.05]
    file.write_text(json.dumps(GOOD))
    assert [_read(engine, home), _stop_loss(engine)] == ["changed", None]
    assert [_read(engine, other), _stop_loss(engine)] == ["kept", None]
    with engine.begin() as connection:  # as a version of the program wrote it that knew no slippage
        connection.execute(text("UPDATE bot_readings SET document = document - 'slippage'"))
    assert _read(engine, other) == "kept"


@pytest.mark.parametrize("first", [0, 1])
def test_an_edit_while_all_hosts_were_off_counts(
    engine: Engine, home: Settings, file: Path, tmp_path: Path, first: int
):
    """Whichever starts first, the one that knows the bot's file in their shared folder or the one that never
    read it; on a machine installed anew what the bot never had counts, and what it once had does not."""
    hosts = [home, home.model_copy(update={"home": tmp_path / "var2"})]
    file.write_text(json.dumps(GOOD | {"risk": {"stop_loss": 0.05}}))
    said = [_read(engine, host) for host in (hosts[first], hosts[not first])]
    assert (said, _stop_loss(engine)) == (["changed", "unchanged"], 0.05)
    edit_bot(engine, home, "mine", {"risk.stop_loss": 0.04})
    for written, expected in ((0.05, "kept"), (0.03, "changed")):
        file.write_text(json.dumps(GOOD | {"risk": {"stop_loss": written}}))
        anew = home.model_copy(update={"home": tmp_path / expected})
        assert (_read(engine, anew), _stop_loss(engine)) == (expected, 0.04 if expected == "kept" else 0.03)


def _read(engine: Engine, settings: Settings) -> str:
    """As a daemon of that host reads the only file."""
    [(path, bot)] = read_folder(settings)[0].items()
    return save_bot(engine, bot, path.name, identity=identity_of(settings.home))


def _written(file: Path, changes: dict[str, object]) -> Path:
    file.write_text(json.dumps(GOOD | changes))
    return file


def _stop_loss(engine: Engine) -> float | None:
    found: float | None = find_bot(engine, "mine").config["risk"].get("stop_loss")
    return found


def test_a_bot_is_stored_with_what_its_backtest_is_kept_under(engine: Engine, home: Settings, file: Path):
    """All parameters, those that its file leaves out too, and its stops; filled in for a bot of an older
    version as its unchanged file is read, and empty for orders that no backtest knows."""
    everything = {"fast_period": 3, "slow_period": 8}
    assert _variant(engine) == everything
    write_bot(engine, home, "mine", GOOD | {"parameters": {"fast_period": 3}}, "cli")
    whole = everything | {"slow_period": 26}
    assert _variant(engine) == whole
    with engine.begin() as connection:
        connection.execute(text("UPDATE bots SET variant = NULL"))
    assert save_bot(engine, read_folder(home)[0][file], file.name) == "unchanged"
    assert _variant(engine) == whole
    edit_bot(engine, home, "mine", {"risk.stop_loss": 0.1, "execution.spread": 1})
    blocks = {"risk": {"stop_loss": 0.1}, "execution": {"spread": 1, "intrabar": "trades"}}
    assert _variant(engine) == whole | blocks
    edit_bot(engine, home, "mine", {"execution.book": True})
    assert _variant(engine) is None


def _variant(engine: Engine) -> dict[str, object] | None:
    with engine.connect() as connection:
        found: dict[str, object] | None = connection.scalar(text("SELECT variant FROM bots"))
    return found
