"""The parts of a page: one HTML file that needs nothing else, no network and no script."""

from collections.abc import Iterable, Sequence
from html import escape

from pipelines.reports.style import STYLE


def page(title: str, body: Iterable[str]) -> str:
    """A whole document."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A headline and what is under it; nothing where nothing is."""
    inner = "".join(parts)
    return f"<section><h2>{escape(title)}</h2>{inner}</section>" if inner else ""


def paragraph(text: str, soft: bool = True) -> str:
    """A sentence."""
    return f"<p{' class=soft' if soft else ''}>{escape(text)}</p>"


def caveats(said: Sequence[str]) -> str:
    """What must be known, in a box; nothing where nothing is."""
    items = "".join(f"<li>{escape(text)}</li>" for text in said)
    return f'<div class="caveats" role="note"><ul>{items}</ul></div>' if items else ""


def tiles(items: Iterable[tuple[str, str, str]]) -> str:
    """The few numbers one looks for first: name, value, what stands under it."""
    cards = (
        f'<div class="tile"><small>{escape(name)}</small><b>{escape(value)}</b>'
        f"<small>{escape(below)}</small></div>"
        for name, value, below in items
    )
    return f'<div class="tiles">{"".join(cards)}</div>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], signed: frozenset[int] = frozenset()) -> str:
    """A table; the cells of the columns `signed` are coloured by their sign."""
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(_cell(text, n in signed) for n, text in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def folded(summary: str, content: str) -> str:
    """Something long that opens on demand."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _cell(text: str, signed: bool) -> str:
    kind = ""
    if signed and text.startswith(("+", "-")):
        kind = ' class="good"' if text[0] == "+" else ' class="bad"'
    return f"<td{kind}>{escape(text)}</td>"
