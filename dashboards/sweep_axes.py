"""What of a sweep's grid its kept rows cover: of a large sweep they are the best alone, and what is missing
among them was not good enough. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import BadInput
from dashboards.figures.sweep import Values, ordered
from pipelines.sweep.grid import parse_values

MOST_STEPS = 1_000
"""Values of a parameter that a chart has places for."""


def is_whole(run: Mapping[str, Any], kept: int) -> bool:
    """Whether all rows of a sweep are kept. kept: how many are."""
    combinations = run["parameters"].get("combinations")
    return run["status"] == "done" and (combinations is None or kept >= combinations)


def steps(run: Mapping[str, Any], name: str) -> list[Any]:
    """The values that a parameter had in a sweep, in their order; none where they are too many, or were
    shortened as they were stored."""
    given = run["parameters"]["grid"][name]
    if isinstance(given, str) and "…" in given:
        return []
    try:
        values = parse_values(name, given)
    except BadInput:
        return []
    return ordered(set(values)) if len(values) <= MOST_STEPS else []


def with_gaps(line: Values, values: Sequence[Any]) -> Values:
    """A line with None at each value of the grid that it has no row of."""
    known = {value for value, _ in line}
    return [*line, *((value, None) for value in values if value not in known)]


def kept_words(run: Mapping[str, Any], kept: int) -> str:
    """That the charts do not have all rows, empty where they have."""
    if run["status"] != "done" or is_whole(run, kept):
        return ""
    return (
        f"The best {kept:,} of {run['parameters']['combinations']:,} rows are kept, and the charts are of "
        "these: a combination that is missing in them was ruled out, or was worse."
    )
