"""A result as files: result.json, trades.parquet, equity.parquet."""

import json
from pathlib import Path

from core.errors import BadInput
from pipelines.backtest.result import BacktestResult


def write_result(result: BacktestResult, folder: Path) -> None:
    """Write the three files, making the folder if needed; BadInput when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        document = json.dumps(result.to_document(), indent=2, allow_nan=False)
        (folder / "result.json").write_text(document + "\n", encoding="utf-8")
        result.trades.write_parquet(folder / "trades.parquet")
        result.equity.write_parquet(folder / "equity.parquet")
    except OSError as error:
        raise BadInput("--out", f"{folder}: {error.strerror or error}") from None
