"""Which sweeps there are, what they are, and each of them walked forward."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BadInput
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.sweepfile import request_of

if TYPE_CHECKING:
    from pipelines.walk_forward.result import WalkForwardResult


def sweep_files(config_dir: Path, chosen: str) -> list[Path]:
    """The sweep definitions to run; BadInput lists those there are."""
    files = sorted((config_dir / "sweeps").glob("*.json"))
    if not chosen:
        return files
    for path in files:
        if chosen in {path.name, path.stem}:
            return [path]
    raise BadInput("file", f"{chosen!r} is not one of {', '.join(path.name for path in files) or 'none'}")


def sweep_versions(config_dir: Path) -> dict[str, str]:
    """Name of each sweep definition → what changes when its content does."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in sweep_files(config_dir, "")
    }


def changed_ns(config_dir: Path, name: str) -> int:
    """When the file was written, renamed or put there last, ns since the epoch; no tool sets this time back.
    0 where it is gone."""
    try:
        return (config_dir / "sweeps" / name).stat().st_ctime_ns
    except FileNotFoundError:
        return 0


def sweep_requests(config_dir: Path, chosen: str, given: dict[str, Any]) -> dict[str, SweepRequest]:
    """Name → request: of the files, with what is given over what they say, or the one that is given whole."""
    if not chosen and "strategy" in given:
        return {given["strategy"]: SweepRequest.read(given)}
    return {path.name: request_of(path, **given) for path in sweep_files(config_dir, chosen)}


def walk_all(
    requests: Mapping[str, SweepRequest], windows: str, database_url: str
) -> tuple[dict[str, "WalkForwardResult"], dict[str, str]]:
    """Each market of each sweep walked forward: results, and why others were left out, by "name: market".
    BadInput for windows that are none."""
    from pipelines.walk_forward.run import execute_walk_forward
    from pipelines.walk_forward.windows import parse

    walk = parse(windows)
    results, left_out = {}, {}
    for name, request in requests.items():
        for market in request.markets:
            key = f"{name}: {market.named}"
            try:
                results[key] = execute_walk_forward(market, walk, database_url)
            except BadInput as error:
                left_out[key] = str(error)
    return results, left_out
