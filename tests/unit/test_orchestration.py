"""The pure parts of orchestration: dbt's environment, stretches of days, files of sweeps."""

import json
from datetime import date

import pytest

from config.settings import Settings
from core.errors import BadInput
from orchestration.days import Stretch, stretches
from orchestration.dbt_command import connection_environment
from orchestration.defs.backtests.config import SweepConfig
from orchestration.freshness import kept_fresh
from orchestration.sweeps import sweep_files, sweep_requests


def test_a_url_becomes_the_variables_of_the_profile():
    """Every part arrives decoded: a password with a slash is that password again."""
    assert connection_environment("postgresql+psycopg://me:a%2Fb@db.example:6432/prices?sslmode=require") == {
        "TCP_DBT_HOST": "db.example",
        "TCP_DBT_PORT": "6432",
        "TCP_DBT_USER": "me",
        "DBT_ENV_SECRET_TCP_PASSWORD": "a/b",
        "TCP_DBT_DBNAME": "prices",
        "TCP_DBT_SSLMODE": "require",
    }


def test_a_socket_folder_is_the_host():
    """A URL without a host that names a socket folder keeps it."""
    environment = connection_environment("postgresql+psycopg:///prices?host=/run/postgresql")
    assert environment["TCP_DBT_HOST"] == "/run/postgresql"
    assert environment["TCP_DBT_PORT"] == "5432"


def test_days_that_follow_each_other_are_one_stretch():
    """Partitions in any order become as few stretches as possible; symbols and missing days part them."""
    days = [
        ("B", "2026-03-01"),
        ("A", "2026-02-28"),
        ("A", "2026-03-01"),
        ("A", "2026-03-03"),
        ("A", "2026-02-28"),
    ]
    found = stretches({"date": day, "symbol": symbol} for symbol, day in days)
    assert found == [
        Stretch("A", date(2026, 2, 28), date(2026, 3, 1)),
        Stretch("A", date(2026, 3, 3), date(2026, 3, 3)),
        Stretch("B", date(2026, 3, 1), date(2026, 3, 1)),
    ]
    assert sum(stretch.days for stretch in found) == 4


def test_a_stretch_ends_at_the_midnight_after_its_last_day():
    """1970-01-02 alone is [86,400,000, 172,800,000) ms."""
    stretch = Stretch("A", date(1970, 1, 2), date(1970, 1, 2))
    assert (stretch.start_ms, stretch.end_ms) == (86_400_000, 172_800_000)


def test_sweeps_are_chosen_by_file_name(tmp_path):
    """With or without .json; an unknown name lists what there is, no name means all of them."""
    folder = tmp_path / "sweeps"
    folder.mkdir()
    for name in ("b.json", "a.json", "notes.txt"):
        (folder / name).write_text("{}")
    assert [path.name for path in sweep_files(tmp_path, "")] == ["a.json", "b.json"]
    assert sweep_files(tmp_path, "b") == sweep_files(tmp_path, "b.json") == [folder / "b.json"]
    with pytest.raises(BadInput, match=r"'c' is not one of a\.json, b\.json"):
        sweep_files(tmp_path, "c")


def test_a_launched_sweep_is_a_file_with_what_is_given_or_all_given(tmp_path):
    """Fields of the launchpad go over those of a file; with a strategy and no file they are the sweep."""
    (tmp_path / "sweeps").mkdir()
    sweep = {"strategy": "ema_crossover", "symbol": "A-B", "timeframe": "1m", "grid": {"fast_period": "5,6"}}
    (tmp_path / "sweeps" / "a.json").write_text(json.dumps(sweep))
    empty = SweepConfig()
    assert sweep_requests(tmp_path, "", empty.document())["a.json"].grid == {"fast_period": "5,6"}
    given = SweepConfig(
        symbol="C-D,E-F", search="random", trials=7, where=["fast_period > 5"], risk={"stop_loss": 0.02}
    )
    (request,) = sweep_requests(tmp_path, "a", given.document()).values()
    assert (request.symbol, request.search, request.draws) == ("C-D,E-F", "random", 7)
    assert (request.grid, request.where) == ({"fast_period": "5,6"}, ["fast_period > 5"])
    assert str(request.risk.stop_loss) == "0.02"
    alone = SweepConfig(strategy="macd_trend", symbol="A-B", timeframe="5m", grid={"stop_loss": [0.01]})
    assert list(sweep_requests(tmp_path, "", alone.document())) == ["macd_trend"]
    with pytest.raises(BadInput, match="search: must be"):
        sweep_requests(tmp_path, "a", SweepConfig(search="luck").document())


def test_raw_trades_are_waited_for_where_any_are_kept():
    """Dagster warns of a table that does not grow; one that nobody writes is not meant to."""

    def fresh(raw_trades: str) -> frozenset[str]:
        return kept_fresh(Settings(symbols="BTC-USDT,ETH-USDT", raw_trades=raw_trades))

    assert "raw_trades" in fresh("all")
    assert "raw_trades" in fresh("ETH-USDT")
    assert fresh("none") == {"market_data", "signals", "bot_performance"}
