"""Many Parquet files into one, best row first, in bounded memory."""

import re
from pathlib import Path

import duckdb

MEMORY = "256MB"
"""Beyond that the sort goes to the disk, beside the parts."""


def merge_parts(folder: Path, target: Path, sort: str, descending: bool) -> None:
    """Sort all parts of a folder into `target`, which appears whole; ties stay in the order of `n`.
    OSError where there is no room."""
    temporary, direction = folder / "merged.part", "DESC" if descending else "ASC"
    parts = Path(re.sub(r"([\[*?])", r"[\1]", str(folder))) / "*.parquet"  # the folder's name is no pattern
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{MEMORY}'")
        connection.execute(f"SET temp_directory = {_text(folder / 'spill')}")
        command = (  # paths are quoted, the column is one of the results
            f"COPY (SELECT * EXCLUDE (n, point) FROM read_parquet({_text(parts)}) "  # noqa: S608
            f'ORDER BY "{sort}" {direction} NULLS LAST, n) '
            f"TO {_text(temporary)} (FORMAT parquet, COMPRESSION zstd)"
        )
        try:
            connection.execute(command)
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:  # the latter: no room to spill
            raise OSError(str(error)) from None
    temporary.replace(target)


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
