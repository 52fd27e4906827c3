"""Checks of the lake, evaluated in the run that wrote the files."""

from collections.abc import Sequence
from typing import Protocol

import dagster as dg

ROW_COUNT = dg.AssetCheckSpec(
    name="files_hold_what_the_manifest_says",
    asset="raw_trade_archive",
    blocking=True,
    description="The rows read back from each Parquet file equal those of its manifest row.",
)


class Archived(Protocol):
    """What the check reads of an archived file: its path below the lake's root, and its rows."""

    @property
    def path(self) -> str: ...
    @property
    def rows(self) -> int: ...


def row_counts(lake_url: str, files: Sequence[Archived]) -> dg.AssetCheckResult:
    """Count the rows of each file anew and compare."""
    import polars as pl

    wrong = [
        {"path": file.path, "manifest": file.rows, "file": rows}
        for file in files
        if (rows := pl.scan_parquet(f"{lake_url}/{file.path}").select(pl.len()).collect().item()) != file.rows
    ]
    return dg.AssetCheckResult(
        check_name=ROW_COUNT.name, passed=not wrong, metadata={"files": len(files), "wrong": wrong}
    )
