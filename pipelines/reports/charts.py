"""Charts as inline SVG: a few lines over time, or an area under zero."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from math import ceil, floor, log10

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 960, 64, 12, 10, 24
POINTS = 900
"""Columns of a chart; of more values each column shows the lowest and the highest."""


@dataclass(frozen=True)
class Line:
    """values over the chart's times; kind: the style's class"""

    name: str
    values: Floats
    kind: str


def lines(
    title: str, times_ms: Ints, drawn: Sequence[Line], height: int = 280, parts: Sequence[int] = ()
) -> str:
    """Lines over time with a common scale. parts: times at which every other stretch begins to be shaded."""
    low = min(float(line.values.min()) for line in drawn)
    high = max(float(line.values.max()) for line in drawn)
    frame = _Frame(int(times_ms[0]), int(times_ms[-1]), low, high, height)
    paths = [f'<path class="{line.kind}" d="{frame.path(times_ms, line.values)}"/>' for line in drawn]
    keys = (f'<span><i class="key {line.kind}"></i>{escape(line.name)}</span>' for line in drawn)
    chart = frame.svg(title, [frame.shades(parts), frame.axes("{:,.{}f}"), *paths])
    return f'<div class="legend soft">{"".join(keys)}</div>{chart}'


def fall(title: str, times_ms: Ints, depth: Floats, height: int = 150) -> str:
    """Drawdowns, 0 or negative fractions, as an area that hangs from zero."""
    frame = _Frame(int(times_ms[0]), int(times_ms[-1]), min(float(depth.min()), -1e-4), 0.0, height)
    zero, end = frame.y(0.0), WIDTH - RIGHT
    path = f"{frame.path(times_ms, depth)}L{end:.1f},{zero:.1f}L{LEFT},{zero:.1f}Z"
    return frame.svg(title, [frame.axes("{:.{}%}", 100), f'<path class="fall" d="{path}"/>'])


@dataclass(frozen=True)
class _Frame:
    begin_ms: int
    end_ms: int
    low: float
    high: float
    height: int

    def x(self, at_ms: float) -> float:
        width = max(self.end_ms - self.begin_ms, 1)
        return LEFT + (at_ms - self.begin_ms) / width * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        span = (self.high - self.low) or abs(self.high) or 1.0
        return TOP + (self.high - value) / span * (self.height - TOP - BOTTOM)

    def path(self, times_ms: Ints, values: Floats) -> str:
        kept = _extremes(values)
        points = (f"{self.x(float(times_ms[n])):.1f},{self.y(float(values[n])):.1f}" for n in kept)
        return "M" + "L".join(points)

    def axes(self, form: str, scale: float = 1.0) -> str:
        drawn = []
        ticks, digits = _ticks(self.low * scale, self.high * scale)
        for tick in ticks:
            y = self.y(tick / scale)
            text = form.format(tick / scale, digits)
            drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            drawn.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        days = (self.end_ms - self.begin_ms) / 86_400_000
        shape = "%H:%M" if days < 2 else "%d %b" if days < 200 else "%b %Y"
        for n in range(6):
            at_ms = self.begin_ms + (self.end_ms - self.begin_ms) * n / 5
            text = datetime.fromtimestamp(at_ms / 1000, UTC).strftime(shape)
            anchor = "start" if n == 0 else "end" if n == 5 else "middle"
            drawn.append(
                f'<text x="{self.x(at_ms):.1f}" y="{self.height - 6}" text-anchor="{anchor}">{text}</text>'
            )
        return "".join(drawn)

    def shades(self, parts: Sequence[int]) -> str:
        edges = [*parts, self.end_ms]
        return "".join(
            f'<rect class="part" x="{self.x(edges[n]):.1f}" y="{TOP}" height="{self.height - TOP - BOTTOM}" '
            f'width="{self.x(edges[n + 1]) - self.x(edges[n]):.1f}"/>'
            for n in range(0, len(edges) - 1, 2)
        )

    def svg(self, title: str, inner: Sequence[str]) -> str:
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(title)}">'
            f"{''.join(inner)}</svg>"
        )


def _extremes(values: Floats) -> Ints:
    """Positions worth drawing: all of few, else of each column the lowest and the highest, and the ends."""
    n = values.size
    if n <= 2 * POINTS:
        return np.arange(n)
    edges = np.linspace(0, n, POINTS + 1).astype(np.int64)
    kept = {0, n - 1}
    for begin, end in pairwise(edges):
        kept |= {int(begin + values[begin:end].argmin()), int(begin + values[begin:end].argmax())}
    return np.array(sorted(kept))


def _ticks(low: float, high: float) -> tuple[list[float], int]:
    """Round values between the two, about five, and the decimals they need."""
    rough = max(high - low, 1e-9) / 5
    size = 10.0 ** floor(log10(rough))
    step = next(size * n for n in (1, 2, 2.5, 5, 10) if size * n >= rough)
    digits = max(0, -floor(log10(step))) + (1 if step == 2.5 * size and size < 10 else 0)
    return [step * n for n in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)], digits
