"""Small pieces every page is made of: icons, panels, and the four faces of a panel."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from dash import dcc, html

from dashboards.failures import cause

Card = tuple[str, str, str, str]
"""Name, number, tone (a class), hint."""


def icon(name: str) -> html.Span:
    """An icon of assets/icons.css; decoration only, so the words beside it carry the meaning."""
    return html.Span(className=f"icon icon-{name}", **{"aria-hidden": "true"})


def panel(*children: Any, title: str | None = None, tools: Any = None, **attributes: Any) -> html.Section:
    """A framed part of a page with an optional title line."""
    extra = attributes.pop("className", "")
    head = [html.Header([html.H2(title), html.Div(tools, className="tools")])] if title else []
    return html.Section([*head, *children], className=f"panel {extra}".strip(), **attributes)


def empty(title: str, text: str, *actions: Any) -> html.Div:
    """What a panel will show once there is something, and the button that fills it."""
    return html.Div(
        [html.H3(title), html.P(prose(text)), html.Div(list(actions), className="actions")], className="face"
    )


def prose(text: str) -> list[Any]:
    """Words with what stands between backquotes set as code."""
    return [html.Code(part) if n % 2 else part for n, part in enumerate(text.split("`")) if part]


def failure(
    title: str, error: Exception | str, remedy: str = "It is tried again every few seconds."
) -> html.Div:
    """What failed, in one line of the cause, and what to do."""
    return html.Div(
        [html.H3([icon("alert"), title]), html.P(html.Code(cause(error))), html.P(remedy)],
        className="panel face failed",
        role="alert",
    )


def cards(found: Sequence[Card], size: str = "fit") -> html.Div:
    """Numbers in a row. size: six, eight, or as many as fit."""
    return html.Div(
        [
            html.Div(
                [html.Span(name, className="muted small"), html.B(text, className=f"numeric {tone}")],
                className="card",
                title=hint,
            )
            for name, text, tone, hint in found
        ],
        className=f"cards {size}",
    )


def downloads(address: str, **query: str | int | Sequence[str]) -> html.Span:
    """Links to the rows of an address of the API as files; `query` narrows them."""
    links = [
        html.A(
            word,
            href=f"{address}?{urlencode({'format': kind, **query}, doseq=True)}",
            className="button",
            download="",
            title="The rows as a file; longer tables come in pages from the API",
        )
        for kind, word in (("csv", "CSV"), ("parquet", "Parquet"))
    ]
    return html.Span(links, className="downloads")


def segment(text: str, href: str, chosen: bool) -> html.Span:
    """One of several links of which one is chosen."""
    link = dcc.Link(text, href=href, className="segment selected" if chosen else "segment")
    return html.Span(link, **({"aria-current": "true"} if chosen else {}))


def skeleton(height: str) -> html.Div:
    """A grey shape of the size of what comes, so that nothing jumps."""
    return html.Div(className="skeleton", style={"height": height})


def toast(*children: Any, failed: bool = False) -> html.Div:
    """A message at the edge that goes by itself; each is a new element, so that a repeated one shows."""
    return html.Div(list(children), className="toast failed" if failed else "toast", key=uuid4().hex)


def clock(epoch_ms: int) -> html.Time:
    """A time of day in the reader's zone, with the day and UTC on hover."""
    return html.Time("", className="clock", **{"data-ms": str(epoch_ms)})


def moment(epoch_ms: int | None, missing: str = "—") -> html.Time | html.Span:
    """A time that the browser keeps relative ("12 s ago") with the absolute one on hover."""
    if epoch_ms is None:
        return html.Span(missing, className="muted")
    return html.Time("", className="ago", **{"data-ms": str(epoch_ms)})
