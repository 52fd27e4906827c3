"""Backfills by bulk files from the simulated exchange: every match once, whole UTC days, nothing guessed."""

import io
import resource
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from core.errors import BadInput, Unavailable
from core.instruments import Instrument
from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.backfill.bulk import BulkReport, backfill_bulk_trades
from pipelines.exchanges.okx.bulk import BulkDownloads
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import OkxRest
from pipelines.exchanges.sim.options import BulkLayout, SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve
from pipelines.lake.archive import archive_raw_trades
from pipelines.lake.covered import archived_runs
from pipelines.lake.query import query_lake
from pipelines.lake.verify import verify_lake
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import find_files
from pipelines.warehouse.trades import copy_trades
from tests.bulk_files import Cdn, cdn_before

pytestmark = pytest.mark.servers

SYMBOL = "ETC-USDT"
DAY_MS = 86_400_000
NOW_MS = int(datetime(2026, 9, 21, 12, tzinfo=UTC).timestamp() * 1000)
FIRST = date(2026, 9, 16)
"""Its files are those of the 16th and the 17th at UTC+8."""


def ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def days(*numbers: int) -> list[date]:
    return [date(2026, 9, number) for number in numbers]


def name(number: int) -> str:
    return f"{SYMBOL}-trades-2026-09-{number}.zip"


class Rig:
    """A backfill with its exchange, CDN, database, lake and folders."""

    def __init__(self, database_url: str, folder: Path, sim: RunningSim, cdn: Cdn) -> None:
        self.database_url, self.lake, self.cdn = database_url, folder / "lake", cdn
        self.downloads, self.quarantine = folder / "bulk", folder / "quarantine"
        self.rest = OkxRest(sim.rest_url, Requester(sim.rest_url, budgets={}))

    async def run(
        self,
        first: date,
        last: date,
        symbol: str = SYMBOL,
        repair: bool = False,
        kind: type[BulkDownloads] = BulkDownloads,
    ) -> BulkReport:
        """Both days included."""
        downloads = kind(self.cdn.url, self.downloads, sleep=no_sleep)
        end_ms = ms(last + timedelta(days=1))
        try:
            return await backfill_bulk_trades(
                self.rest,
                downloads,
                self.database_url,
                str(self.lake),
                self.quarantine,
                symbol,
                ms(first),
                end_ms,
                repair=repair,
            )
        finally:
            await downloads.close()

    def table(self, day: date) -> pa.Table:
        with engine(self.database_url).connect() as connection:
            (file,) = find_files(connection, symbol=SYMBOL, day=day)
        return pq.read_table(self.lake / file.path, partitioning=None)

    def whole(self) -> dict[date, bool]:
        with engine(self.database_url).connect() as connection:
            return {file.date: file.whole for file in find_files(connection)}


async def no_sleep(_seconds: float) -> None:
    """Back-off without its time."""


@pytest.fixture(params=["current"])
async def sim(request: pytest.FixtureRequest) -> AsyncIterator[RunningSim]:
    """A slow market whose clock stands; parametrised by the layout of its files."""
    layout: BulkLayout = request.param
    options = SimOptions(
        start_ms=NOW_MS,
        speed=0.000_001,
        rate_limit=0,
        activity=0.2,
        bulk_layout=layout,
        bulk_unsorted=layout == "old",
    )
    running = await serve(options)
    yield running
    await running.close()


@pytest.fixture
async def rig(database_url: str, tmp_path: Path, sim: RunningSim) -> AsyncIterator[Rig]:
    async with cdn_before(sim.rest_url) as cdn:
        made = Rig(database_url, tmp_path, sim, cdn)
        yield made
        await made.rest.close()


@pytest.mark.parametrize("sim", ["old", "current", "newest"], indirect=True)
async def test_days_at_utc_plus_8_become_utc_days(rig: Rig):
    """Ids without a hole through two UTC days, and the minutes made of them are the exchange's own candles,
    whatever the layout and the order of the rows."""
    report = await rig.run(*days(16, 17))
    assert (report.written, report.missing_ids, report.is_complete) == (days(16, 17), 0, True)
    trades = pl.concat(pl.from_arrow(rig.table(day)) for day in days(16, 17))
    ids = trades["trade_id"].sort()
    assert report.rows == trades.height == ids[-1] - ids[0] + 1
    minutes = (
        trades.sort("trade_id")
        .group_by(pl.col("timestamp").dt.truncate("1m").alias("at"), maintain_order=True)
        .agg(
            pl.first("price").alias("open"),
            pl.max("price").alias("high"),
            pl.min("price").alias("low"),
            pl.last("price").alias("close"),
            pl.sum("size"),
        )
    )
    made = {round(row[0].timestamp() * 1000) + 60_000: row[1:] for row in minutes.rows()}
    candles = await rig.rest.candles(SYMBOL, Timeframe.M1, ms(FIRST), ms(FIRST) + 2 * DAY_MS)
    traded = {c.close_ms: (c.open, c.high, c.low, c.close, c.volume) for c in candles if c.volume}
    assert made == traded and len(made) > 500


async def test_a_second_run_fetches_nothing(rig: Rig):
    """What the lake has whole is not asked for again; the files that were fetched are gone from the disk."""
    await rig.run(*days(16, 17))
    asked = rig.cdn.asked.copy()
    assert asked == {name(number): 1 for number in (16, 17, 18)}
    again = await rig.run(*days(16, 17))
    assert (again.written, again.already, rig.cdn.asked) == ([], days(16, 17), asked)
    assert list(rig.downloads.iterdir()) == []


async def test_days_without_their_files_are_pending(rig: Rig):
    """The file of the 20th cannot be there yet, which is not even asked for; that of the 19th is needed for
    half of the 19th only: both days wait, the 18th is stored."""
    report = await rig.run(*days(18, 21))
    assert (report.written, report.pending, report.missing) == (days(18), days(19, 20, 21), [])
    assert report.is_complete and name(20) not in rig.cdn.asked


async def test_404_is_not_yet_until_three_days_have_passed(rig: Rig):
    """The file of the 19th is due and not there: pending. That of the 17th would be there by now: missing,
    and half days are stored without being called whole, until it comes."""
    gone = web.Response(status=404)
    rig.cdn.spoiled = {name(17): lambda _: gone, name(19): lambda _: web.Response(status=404)}
    report = await rig.run(*days(16, 18))
    assert (report.pending, report.missing, report.is_complete) == (days(18), days(16, 17), False)
    assert rig.whole() == {days(16)[0]: False, days(17)[0]: False}
    rig.cdn.spoiled = {}
    healed = await rig.run(*days(16, 18))
    assert (healed.written, healed.missing) == (days(16, 17, 18), [])
    ids = [trade_id for day in days(16, 17, 18) for trade_id in rig.table(day)["trade_id"].to_pylist()]
    assert len(set(ids)) == len(ids) == max(ids) - min(ids) + 1


async def test_a_damaged_file_is_set_aside_and_the_other_days_are_stored(rig: Rig):
    """Fetched once more first; then kept as it came in the quarantine, named with its problem, beside what
    came damaged in another way."""
    rig.cdn.spoiled = {name(17): lambda body: body[:-40]}
    await rig.run(*days(17, 17))
    rig.cdn.asked.clear()
    rig.cdn.spoiled = {name(17): lambda body: body[:-30]}
    report = await rig.run(*days(15, 18))
    assert (report.written, report.missing) == (days(15, 18), [])
    (damaged,) = report.damaged
    assert "not a whole zip" in damaged and rig.cdn.asked[name(17)] == 2
    kept = sorted(rig.quarantine.glob(f"{name(17)[:-4]}.*.zip"), key=lambda path: path.stat().st_size)
    assert kept[1].stat().st_size - kept[0].stat().st_size == 10 and str(kept[1]) in damaged
    rig.cdn.spoiled = {}
    assert (await rig.run(*days(15, 18))).written == days(16, 17)


class Raced(BulkDownloads):
    """Another backfill of the same days is done with each file, twice, before it can be read here."""

    async def fetch(self, symbol: str, day: date) -> Path | None:
        path = await super().fetch(symbol, day)
        if path is not None and not (mark := path.with_suffix(".twice")).exists():
            (mark if (once := path.with_suffix(".once")).exists() else once).touch()
            path.unlink()
        return path


async def test_another_backfill_of_the_same_days_does_no_harm(rig: Rig):
    """A file that the other one has removed is fetched again, as often as it takes: nothing is damaged."""
    report = await rig.run(*days(16, 17), kind=Raced)
    assert (report.written, report.damaged) == (days(16, 17), [])
    assert rig.cdn.asked == {name(number): 3 for number in (16, 17, 18)}


def without(*silent: date) -> Callable[[bytes], bytes]:
    """A bulk file whose market did not trade on those UTC days."""

    def spoil(body: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            (table,) = archive.namelist()
            header, *rows = archive.read(table).decode().splitlines()
        at = header.split(",").index("created_time")
        kept = [
            row
            for row in rows
            if datetime.fromtimestamp(int(row.split(",")[at]) / 1000, UTC).date() not in silent
        ]
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr(table, "\n".join([header, *kept]))
        return made.getvalue()

    return spoil


async def test_a_day_without_a_trade_is_fetched_once(rig: Rig):
    """The exchange's files of the day are there and nobody traded: an empty file says so, nothing is fetched
    again, and the other commands take it for what it is."""
    silent = without(FIRST)
    rig.cdn.spoiled = {name(16): silent, name(17): silent}
    report = await rig.run(FIRST, FIRST)
    assert (report.written, report.rows, report.is_complete) == ([FIRST], 0, True)
    asked = rig.cdn.asked.copy()
    assert (await rig.run(FIRST, FIRST)).already == [FIRST] and rig.cdn.asked == asked
    lake = str(rig.lake)
    assert verify_lake(rig.database_url, lake).findings == []
    archived = archive_raw_trades(rig.database_url, lake, SYMBOL, FIRST, drop=True)
    assert (archived.rows, archived.written) == (0, False) and rig.whole() == {FIRST: True}
    assert query_lake(rig.database_url, lake, "SELECT count(*) AS rows FROM raw_trades")["rows"].item() == 0
    assert archived_runs(rig.database_url, lake, SYMBOL, ms(FIRST), NOW_MS).firsts.size == 0
    await rig.run(*days(15, 17))
    ((kind, detail),) = ((f.kind, f.detail) for f in verify_lake(rig.database_url, lake).findings)
    assert kind == "gap" and "no file of" not in detail


async def test_a_download_that_breaks_off_is_repeated(rig: Rig):
    """A body shorter than its announced length never becomes a file."""
    cut = [True]

    def short(body: bytes) -> web.StreamResponse | bytes:
        if not cut:
            return body
        cut.clear()

        class Short(web.Response):
            async def write_eof(self, data: bytes = b"") -> None:
                await super().write(body[:1000])
                self.force_close()
                transport = self._req.transport if self._req else None
                if transport is not None:
                    transport.close()

        return Short(headers={"Content-Length": str(len(body))})

    rig.cdn.spoiled = {name(17): short}
    report = await rig.run(*days(16, 17))
    assert report.written == days(16, 17) and report.is_complete
    assert rig.cdn.asked[name(17)] == 2


async def test_an_interrupted_backfill_leaves_whole_days_and_goes_on(rig: Rig):
    """The CDN goes away after two days: those are stored, and a repeat fetches only what they do not need."""
    rig.cdn.spoiled = {name(18): lambda _: web.Response(status=500)}
    with pytest.raises(Unavailable, match="HTTP 500"):
        await rig.run(*days(15, 18))
    assert rig.whole() == dict.fromkeys(days(15, 16), True)
    rig.cdn.spoiled, rig.cdn.asked = {}, type(rig.cdn.asked)()
    report = await rig.run(*days(15, 18))
    assert (report.written, report.already) == (days(17, 18), days(15, 16))
    assert name(15) not in rig.cdn.asked and name(16) not in rig.cdn.asked


async def test_overlapping_sources_count_every_match_once(rig: Rig):
    """The feed stored aggregates of the same matches: archived before or after, the day's volume is that of
    the bulk file, and each id is covered once."""
    await rig.run(FIRST, FIRST)
    matches = rig.table(FIRST).to_pylist()
    volume = sum(row["size"] for row in matches)
    groups = [matches[:3], matches[10:12], matches[-1:]]
    feed = [
        Trade(
            SYMBOL,
            group[-1]["trade_id"],
            round(group[-1]["timestamp"].timestamp() * 1000),
            group[-1]["price"],
            sum((row["size"] for row in group), Decimal(0)),
            Side(group[-1]["side"]),
            len(group),
        )
        for group in groups
    ]
    with engine(rig.database_url).begin() as connection:
        copy_trades(connection, feed)
    file = archive_raw_trades(rig.database_url, str(rig.lake), SYMBOL, FIRST, drop=True)
    table = rig.table(FIRST).to_pylist()
    assert (file.dropped, sum(row["count"] for row in table)) == (3, len(matches))
    assert sum(row["size"] for row in table) == volume
    assert rig.whole() == {FIRST: True}
    assert verify_lake(rig.database_url, str(rig.lake)).findings == []


class Delisted(OkxRest):
    """The exchange when it has taken every pair off its list."""

    async def instruments(self) -> list[Instrument]:
        return []


async def test_a_delisted_symbol_has_the_days_that_it_traded(rig: Rig):
    """Its files of the past are fetched; the days after its last one are missing, by name, and nothing that
    is stored goes."""
    await rig.rest.close()
    rig.rest = Delisted(rig.cdn.url, Requester(rig.cdn.url, budgets={}))
    rig.cdn.spoiled = {name(number): lambda _: web.Response(status=404) for number in (17, 18)}
    report = await rig.run(*days(15, 17))
    assert (report.written, report.missing) == (days(15, 16), days(16, 17))
    assert rig.whole() == {days(15)[0]: True, days(16)[0]: False}
    later = await rig.run(*days(17, 17))
    assert (later.written, later.missing) == ([], days(17))
    with pytest.raises(BadInput, match="is not listed by the exchange, and it has no files of it"):
        await rig.run(*days(20, 21), symbol="ETH-USDT")


@contextmanager
def smallest_files(most_bytes: int) -> Iterator[None]:
    """No file can grow beyond that, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_damaged_day_of_the_lake_is_fetched_again(rig: Rig):
    """A lost day comes back byte for byte, and a damaged one when asked to repair; the damaged file is kept
    aside, and the sound one between them is not asked for."""
    await rig.run(*days(14, 16))
    with engine(rig.database_url).connect() as connection:
        files = {file.date: rig.lake / file.path for file in find_files(connection)}
    before = {day: path.read_bytes() for day, path in files.items()}
    files[days(14)[0]].write_bytes(b"damaged")
    files[days(16)[0]].unlink()
    lost = await rig.run(*days(14, 16))
    assert (lost.written, lost.already) == (days(16), days(14, 15))
    report = await rig.run(*days(14, 16), repair=True)
    assert (report.written, report.already) == (days(14), days(15, 16))
    assert {day: path.read_bytes() for day, path in files.items()} == before
    (kept,) = (path for path in (rig.lake / "quarantine").rglob("*") if path.is_file())
    assert kept.read_bytes() == b"damaged"
    assert verify_lake(rig.database_url, str(rig.lake)).findings == []


async def test_a_disk_that_takes_no_more_is_one_error(rig: Rig):
    """Unavailable with the folder; nothing half-written stays, no manifest row is made, a repeat heals."""
    with smallest_files(5_000), pytest.raises(Unavailable, match="bulk: File too large"):
        await rig.run(FIRST, FIRST)
    assert rig.whole() == {} and list(rig.downloads.iterdir()) == []
    assert (await rig.run(FIRST, FIRST)).written == [FIRST]


async def test_a_symbol_of_which_nothing_is_known_is_named(rig: Rig):
    """Neither listed nor a file of it, whether its days are past or not due yet: BadInput. A range that has
    not begun: BadInput too."""
    with pytest.raises(BadInput, match="symbol: 'NO-SUCH' is not listed"):
        await rig.run(*days(10, 11), symbol="NO-SUCH")
    with pytest.raises(BadInput, match="symbol: 'NO-SUCH' is not listed"):
        await rig.run(*days(20, 21), symbol="NO-SUCH")
    with pytest.raises(BadInput, match="from: is in the exchange's future"):
        await rig.run(date(2026, 10, 1), date(2026, 10, 2))
