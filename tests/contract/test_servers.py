"""The servers the tests run on are real, migrated and empty."""

import psycopg
import pytest
import redis
from sqlalchemy.engine import make_url

pytestmark = pytest.mark.servers


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))


def test_database_is_postgresql_18_with_our_tables(database_url):
    """A test gets a migrated PostgreSQL 18 in UTC, with no rows."""
    with _connect(database_url) as connection:
        assert connection.info.server_version // 10_000 == 18
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        assert connection.execute("SELECT count(*) FROM bots").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM market_data").fetchone() == (0,)


@pytest.mark.parametrize("run", [1, 2])
def test_databases_of_two_tests_are_apart(database_url, run):
    """What one test wrote, the next does not see."""
    with _connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM controls").fetchone() == (0,)
        connection.execute("INSERT INTO controls (name, value) VALUES ('kill_switch', 'true')")


@pytest.mark.parametrize("run", [1, 2])
def test_redis_is_empty_at_the_start_of_a_test(redis_url, run):
    """What one test kept in Redis, the next does not see."""
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")
