"""Days of trades that somebody put into the lake, or whose manifest was lost: proven, then entered in it."""

import re
from datetime import UTC, date
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import BadInput, Unavailable
from pipelines.lake.bulk import store_day
from pipelines.lake.files import CANDLES, RAW_TRADES
from pipelines.lake.store import LakeStore, open_store
from pipelines.warehouse.archive import MONEY, TRADES_SCHEMA
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import find_files
from pipelines.warehouse.retention import present_ms
from pipelines.warehouse.sql import EXCHANGE, to_ms

_FOLDER = f"{RAW_TRADES}/exchange={EXCHANGE}/symbol="
_DAY = re.compile(
    rf"{_FOLDER}(?P<symbol>[A-Z0-9]+(?:-[A-Z0-9]+)+)/date=(?P<date>\d{{4}}-\d\d-\d\d)/[^/]+\.parquet"
)


class Adoption(msgspec.Struct, frozen=True):
    """adopted: path of each file taken in, and of the manifest's file that has its trades now; refused: path
    and reason. A refused file stays where it is."""

    adopted: list[tuple[str, str]]
    refused: list[tuple[str, str]]


def adopt_files(database_url: str, lake_url: str, now_ms: int) -> Adoption:
    """Take in each file of the lake that the manifest does not know. Repeating it changes nothing.

    Its trades join those of their day, each match once; a file whose trades are in another one then goes to
    the quarantine. now_ms: wall clock; no trade may be later than the present.
    """
    store, own = open_store(lake_url), engine(database_url)
    with own.connect() as connection:
        known = {file.path for file in find_files(connection)}
    latest_ms = present_ms(own, now_ms)
    adoption = Adoption([], [])
    for path in store.paths():
        if path in known:
            continue
        try:
            kept = _adopted(database_url, store, path, latest_ms)
        except (BadInput, Unavailable) as error:
            adoption.refused.append((path, str(error)))
        else:
            adoption.adopted.append((path, kept))
    return adoption


def _adopted(database_url: str, store: LakeStore, path: str, latest_ms: int) -> str:
    """The path of the file that has its trades now."""
    if path.startswith(f"{CANDLES}/"):
        raise BadInput(
            "candles", "`tcp data import FILE` reads them, as the exchange's and as 64-bit numbers"
        )
    place = _DAY.fullmatch(path)
    if place is None:
        raise BadInput("path", f"is not {_FOLDER}SYMBOL/date=YYYY-MM-DD/NAME.parquet")
    day = _day(place["date"])
    with store.local(path) as local:
        trades = _read(local)
    _check(trades, day, latest_ms)
    kept = store_day(database_url, store, place["symbol"], day, trades, whole=False).path
    if kept != path:
        store.set_aside(path)
    return kept


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput("path", f"{text} is no day") from None


def _read(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path, partitioning=None)
        lacking = [name for name in TRADES_SCHEMA.names if name not in table.column_names]
        if lacking:
            raise BadInput("schema", f"no column {', '.join(lacking)}; see data_lake/README.md")
        table = table.select(TRADES_SCHEMA.names)
        incomplete = [name for name in table.column_names if table[name].null_count]
        if incomplete:
            raise BadInput("file", f"a value of {', '.join(incomplete)} is missing")
        return table.cast(TRADES_SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise BadInput("file", f"cannot be read as trades: {str(error).splitlines()[0]}") from None


def _check(trades: pa.Table, day: date, latest_ms: int) -> None:
    """BadInput for a value that no trade has; ids may be in any order, and twice."""
    if not trades.num_rows:
        raise BadInput("file", "has no trades")
    zero = pa.scalar(0, MONEY)
    times = pc.min_max(trades["timestamp"]).as_py()
    wrong = {
        "a side is neither buy nor sell": not _all(pc.is_in(trades["side"], pa.array(["buy", "sell"]))),
        "a price, size or count is not above zero": not all(
            _all(pc.greater(trades[name], zero if name != "count" else 0))
            for name in ("price", "size", "count")
        ),
        f"a trade is of another day than {day}": {at and at.astimezone(UTC).date() for at in times.values()}
        != {day},
        "a trade is of the future": times["max"] is not None and to_ms(times["max"]) > latest_ms,
    }
    for problem, is_so in wrong.items():
        if is_so:
            raise BadInput("file", problem)


def _all(flags: pa.ChunkedArray) -> bool:
    return bool(pc.all(flags, min_count=0).as_py())
