"""A PostgreSQL whose disk is really full: an outage like another, over when there is room again."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from cli.stack.accounts import server_account
from live.collector.spool import Spool
from pipelines.warehouse.database import engine, migrate
from tests.own_servers import own_postgres
from tests.waiting import until
from tests.writing import Told, put, stored, writing

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Four megabytes that belong to the server's account."""
    folder = Path(tempfile.mkdtemp(prefix="tcp-small-", dir="/var/tmp"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip(f"mounting a small disk needs root: {mounted.stderr.strip()}")
    try:
        account = server_account()
        os.chown(folder, account.uid, account.gid)
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        shutil.rmtree(folder)


async def test_trades_wait_for_a_full_disk_of_the_server_and_come_in_order(small_disk, tmp_path):
    filler, told = small_disk / "filler", Told()
    with own_postgres() as server:
        migrate(server.url)
        with engine(server.url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE TABLESPACE small LOCATION '{small_disk}'"))
            connection.execute(text("ALTER TABLE market_data SET TABLESPACE small"))
            connection.execute(text("ALTER ROLE tcp SET default_tablespace = 'small'"))  # of new partitions
        engine(server.url).dispose()
        async with writing(server.url, Spool(tmp_path, reserve_bytes=0), told) as writer:
            put(writer, 1, 100)
            await until(lambda: writer.written_trades == 100)
            _fill(filler)
            for first in range(101, 5_001, 700):
                put(writer, first, 700)
                await until(lambda: writer.pending_trades <= 2_000)
            await until(lambda: writer.is_away)
            assert "No space left" in dict(told.events)["postgres_away"]
            filler.unlink()
            await until(lambda: stored(server.url)[0] == list(range(1, 5_001)), 60)
        assert [name for name in told.names() if name.startswith("postgres")] == [
            "postgres_away",
            "postgres_back",
        ]
        assert told.committed == list(range(100, 5_001, 100))
        engine(server.url).dispose()


def _fill(path: Path) -> None:
    with path.open("wb") as file:
        try:
            while True:
                file.write(b"x" * 8_192)
                file.flush()
        except OSError:
            return
