"""Figures of the product: what is asked (figures.toml), and what was found when (figures.jsonl)."""

import os
import subprocess
import tomllib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from config.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "tests" / "bench"
ASKED, FOUND = FOLDER / "figures.toml", FOLDER / "figures.jsonl"
PAGE = PROJECT_ROOT / "docs" / "benchmarks.md"
VARIABLE = "BENCH_FIGURES"
"""The file that findings are appended to: `make bench` sets it, a bench run alone keeps nothing."""


Tell = Callable[..., None]
"""The fixture `tell(text, *figures, case="")` of the benches."""


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked of the product, in Markdown, and the section of the page that answers."""

    id: str
    section: str
    asked: str


class Found(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measurement; what was not written down with it is None.

    found, command: Markdown; load: average of a minute as it began; case: which of several that make the
    figure together.
    """

    figure: str
    found: str
    command: str
    date: str
    load: str | None = None
    commit: str | None = None
    case: str = ""


def asked() -> list[Figure]:
    """All figures in the order of the page."""
    return msgspec.convert(tomllib.loads(ASKED.read_text(encoding="utf-8"))["figure"], list[Figure])


def found(path: Path = FOUND) -> list[Found]:
    """All measurements, the oldest first."""
    return [msgspec.json.decode(line, type=Found) for line in path.read_bytes().splitlines()]


def newest(measurements: Iterable[Found]) -> dict[str, list[Found]]:
    """Figure → its last measurement; all its cases of that day and commit, each once."""
    last: dict[str, dict[str, Found]] = {}
    for one in measurements:
        cases = last.setdefault(one.figure, {})
        if any((other.date, other.commit) != (one.date, one.commit) for other in cases.values()):
            cases.clear()
        cases[one.case] = one
    return {figure: list(cases.values()) for figure, cases in last.items()}


def measured(figure: str, text: str, command: str, load: float, case: str = "") -> Found:
    """A measurement of now, of this checkout."""
    said = "; ".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
    day = datetime.now(UTC).date().isoformat()
    return Found(figure, said.replace("|", "\\|"), command, day, f"{load:.1f}", commit(), case)


def add(one: Found, path: Path) -> None:
    """Append it, whole or not at all."""
    with path.open("ab", buffering=0) as file:
        file.write(msgspec.json.encode(one) + b"\n")


def bench_command(test: str) -> str:
    """The command of a bench in Markdown, `test` being its node id: variables that differ from its defaults,
    file and function."""
    given = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name in ("DAYS", "MONTHS", "MINUTES")
    ]
    given += [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith("BENCH_") and name != VARIABLE
    ]
    file, _, function = test.partition("::")
    return f"`{' '.join([*given, Path(file).name])}`, `{function.partition('[')[0]}`"


def commit(root: Path = PROJECT_ROOT) -> str:
    """Of the checkout at `root`, and whether it was changed since, but for what benches themselves write."""
    git = ("git", "-C", str(root))
    name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    ours = [f":!{path.relative_to(PROJECT_ROOT)}" for path in (FOUND, PAGE)]
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", *ours], capture_output=True)
    return name.stdout.strip() + (" with changes" if changed.returncode else "")
