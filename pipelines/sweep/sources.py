"""By what a sweep knows that numbers are still defined as they were: the texts that they follow from."""

import ast
import inspect
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from strategies.base import Strategy

ROOT = Path(__file__).parents[2]
OWN_CODE = ("config", "core", "strategies", "pipelines/backtest", "pipelines/sweep")
"""Folders of the program that say what signals, limits, fills and metrics are."""
LIBRARIES = ("polars", "numpy", "numba")
"""They decide the last digits."""


def source_mark(strategy: type[Strategy], root: Path = ROOT) -> str:
    """Of the strategy's file with the files beside it that it imports, of the program's own definitions
    (under `root`) and of the libraries that compute them; two with the same mark give the same rows."""
    digest = sha256("".join(f"{name} {version(name)} " for name in LIBRARIES).encode())
    for folder in OWN_CODE:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    digest.update(strategy.name.encode())
    for text in _texts(strategy):
        digest.update(text)
    return digest.hexdigest()[:16]


def _texts(strategy: type[Strategy]) -> Iterator[bytes]:
    """The file of a strategy and those of its folder that it imports, they too, each once."""
    try:
        found = inspect.getsourcefile(strategy)
    except TypeError:
        found = None
    waiting, seen = [Path(found)] if found else [], set[Path]()
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        text = path.read_bytes()
        yield text
        waiting += sorted(path.parent / f"{name}.py" for name in _imported(text))


def _imported(text: bytes) -> set[str]:
    """Every name in the imports of a file that could be that of a file beside it."""
    names = set[str]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {part for name in names for part in name.split(".") if part}
