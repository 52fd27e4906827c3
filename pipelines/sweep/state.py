"""Where a sweep keeps what is done, and by what it knows its own work again."""

import json
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from glob import escape
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import BadInput
from pipelines.backtest.candles import Stretch
from pipelines.sweep.lines import crossing_pair
from pipelines.sweep.results import Parts, held
from pipelines.sweep.sources import source_mark
from pipelines.sweep.space import LOOKED_AT, Space

LARGEST_CHUNK = 20_000
SMALLEST_CHUNK = 32
# Candles times combinations of a chunk: some seconds of work, which is what a kill costs.
QUICK, QUICK_ON_A_CLUSTER, OTHER = 8_000_000_000, 500_000_000, 200_000_000


def chunk_size(space: Space, pieces: Sequence[Stretch], on_a_cluster: bool) -> int:
    """Combinations of a chunk: more where the strategy only trades crossings, which are walked fast."""
    work = OTHER
    if space.plain:
        points = np.arange(min(space.size, LOOKED_AT), dtype=np.int64)
        first = space.cases(points[space.valid(points)][:1], pieces_timeframe(space)).walked
        try:
            if first and first[0].strategy and crossing_pair(first[0].strategy):
                work = QUICK_ON_A_CLUSTER if on_a_cluster else QUICK
        except (Exception, SystemExit):  # its rows will say so
            work = OTHER
    longest = max(piece.candles.height for piece in pieces)
    return min(LARGEST_CHUNK, max(SMALLEST_CHUNK, work // longest))


def pieces_timeframe(space: Space) -> str:
    """The first timeframe of a request."""
    return space.request.timeframe.split(",")[0]


def fingerprint(space: Space, pieces: Sequence[Stretch]) -> str:
    """The same for the same request, strategy, program and candles, so that rows of one run fit to those of
    another. Start and end count by the candles they choose."""
    request = space.request.model_dump(mode="json", exclude={"start", "end"})
    digest = sha256(json.dumps(request, sort_keys=True).encode())
    digest.update(source_mark(space.strategy).encode())
    for piece in pieces:
        digest.update(f"{piece.warm} {piece.volumes}".encode())
        for frame in (piece.candles, piece.path):
            for column in frame.iter_columns() if frame is not None else ():
                digest.update(column.to_physical().to_numpy().tobytes())
    return digest.hexdigest()[:16]


def partial_folder(out: Path | None, state: Path | None, mark: str) -> Path | None:
    """The folder for what is done: beside the target, so that the result is renamed and not copied, or in
    the state folder."""
    if out is not None:
        return out.parent / f".{out.name}.{mark}.parts"
    return None if state is None else state / mark


def unfinished(named: str, state: Path, option: str = "--resume") -> dict[str, Any]:
    """The note of the unfinished sweep of that target or id: request, source, end, id. BadInput if there is
    none; of several for one target, the newest."""
    target = Path(named)
    if target.suffix == ".parquet":
        folders = list(target.parent.glob(f".{escape(target.name)}.*.parts"))
    else:
        folders = [folder for folder in state.glob("*") if _note(folder).get("id") == named]
    notes = [(folder.stat().st_mtime, _note(folder)) for folder in folders if _note(folder)]
    if not notes:
        where = "beside it" if target.suffix == ".parquet" else f"in {state}"
        there = sorted(note["id"] for folder in state.glob("*") if (note := _note(folder)))
        known = f"; unfinished are {', '.join(there[:5])}" if there else ""
        raise BadInput(option, f"there is no unfinished sweep of {named!r} {where}{known}")
    return max(notes, key=lambda found: found[0])[1]


def left_in(state: Path) -> list[dict[str, Any]]:
    """Every unfinished sweep of the state folder, the newest first: id, strategy, symbol, timeframe, touched
    (when a chunk last came), chunks, bytes, folder."""
    found = []
    for folder in state.glob("*"):
        note = _note(folder)
        if not note:
            continue
        files = [path.stat() for path in folder.iterdir()]
        request = note["request"]
        found.append(
            {
                "id": note["id"],
                **{name: request.get(name) for name in ("strategy", "symbol", "timeframe")},
                "touched": datetime.fromtimestamp(max(one.st_mtime for one in files), UTC),
                "chunks": len(list(folder.glob("*.parquet"))),
                "bytes": sum(one.st_size for one in files),
                "folder": folder,
            }
        )
    return sorted(found, key=lambda one: one["touched"], reverse=True)


def discard(named: str, state: Path) -> list[str]:
    """Remove what an unfinished sweep has done, that of an id or target as in `unfinished`, or of `all` ids;
    returns the ids. BadInput where there is none, or while a process is at it."""
    target = Path(named)
    if target.suffix == ".parquet":
        folders = list(target.parent.glob(f".{escape(target.name)}.*.parts"))
    else:
        folders = [one["folder"] for one in left_in(state) if named in ("all", one["id"])]
    if not folders and named != "all":
        unfinished(named, state, "--discard")  # which says what there is
    removed = []
    for folder in folders:
        with held(folder, named):
            removed.append(str(_note(folder).get("id", folder.name)))
            shutil.rmtree(folder)
    return removed


def _note(folder: Path) -> dict[str, Any]:
    try:
        note: dict[str, Any] = json.loads((folder / Parts.NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note
