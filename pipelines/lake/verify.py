"""Does the lake hold what its manifest says?"""

from datetime import date
from typing import Literal

import msgspec

from pipelines.lake.files import RAW_TRADES, read_contents
from pipelines.lake.store import LakeStore, open_store, sha256_of
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import LakeFile, find_files


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong. garbage: a file unknown to the manifest, harmless; the others are alarms."""

    kind: Literal["missing", "damaged", "garbage"]
    path: str
    detail: str


class Verification(msgspec.Struct, frozen=True):
    """files: manifest rows looked at; rows: trades and candles they hold."""

    files: int
    rows: int
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        """Nothing is missing or damaged."""
        return all(finding.kind == "garbage" for finding in self.findings)


def verify_lake(
    database_url: str, lake_url: str, symbol: str | None = None, day: date | None = None
) -> Verification:
    """Read every file of the manifest again (or those of one symbol or day): hash, rows, ids, order."""
    store = open_store(lake_url)
    with engine(database_url).connect() as connection:
        files = find_files(connection, symbol=symbol, day=day)
    findings = [finding for file in files if (finding := _check(store, file)) is not None]
    if symbol is None and day is None:
        known = {file.path for file in files}
        findings += [
            Finding("garbage", path, "not in the manifest") for path in store.paths() if path not in known
        ]
    return Verification(len(files), sum(file.rows for file in files), findings)


def _check(store: LakeStore, file: LakeFile) -> Finding | None:
    path = store.local(file.path)
    if not path.is_file():
        return Finding("missing", file.path, f"{file.rows} rows are gone")
    digest = sha256_of(path)
    if digest != file.sha256:
        return Finding("damaged", file.path, f"sha256 is {digest}, the manifest says {file.sha256}")
    if file.dataset != RAW_TRADES:
        return None
    found = read_contents(path)
    if (found.rows, found.min_trade_id, found.max_trade_id) != (
        file.rows,
        file.min_trade_id,
        file.max_trade_id,
    ):
        return Finding("damaged", file.path, f"holds {found}, the manifest says {file}")
    if not found.ordered or found.distinct_ids != found.rows:
        return Finding("damaged", file.path, "its trades are not in order, or not each there once")
    return None
