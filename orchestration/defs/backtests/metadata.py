"""What the runs of backtests, sweeps and walk-forwards show of themselves in Dagster."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from config.settings import settings
from orchestration.resources import page_url

if TYPE_CHECKING:
    import polars as pl

    from pipelines.walk_forward.result import WalkForwardResult

WIDTH, HEIGHT, POINTS = 600, 160, 300
LOG_SECONDS = 5
SHOWN = ("sharpe", "total_return", "max_drawdown", "trades")


def curve(values: Sequence[float]) -> dg.MetadataValue[Any]:
    """A line as a picture: first to last value, lowest at the bottom; needs no library and no network."""
    step = max(len(values) // POINTS, 1)
    shown = [*values[::step], values[-1]]
    low, high = min(shown), max(shown)
    span = high - low or 1.0
    across = WIDTH / max(len(shown) - 1, 1)
    points = " ".join(
        f"{i * across:.1f},{HEIGHT - 4 - (value - low) / span * (HEIGHT - 8):.1f}"
        for i, value in enumerate(shown)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">'
        f'<polyline points="{points}" fill="none" stroke="#2f6fed" stroke-width="2"/></svg>'
    )
    picture = f"![equity](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"
    return dg.MetadataValue.md(f"{picture}\n\n{values[0]:,.2f} to {values[-1]:,.2f}, lowest {low:,.2f}")


def best_table(best: Mapping[str, "pl.DataFrame"]) -> dg.MetadataValue[Any]:
    """The first rows of each sweep: its name, the market, the parameters and the headline metrics."""
    records = [
        dg.TableRecord(
            {
                "sweep": name,
                "combination": ", ".join(
                    f"{column} {value}" for column, value in row.items() if _is_parameter(column, frame)
                ),
                **{metric: row.get(metric) for metric in SHOWN},
            }
        )
        for name, frame in best.items()
        for row in frame.head(5).iter_rows(named=True)
    ]
    columns = [dg.TableColumn("sweep"), dg.TableColumn("combination")]
    return dg.MetadataValue.table(
        records, dg.TableSchema([*columns, *(dg.TableColumn(metric, "float") for metric in SHOWN)])
    )


def _is_parameter(column: str, frame: "pl.DataFrame") -> bool:
    from core.metrics import METRICS

    return column not in METRICS and column not in {"n", "error"}


def walk_metadata(results: Mapping[str, "WalkForwardResult"]) -> dict[str, Any]:
    """Windows, returns and page of each walk-forward, and the curve of each record."""
    records = [
        dg.TableRecord(
            {
                "market": name,
                "windows": len(result.windows),
                **{metric: result.record.metrics.get(metric) for metric in SHOWN},
                "page": page_url(settings(), f"/backtests?run={result.record.id}"),
            }
        )
        for name, result in results.items()
    ]
    columns = [dg.TableColumn("market"), dg.TableColumn("windows", "int")]
    columns += [*(dg.TableColumn(metric, "float") for metric in SHOWN), dg.TableColumn("page")]
    return {
        "walks": dg.MetadataValue.table(records, dg.TableSchema(columns)),
        **{
            f"record of {name}": curve(result.record.equity["equity"].to_list())
            for name, result in results.items()
        },
    }


def logged(context: dg.AssetExecutionContext, name: str) -> Callable[[int, int], None]:
    """Progress of a sweep as lines of the run's log, one every few seconds."""
    last = datetime.now(UTC)

    def log(done: int, of: int) -> None:
        nonlocal last
        if (datetime.now(UTC) - last).total_seconds() > LOG_SECONDS:
            last = datetime.now(UTC)
            context.log.info(f"{name}: {done:,} of {of:,}")

    return log
