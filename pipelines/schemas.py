"""The JSON Schemas in config/schemas, for editors and for whoever writes the files: `python -m
pipelines.schemas` writes them, a test says when they are old."""

import json
from pathlib import Path
from typing import Any

from config.files import BotFile
from config.limits import PortfolioLimits
from config.settings import PROJECT_ROOT
from pipelines.sweep.sweepfile import SweepFile
from strategies import registry
from strategies.describe import parameter_schema, strategy_file_schema

FOLDER = PROJECT_ROOT / "config" / "schemas"


def schemas() -> dict[str, dict[str, Any]]:
    """File name → schema: bots, limits over all of them, strategies, sweeps, parameters of each strategy."""
    documents = {
        "bot.schema.json": BotFile.model_json_schema(),
        "risk.schema.json": PortfolioLimits.model_json_schema(),
        "strategy.schema.json": strategy_file_schema(),
        "sweep.schema.json": SweepFile.model_json_schema(),
    }
    documents |= {f"parameters/{name}.schema.json": parameter_schema(name) for name in registry.shipped()}
    return documents


def text_of(schema: dict[str, Any]) -> str:
    """As it is written to the file."""
    return json.dumps(schema, indent=2, default=str) + "\n"


def write(folder: Path = FOLDER) -> None:
    """Write every schema; one of a strategy that is gone is removed."""
    wanted = schemas()
    for name, schema in wanted.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(schema), encoding="utf-8")
    for path in folder.rglob("*.schema.json"):
        if path.relative_to(folder).as_posix() not in wanted:
            path.unlink()


if __name__ == "__main__":
    write()
