"""The shapes of answers about the data: its health, holes, differences, events and files of the lake."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from dashboards.api.models import Exact, Extensible


class DataHealth(Extensible):
    """Is the data whole and fresh?"""

    feed: dict[str, Any]
    connections: list[dict[str, Any]]
    clock: dict[str, Any] | None
    books: dict[str, Any] | None
    quality: list[dict[str, Any]]
    components: list[dict[str, Any]]
    series: list[dict[str, Any]]
    gaps: list[dict[str, Any]]
    trouble: dict[str, int]
    reconciled: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    lake: list[dict[str, Any]]


class Difference(Extensible):
    """A candle that was not the exchange's; `our_…` and `their_…` are null where that side had none, and
    `resolution` is null while it is open."""

    exchange: str
    symbol: str
    timeframe: str
    timestamp: datetime
    explanation: str
    detail: str | None
    our_close: Exact | None
    their_close: Exact | None
    our_volume: Exact | None
    their_volume: Exact | None
    detected_at: datetime
    resolved_at: datetime | None
    resolution: str | None


class Event(Extensible):
    """Something that happened. level: info, warning or error; details: what belongs to it."""

    id: int
    timestamp: datetime
    level: str
    component: str
    event: str
    message: str
    details: dict[str, Any]


class Events(BaseModel):
    """Newest first; `next` is the cursor of the following page."""

    items: list[Event]
    next: str | None


class Gap(Extensible):
    """A hole in a symbol's trade ids, both ends included. state: open, refilling, refilled or unfillable."""

    symbol: str
    first_id: int
    last_id: int
    state: str
    detected_at: datetime
    closed_at: datetime | None


class Gaps(BaseModel):
    """The newest found first; `next` is the cursor of the following page."""

    items: list[Gap]
    next: str | None


class SeriesEnds(Extensible):
    """Close times of the first and the last stored candle."""

    symbol: str
    timeframe: str
    first_candle: datetime
    last_candle: datetime


class SeriesList(BaseModel):
    """By symbol and timeframe; `next` is the cursor of the following page."""

    items: list[SeriesEnds]
    next: str | None


class LakeFile(Extensible):
    """A file of the lake as its manifest has it; path is relative to the lake's root."""

    path: str
    dataset: str
    symbol: str
    rows: int
    bytes: int
    sha256: str


class LakeFiles(BaseModel):
    """By path; `next` is the cursor of the following page."""

    items: list[LakeFile]
    next: str | None


class Differences(BaseModel):
    """The newest candle first; `next` is the cursor of the following page."""

    items: list[Difference]
    next: str | None


class ConnectionMinutes(BaseModel):
    """What each connection to the exchange was worth, a row a minute, the newest minute first."""

    items: list[dict[str, Any]]
    next: str | None
