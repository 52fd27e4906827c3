"""What is wrong for as long as it lasts and does not report itself: told as it begins and when it is over."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Engine

from pipelines.warehouse.backups import OLD_BACKUP_S, backup_age_s
from pipelines.warehouse.health import DAGSTER_SILENT_S
from pipelines.warehouse.inventory import heartbeat_age_s
from pipelines.warehouse.quality import daemon_details
from pipelines.warehouse.wal_archive import archive_state

LEAST_FREE_BYTES = 5e9
ROOM_AGAIN_BYTES = 1.2 * LEAST_FREE_BYTES
DISK_LASTS_S = 60.0
WAL_LASTS_S = 300.0
"""As long as the alert rule waits: a segment that was refused is tried again at once, then each minute."""


class State(NamedTuple):
    """event: of the notice; wrong: what is told when it begins, None while all is well; over: what is told
    then, None while it is not quite so; lasts_s: either is told once it was seen for so long."""

    event: str
    wrong: str | None
    over: str | None
    lasts_s: float = 0.0


class Changes:
    """Which changes of states last: one that swings round its limit is told once."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}

    def words(self, component: str, state: State, was_wrong: bool, now_s: float) -> str | None:
        """What is to be told of it now: that it is wrong, or, where that was told, that it is over."""
        words = state.over if was_wrong and state.wrong is None else None
        if not was_wrong:
            words = state.wrong
        if words is None:
            self._since_s.pop(component, None)
        elif now_s - self._since_s.setdefault(component, now_s) >= state.lasts_s:
            del self._since_s[component]
            return words
        return None


def states(engine: Engine, now_ms: int, silent_s: float) -> Mapping[str, State]:
    """Component → its state now; of what never was there, as Dagster where nobody wants it, there is none."""
    found = {}
    live_s, dagster_s = (heartbeat_age_s(engine, name) for name in ("live", "dagster"))
    if live_s is not None:
        wrong = f"the daemon has been silent for {live_s:.0f} s: no data, no bots"
        found["live"] = State("silent", wrong if live_s > silent_s else None, "the daemon is heard again")
    if dagster_s is not None:
        wrong = f"Dagster has been silent for {dagster_s:.0f} s: no backups, archives, models"
        found["dagster"] = State(
            "silent", wrong if dagster_s > DAGSTER_SILENT_S else None, "Dagster is heard again"
        )
    if (backup_s := backup_age_s(engine)) is not None:
        wrong = f"no backup was verified for {backup_s / 86_400:.0f} days: `tcp db backup --verify`"
        found["backup"] = State("old", wrong if backup_s > OLD_BACKUP_S else None, "a backup was verified")
    if (archive := archive_state(engine)) is not None:
        found["wal_archive"] = State("fails", archive.trouble, "WAL is archived again", WAL_LASTS_S)
    found |= disk_states(daemon_details(engine, now_ms - round(silent_s * 1000)))
    return found


def disk_states(said: Mapping[str, Any]) -> dict[str, State]:
    """Of the daemon's host, as its heartbeat says that it measured them."""
    free = said.get("disk_free_bytes") or {}
    return {
        f"disk of {name}": State(
            "full",
            f"{bytes_ / 1e9:.1f} GB are free: make room, or everything stops"
            if bytes_ < LEAST_FREE_BYTES
            else None,
            "there is room again" if bytes_ > ROOM_AGAIN_BYTES else None,
            DISK_LASTS_S,
        )
        for name, bytes_ in free.items()
    }
