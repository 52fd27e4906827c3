"""The one place for colours: figures read it here, pages read the same values as CSS variables.

`stylesheet()` renders the variables that assets/*.css use, so that a colour is written once.
"""

from typing import Final, Literal

Scheme = Literal["dark", "light"]

DARK: Final[dict[str, str]] = {
    "background": "#0e1116",
    "surface": "#161b22",
    "raised": "#1f2630",
    "border": "#2b3440",
    "text": "#e6edf3",
    "muted": "#8b98a8",
    "accent": "#4c8dff",
    "grid": "#1f2630",
    "up-text": "#2fbfae",
    "down-text": "#ff6b68",
    "warning-text": "#e3a008",
    "shadow": "0 8px 24px rgba(0, 0, 0, .45)",
}
LIGHT: Final[dict[str, str]] = {
    "background": "#f7f8fa",
    "surface": "#ffffff",
    "raised": "#f0f2f5",
    "border": "#dfe3e8",
    "text": "#1c2430",
    "muted": "#606a77",
    "accent": "#2563eb",
    "grid": "#eceff3",
    "up-text": "#0a7268",
    "down-text": "#c62f2c",
    "warning-text": "#8a5d00",
    "shadow": "0 8px 24px rgba(28, 36, 48, .14)",
}
BOTH: Final[dict[str, str]] = {
    "up": "#26a69a",
    "down": "#ef5350",
    "warning": "#e3a008",
    "fill": "#2563eb",
    "radius": "8px",
    "font": 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif',
}
SERIES: Final[tuple[str, ...]] = ("#4c8dff", "#e3a008", "#a371f7", "#56b6c2", "#d670a7", "#8b98a8")
"""Indicator lines, in order; neither green nor red, which mean up and down."""


def tokens(scheme: Scheme) -> dict[str, str]:
    """Every token of a colour scheme, by name."""
    return {**BOTH, **(LIGHT if scheme == "light" else DARK)}


def stylesheet() -> str:
    """The tokens as CSS variables: `--surface`, `--text` … for the scheme that Mantine has set."""
    blocks = [_block(":root", {**BOTH, **DARK})]
    blocks.append(_block(':root[data-mantine-color-scheme="light"]', LIGHT))
    return "\n".join(blocks)


def _block(selector: str, values: dict[str, str]) -> str:
    lines = "".join(f"--{name}:{value};" for name, value in values.items())
    return f"{selector}{{{lines}}}"
