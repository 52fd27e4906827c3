"""Every statement that a piece of the product sends, with what the server really did for it."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Engine, event

FEW_ROWS = 1_000
"""A table, or partition, of fewer is read from end to end with good reason."""

_COPY_OUT = re.compile(r"^\s*COPY\s*\((.*)\)\s*TO\s+STDOUT", re.IGNORECASE | re.DOTALL)
_WHOLE = """
    SELECT coalesce((SELECT inhparent FROM pg_inherits WHERE inhrelid = c.oid), c.oid)::regclass::text
    FROM pg_class AS c WHERE relname = ANY(%s) AND relkind = 'r' ORDER BY 1
"""
_EXPLAINED = ("SELECT", "WITH", "UPDATE", "DELETE")


@dataclass
class Plan:
    """One statement. blocks: pages of 8 kB it looked at; rows: those that it read of tables; scans: large
    tables it read from end to end, of a partition or a chunk the table it is a part of."""

    statement: str
    milliseconds: float
    blocks: int
    rows: int
    scans: list[str] = field(default_factory=list)


@contextmanager
def explained(engine: Engine) -> Iterator[list[Plan]]:
    """The plans of all statements that read rows, on connections that the engine opens inside."""
    plans: list[Plan] = []

    class Explaining(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            _explain(self.connection, query, params, plans)
            return super().execute(query, params, **options)

        def copy(self, statement: Any, params: Any = None, **options: Any) -> Any:
            found = _COPY_OUT.match(_text(self.connection, statement))
            if found:
                # What is inside is text already: its percent signs are not placeholders.
                _explain(self.connection, found[1], None, plans)
            return super().copy(statement, params, **options)

    def use(connection: psycopg.Connection[Any], _record: Any) -> None:
        # On a table as small as a test's, workers side by side make reading all of it look cheap.
        connection.execute("SET max_parallel_workers_per_gather = 0")
        connection.commit()
        connection.cursor_factory = Explaining

    engine.dispose()
    event.listen(engine, "connect", use)
    try:
        yield plans
    finally:
        event.remove(engine, "connect", use)
        engine.dispose()


def _explain(connection: psycopg.Connection[Any], query: Any, params: Any, plans: list[Plan]) -> None:
    statement = _text(connection, query)
    if not statement.lstrip(" (\n").upper().startswith(_EXPLAINED):
        return
    began = time.perf_counter()
    # What the statement changes is taken back: it is run for its plan.
    with connection.transaction(force_rollback=True), psycopg.Cursor(connection) as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}", params)
        row = cursor.fetchone()
        assert row is not None
        document = row[0] if isinstance(row[0], list) else json.loads(row[0])
        tree = document[0]["Plan"]
        scans = [name for (name,) in cursor.execute(_WHOLE, [_scans(tree)])]
    took_ms = document[0]["Planning Time"] + document[0]["Execution Time"]
    blocks = tree["Shared Hit Blocks"] + tree["Shared Read Blocks"]
    took_ms = min(took_ms, (time.perf_counter() - began) * 1000)
    plans.append(Plan(statement, took_ms, blocks, _rows(tree), scans))


def _scans(node: dict[str, Any]) -> list[str]:
    own = [node["Relation Name"]] if node["Node Type"] == "Seq Scan" and _read(node) >= FEW_ROWS else []
    return own + [name for child in node.get("Plans", []) for name in _scans(child)]


def _rows(node: dict[str, Any]) -> int:
    own = _read(node) if "Relation Name" in node else 0
    return own + sum(_rows(child) for child in node.get("Plans", []))


def _read(node: dict[str, Any]) -> int:
    return int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])


def _text(connection: psycopg.Connection[Any], query: Any) -> str:
    if isinstance(query, sql.Composable):
        return query.as_string(connection)
    return query.decode() if isinstance(query, bytes) else str(query)
