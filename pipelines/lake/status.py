"""What the database and the lake hold, in totals."""

from collections import defaultdict

import msgspec

from pipelines.warehouse.coverage import CandleTotals, TradeTotals, candle_totals, trade_totals
from pipelines.warehouse.database import engine
from pipelines.warehouse.gaps import GapTotals, gap_totals
from pipelines.warehouse.lake_files import LakeFile, find_files
from pipelines.warehouse.quality import QualityTotals, quality_totals
from pipelines.warehouse.reconciliation import ComparisonTotals, comparison_totals


class LakeTotals(msgspec.Struct, frozen=True):
    """The lake's files of one dataset and symbol."""

    dataset: str
    symbol: str
    files: int
    rows: int
    bytes: int


class DataStatus(msgspec.Struct, frozen=True):
    """Everything that is stored, and how whole it is."""

    candles: list[CandleTotals]
    trades: list[TradeTotals]
    gaps: list[GapTotals]
    comparisons: list[ComparisonTotals]
    connections: list[QualityTotals]
    lake: list[LakeTotals]


def data_status(database_url: str) -> DataStatus:
    """Totals of market_data, raw_trades, the ledgers of holes and of differing candles, the last hour's
    connections and the lake's manifest. Reads whole tables: slow on large ones."""
    server = engine(database_url)
    with server.connect() as connection:
        files = find_files(connection)
    groups: dict[tuple[str, str], list[LakeFile]] = defaultdict(list)
    for file in files:
        groups[file.dataset, file.symbol].append(file)
    lake = [
        LakeTotals(dataset, symbol, len(group), sum(f.rows for f in group), sum(f.bytes for f in group))
        for (dataset, symbol), group in groups.items()
    ]
    return DataStatus(
        candle_totals(server),
        trade_totals(server),
        gap_totals(server),
        comparison_totals(server),
        quality_totals(server),
        lake,
    )
