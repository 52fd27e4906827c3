"""The lake in an object store: a local server that speaks S3, and the whole way through it."""

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from sqlalchemy import text
from werkzeug.serving import make_server

from core.errors import BadInput, Unavailable
from core.trades import Side, Trade
from pipelines.lake.adopt import adopt_files
from pipelines.lake.archive import archive_raw_trades
from pipelines.lake.compact import compact_lake
from pipelines.lake.covered import archived_runs
from pipelines.lake.query import query_lake
from pipelines.lake.store import open_store
from pipelines.lake.trades import read_all_trades
from pipelines.lake.verify import verify_lake
from pipelines.warehouse.database import engine
from pipelines.warehouse.trades import copy_trades

pytestmark = pytest.mark.servers

SYMBOL, DAY = "BTC-USDT", date(2026, 11, 19)
MIDNIGHT_MS = int(datetime(2026, 11, 19, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server in this process."""
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty bucket; the environment says how to reach it, as it would at a user's."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": s3,
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.resource("s3", endpoint_url=s3, region_name="eu-central-1")
    return client.create_bucket(
        Bucket=f"lake-{uuid4().hex[:8]}", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )


def stored(database_url: str, count: int = 300) -> list[Trade]:
    trades = [
        Trade(SYMBOL, n, MIDNIGHT_MS + n * 1000, Decimal("95634.12345678") + n, Decimal("0.5"), Side.BUY)
        for n in range(count)
    ]
    with engine(database_url).begin() as connection:
        copy_trades(connection, trades)
    return trades


def keys(bucket: Any) -> list[str]:
    return sorted(entry.key for entry in bucket.objects.all())


def test_a_day_goes_to_s3_and_comes_back(database_url: str, bucket: Any):
    """Archived with removal, verified, queried and read for backtests; the same bytes as in a folder."""
    url = f"s3://{bucket.name}/tcp/lake"
    trades = stored(database_url)
    file = archive_raw_trades(database_url, url, SYMBOL, DAY, drop=True)
    assert file.dropped == 300 and keys(bucket) == [f"tcp/lake/{file.path}"]
    report = verify_lake(database_url, url)
    assert (report.rows, report.findings) == (300, [])
    frame = read_all_trades(engine(database_url), url, SYMBOL, MIDNIGHT_MS, MIDNIGHT_MS + 86_400_000)
    assert frame["trade_id"].to_list() == list(range(300))
    (row,) = query_lake(database_url, url, "SELECT symbol, sum(size) FROM raw_trades GROUP BY 1").rows()
    assert row[0] == SYMBOL and row[1] == sum(t.size for t in trades)


def test_a_lost_and_a_damaged_object_are_alarms(database_url: str, bucket: Any):
    """verify reads what the store has, every time anew; a damaged object that is made good is kept aside."""
    url = f"s3://{bucket.name}/lake"
    stored(database_url)
    file = archive_raw_trades(database_url, url, SYMBOL, DAY)
    bucket.put_object(Key=f"lake/{file.path}", Body=b"damaged")
    assert [finding.kind for finding in verify_lake(database_url, url).findings] == ["damaged"]
    with pytest.raises(Unavailable, match="tcp data verify"):
        query_lake(database_url, url, "SELECT count(*) FROM raw_trades")
    again = archive_raw_trades(database_url, url, SYMBOL, DAY)
    aside = [key for key in keys(bucket) if key.startswith("lake/quarantine/")]
    assert again.path == file.path and verify_lake(database_url, url).findings == []
    assert [bucket.Object(key).get()["Body"].read() for key in aside] == [b"damaged"]
    bucket.Object(f"lake/{file.path}").delete()
    assert [finding.kind for finding in verify_lake(database_url, url).findings] == ["missing"]


def test_objects_without_a_manifest_are_adopted(database_url: str, bucket: Any):
    """A day of trades comes back into the manifest as it is, and its ids count as known; what is none is
    refused and stays."""
    url = f"s3://{bucket.name}/lake"
    stored(database_url)
    file = archive_raw_trades(database_url, url, SYMBOL, DAY, drop=True)
    bucket.put_object(Key="lake/raw_trades/stray.parquet", Body=b"")
    with engine(database_url).begin() as connection:
        connection.execute(text("DELETE FROM lake_files"))
    before, now_ms = keys(bucket), MIDNIGHT_MS + 86_400_000
    done = adopt_files(database_url, url, now_ms)
    assert done.adopted == [(file.path, file.path)]
    assert [path for path, _ in done.refused] == ["raw_trades/stray.parquet"]
    assert keys(bucket) == before
    runs = archived_runs(database_url, url, SYMBOL, MIDNIGHT_MS, now_ms)
    assert (runs.firsts.tolist(), runs.lasts.tolist()) == ([0], [299])
    assert (runs.start_of(299), runs.start_of(300), runs.start_of(-1)) == (0, None, None)


def test_compacting_sets_unknown_objects_aside(database_url: str, bucket: Any):
    """Those over an hour old that the manifest does not know; what is known and in quarantine stays."""
    url = f"s3://{bucket.name}"
    stored(database_url)
    file = archive_raw_trades(database_url, url, SYMBOL, DAY)
    bucket.put_object(Key="raw_trades/stray.parquet", Body=b"")
    bucket.put_object(Key="quarantine/raw_trades/kept.parquet.1", Body=b"")
    with engine(database_url).connect() as connection:
        now_ms = int(connection.execute(text("SELECT extract(epoch FROM now()) * 1000")).scalar_one())
    assert compact_lake(database_url, url, now_ms).set_aside == []
    done = compact_lake(database_url, url, now_ms + 2 * 3_600_000)
    (aside,) = done.set_aside
    assert aside.startswith("quarantine/raw_trades/stray.parquet.") and done.removed == []
    assert keys(bucket) == sorted([str(file.path), "quarantine/raw_trades/kept.parquet.1", aside])


def test_a_bucket_that_is_not_there_loses_nothing(database_url: str, bucket: Any):
    """Unavailable with the URL; no manifest row, the trades stay in Postgres."""
    stored(database_url)
    with pytest.raises(Unavailable, match="s3://no-such-bucket"):
        archive_raw_trades(database_url, "s3://no-such-bucket/lake", SYMBOL, DAY, drop=True)
    with engine(database_url).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM raw_trades")).scalar() == 300
        assert connection.execute(text("SELECT count(*) FROM lake_files")).scalar() == 0


def test_a_store_that_does_not_answer_is_said(
    database_url: str, bucket: Any, unused_port: int, monkeypatch: pytest.MonkeyPatch
):
    """Queries and archives end with one line; nothing is lost."""
    url = f"s3://{bucket.name}/lake"
    stored(database_url)
    archive_raw_trades(database_url, url, SYMBOL, DAY)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_port}")
    for work in (
        lambda: query_lake(database_url, url, "SELECT count(*) FROM raw_trades"),
        lambda: archive_raw_trades(database_url, url, SYMBOL, DAY, drop=True),
    ):
        with pytest.raises(Unavailable, match=bucket.name) as caught:
            work()
        assert "\n" not in str(caught.value)
    with engine(database_url).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM raw_trades")).scalar() == 300


def test_a_crash_while_writing_leaves_no_object(bucket: Any):
    """What was begun and not finished is not there at all."""
    store = open_store(f"s3://{bucket.name}/lake")

    def torn(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("crash")

    with pytest.raises(RuntimeError):
        store.write(lambda digest: "a.parquet", torn)
    assert keys(bucket) == []


def test_a_url_without_a_bucket_is_named():
    """The setting and what is wrong with it."""
    with pytest.raises(BadInput, match="TCP_LAKE_URL: s3://"):
        open_store("s3://")
