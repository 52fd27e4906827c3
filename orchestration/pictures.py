"""Pictures in the metadata of runs."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import dagster as dg

WIDTH, HEIGHT, POINTS = 600, 160, 300


def curve(values: Sequence[float], name: str = "equity") -> dg.MetadataValue[Any]:
    """A line as a picture: first to last value, lowest at the bottom; needs no library and no network."""
    step = max(len(values) // POINTS, 1)
    shown = [*values[::step], values[-1]]
    low, high = min(values), max(values)
    span = high - low or 1.0
    across = WIDTH / max(len(shown) - 1, 1)
    points = " ".join(
        f"{i * across:.1f},{HEIGHT - 4 - (value - low) / span * (HEIGHT - 8):.1f}"
        for i, value in enumerate(shown)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">'
        f'<polyline points="{points}" fill="none" stroke="#2f6fed" stroke-width="2"/></svg>'
    )
    picture = f"![{name}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"
    return dg.MetadataValue.md(f"{picture}\n\n{values[0]:,.2f} to {values[-1]:,.2f}, lowest {low:,.2f}")
