"""Prometheus' text format. Pure."""

from collections.abc import Iterator, Sequence

Samples = Sequence[tuple[dict[str, str], float]]
"""Labels and value of each."""


def gauge(name: str, text: str, samples: Samples) -> Iterator[str]:
    """The lines of one gauge; none without samples."""
    if not samples:
        return
    yield f"# HELP {name} {text}\n# TYPE {name} gauge\n"
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        yield f"{name}{{{inside}}} {value}\n" if inside else f"{name} {value}\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
