"""What the runs of backtests, sweeps and walk-forwards show of themselves in Dagster."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from config.settings import settings
from orchestration.pictures import curve
from orchestration.progress import told
from orchestration.resources import page_url

if TYPE_CHECKING:
    import polars as pl

    from pipelines.walk_forward.result import WalkForwardResult

SHOWN = ("sharpe", "total_return", "max_drawdown", "trades")


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
                "page": page_url(settings(), f"/compare?of={result.record.id}"),
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
    """Progress of a sweep as lines of the run's log."""
    tell = told(context, name)
    return lambda done, of: tell(f"{done:,} of {of:,}")
