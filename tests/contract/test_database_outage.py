"""A PostgreSQL that hangs, restarts, refuses or is full: each wait is bounded, each is called an outage."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from config.settings import settings
from pipelines.warehouse.database import engine, is_outage
from tests.own_servers import OwnServer, own_postgres

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    with own_postgres() as running:
        yield running


def fails_as_outage(url: str, answer_s: int | None = 1) -> str:
    """The reason, of an error that must be an outage."""
    with pytest.raises(DBAPIError) as caught, engine(url, answer_s).begin() as connection:
        connection.execute(text("SELECT 1"))
        connection.execute(text("CREATE TABLE IF NOT EXISTS t (n int)"))
    assert is_outage(caught.value)
    return str(caught.value.orig)


def test_a_server_that_hangs_in_the_middle_of_a_transaction_is_given_up(server):
    with engine(server.url, 1).connect() as connection:
        connection.execute(text("SELECT 1"))
        server.hang()
        try:
            began = time.monotonic()
            with pytest.raises(DBAPIError) as caught:
                connection.execute(text("SELECT 2"))
            assert "no answer within 4 s" in str(caught.value.orig)
            assert is_outage(caught.value)
            assert connection.invalidated
            assert "timeout" in fails_as_outage(server.url)  # a new connection neither
            assert time.monotonic() - began < 20
        finally:
            server.resume()
    with engine(server.url, 1).connect() as connection:
        assert connection.execute(text("SELECT 3")).scalar() == 3


def test_a_statement_that_waits_too_long_for_a_lock_is_ended_by_the_server(server):
    with engine(server.url).begin() as maker:
        maker.execute(text("CREATE TABLE IF NOT EXISTS locked (n int)"))
    with engine(server.url).begin() as holder:
        holder.execute(text("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(DBAPIError) as caught, engine(server.url, 1).connect() as connection:
            connection.execute(text("SELECT 1 FROM locked"))
        assert caught.value.orig.sqlstate == "57014"
        assert is_outage(caught.value)


def test_a_crashed_server_is_an_outage_and_the_same_engine_goes_on_after_recovery(server):
    with engine(server.url, 1).connect() as connection:
        connection.execute(text("SELECT 1"))
    server.kill()
    fails_as_outage(server.url)
    server.start()
    with engine(server.url, 1).connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1


@pytest.mark.parametrize(
    ("statement", "undo", "reason"),
    [
        ("ALTER ROLE app NOLOGIN", "ALTER ROLE app LOGIN", "not permitted to log in"),
        ("ALTER ROLE app PASSWORD 'new'", "ALTER ROLE app PASSWORD 'secret'", "password authentication"),
        ("ALTER ROLE app CONNECTION LIMIT 0", "ALTER ROLE app CONNECTION LIMIT -1", "too many connections"),
        (
            "ALTER ROLE app SET default_transaction_read_only = on",
            "ALTER ROLE app RESET default_transaction_read_only",
            "read-only transaction",
        ),
    ],
    ids=["no login", "wrong password", "out of connections", "read only"],
)
def test_a_server_that_refuses_is_an_outage_and_not_a_bug(server, statement, undo, reason):
    admin = make_url(server.url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS t")
        if _has_role(connection):
            connection.execute("DROP OWNED BY app")
        connection.execute("DROP ROLE IF EXISTS app")
        connection.execute("CREATE ROLE app LOGIN PASSWORD 'secret'")
        connection.execute("GRANT CREATE ON SCHEMA public TO app")
        own = make_url(server.url).set(username="app", password="secret")
        url = own.render_as_string(hide_password=False)
        connection.execute(statement.encode())
        assert reason in fails_as_outage(url)
        connection.execute(undo.encode())
        with engine(url, 1).connect() as again:
            assert again.execute(text("SELECT 1")).scalar() == 1
        engine(url, 1).dispose()


def _has_role(connection: psycopg.Connection) -> bool:
    return connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'app'").fetchone() is not None


@pytest.mark.parametrize("code", ["53100", "53200", "58030", "57P01", "57P03", "40001", "40P01", "55P03"])
def test_states_that_pass_are_outages(server, code):
    own = create_engine(server.url)
    with pytest.raises(DBAPIError) as caught, own.connect() as connection:
        connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'it passes' USING ERRCODE = '{code}'; END $$"))
    assert is_outage(caught.value)
    own.dispose()


@pytest.mark.parametrize("code", ["22003", "23505", "42P01", "42703", "XX000"])
def test_wrong_data_and_wrong_statements_are_not_outages(server, code):
    own = create_engine(server.url)
    with pytest.raises(DBAPIError) as caught, own.connect() as connection:
        connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'a bug' USING ERRCODE = '{code}'; END $$"))
    assert not is_outage(caught.value)
    own.dispose()


@pytest.mark.parametrize(("setting", "count"), [("true", 1), ("false", 0)])
def test_statements_are_prepared_unless_a_pooler_forbids_it(server, monkeypatch, setting, count):
    monkeypatch.setenv("TCP_PREPARED_STATEMENTS", setting)
    settings.cache_clear()
    engine.cache_clear()
    own = engine(server.url, 20)
    with own.connect() as connection:
        for _ in range(10):
            connection.execute(text("SELECT CAST(:n AS int) + 1"), {"n": 1})
        query = text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%+ 1'")
        assert connection.execute(query).scalar() == count
        limit = connection.execute(text("SHOW statement_timeout")).scalar()
        assert limit == ("20s" if setting == "true" else "0")
    own.dispose()
    engine.cache_clear()
    settings.cache_clear()
