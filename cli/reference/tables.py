"""The pages of tables, config files and the API, from what defines them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Dialect

from config.settings import PROJECT_ROOT, Settings

SCHEMAS = PROJECT_ROOT / "config" / "schemas"


def tables_page() -> str:
    """Every table of PostgreSQL with its columns."""
    from sqlalchemy.dialects.postgresql.base import PGDialect

    from pipelines.warehouse.tables import metadata

    parts = ["# Tables\n\nSchema `public` of PostgreSQL; times are `timestamptz`, money is exact.\n"]
    dialect: Dialect = PGDialect()  # type: ignore[no-untyped-call]
    for table in sorted(metadata.tables.values(), key=lambda one: one.name):
        parts.append(f"## `{table.name}`\n")
        rows = []
        for column in table.columns:
            kind = column.type.compile(dialect=dialect)
            marks = [
                word for word, holds in (("key", column.primary_key), ("null", column.nullable)) if holds
            ]
            marks += [f"→ `{key.target_fullname}`" for key in column.foreign_keys]
            rows.append(f"| `{column.name}` | {kind} | {', '.join(marks)} | {_cell(column.comment or '')} |")
        parts.append("| column | type | | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def files_page() -> str:
    """Every config file's fields, from the generated JSON Schemas."""
    parts = [
        "# Config files\n\nJSON or YAML; an unknown field is an error. The schemas are in `config/schemas`, "
        "for editors.\n"
    ]
    for path in (*sorted(SCHEMAS.glob("*.json")), *sorted((SCHEMAS / "parameters").glob("*.json"))):
        parts.extend(_schema(path))
    return "\n".join(parts)


def api_page() -> str:
    """Every route of the REST API."""
    parts = ["# REST API\n\nThe running dashboard has it with all schemas at `/api/docs`.\n"]
    for path, methods in sorted(openapi()["paths"].items()):
        for method, route in methods.items():
            parts.append(f"## `{method.upper()} {path}`\n")
            parts.append((route.get("description") or route.get("summary") or "").strip() + "\n")
            parameters = route.get("parameters", [])
            if parameters:
                rows = [
                    f"| `{one['name']}` | {one['in']} | {_cell(one.get('description', ''))} |"
                    for one in parameters
                ]
                parts.append("| parameter | in | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def openapi() -> Mapping[str, Any]:
    """The API's own description; nothing is connected to."""
    from dashboards.app import create_app

    given = Settings(
        database_url="postgresql+psycopg://nobody@127.0.0.1:9/none", redis_url="redis://127.0.0.1:9/0"
    )
    document: Mapping[str, Any] = create_app(given).openapi()
    return document


def _schema(path: Path) -> Iterator[str]:
    document = json.loads(path.read_text(encoding="utf-8"))
    yield f"## {path.name.removesuffix('.schema.json')}\n"
    if document.get("description"):
        yield f"{document['description']}\n"
    yield from _fields(document)
    for name, below in sorted(document.get("$defs", {}).items()):
        if "properties" in below:
            yield f"### {name}\n"
            yield from _fields(below)


def _fields(schema: Mapping[str, Any]) -> Iterator[str]:
    required = set(schema.get("required", []))
    rows = []
    for name, field in schema.get("properties", {}).items():
        default = "required" if name in required else _default(field)
        rows.append(f"| `{name}` | {_kind(field)} | {_cell(field.get('description', ''))} | {default} |")
    if rows:
        yield "| field | type | meaning | default |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _kind(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "anyOf" in field:
        kinds = dict.fromkeys(_kind(one) for one in field["anyOf"])
        return " or ".join(kind for kind in kinds if kind != "null")
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    return str(field.get("type", "any"))


def _default(field: Mapping[str, Any]) -> str:
    value = field.get("default")
    return "" if value is None else f"`{json.dumps(value)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
