"""The servers the tests run on are real, migrated and empty."""

import os

import psycopg
import pytest
import redis
from sqlalchemy.engine import make_url

pytestmark = pytest.mark.servers


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False))


def test_database_is_a_supported_postgresql_with_our_tables(database_url):
    """A test gets a migrated database in UTC, with no rows, of PostgreSQL 18 if no other is given."""
    with _connect(database_url) as connection:
        version = connection.info.server_version // 10_000
        assert version >= 15 if "TCP_DATABASE_URL" in os.environ else version == 18
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
