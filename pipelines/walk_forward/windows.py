"""The windows of a walk-forward: where it trains and where it then tests."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import BadInput

OPTION = "--walk-forward"
LIKE = (
    "rolling:train=60d,test=14d[,purge=1d], anchored:train=…,test=… or purged:folds=6[,purge=1d,embargo=1d]"
)
MOST_WINDOWS = 1_000
LONGEST = timedelta(days=36_500)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Span:
    """Open of the first candle to close of the last."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Window:
    """Parameters are chosen on the stretches of `train`, oldest first, and applied to `test`."""

    n: int
    train: tuple[Span, ...]
    test: Span

    @property
    def times(self) -> dict[str, datetime | None]:
        """As columns: train_start, train_end, train_2_start, train_2_end (of a second stretch), test_start,
        test_end."""
        first, second = self.train[0], self.train[1] if len(self.train) > 1 else None
        return {
            "train_start": first.start,
            "train_end": first.end,
            "train_2_start": second.start if second else None,
            "train_2_end": second.end if second else None,
            "test_start": self.test.start,
            "test_end": self.test.end,
        }


class WalkForward(BaseModel):
    """How to walk forward. A test begins where the one before ended, so that together they are one record.

    rolling: trains on the `train` before each test · anchored: on everything before it, first `train` long ·
    purged: the whole stretch in `folds` tests, each trained on all the rest, before it and after it (purged
    cross-validation: López de Prado, Advances in Financial Machine Learning, 2018, chapter 7)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["rolling", "anchored", "purged"]
    train: timedelta | None = Field(None, gt=timedelta(0), description="Length of a training")
    test: timedelta | None = Field(None, gt=timedelta(0), description="Length of a test")
    folds: int | None = Field(None, ge=2, le=MOST_WINDOWS, description="Tests of a purged walk")
    purge: timedelta = Field(
        timedelta(0),
        ge=timedelta(0),
        description="Left out of the training next to a test, so that no trade begun in it ends in the test",
    )
    embargo: timedelta = Field(
        timedelta(0), ge=timedelta(0), description="Left out after a test besides, where training follows it"
    )

    @model_validator(mode="after")
    def _what_the_mode_needs(self) -> Self:
        purged = self.mode == "purged"
        needed = ("folds",) if purged else ("train", "test")
        for name in ("train", "test", "folds"):
            if (getattr(self, name) is None) == (name in needed):
                verb = "needs" if name in needed else "has no"
                raise ValueError(f"{self.mode} {verb} {name}")
        if self.embargo and not purged:
            raise ValueError(f"{self.mode} has no embargo: it never trains on what follows a test")
        return self

    def document(self) -> dict[str, Any]:
        """As JSON; durations as they are written."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        shown = {n: written(v) if isinstance(v, timedelta) else v for n, v in values.items()}
        return {name: value for name, value in shown.items() if value is not None}


def parse(text: str) -> WalkForward:
    """`MODE:name=value,…`, durations as 60d, 12h, 30m or 2w; BadInput says what is wrong with it."""
    mode, _, rest = text.partition(":")
    values: dict[str, Any] = {"mode": mode.strip()}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value or name in values:
            raise BadInput(OPTION, f"{part!r} is not NAME=VALUE, or is given twice; write {LIKE}")
        values[name] = value if name == "folds" else duration(value)
    try:
        return WalkForward.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        raise BadInput(OPTION, f"{field + ' ' if field else ''}{said}; write {LIKE}") from None


def duration(text: str) -> timedelta:
    """60d, 12h, 30m, 2w, also 1.5d; BadInput for what is no such length, or over a hundred years."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([mhdw])", text)
    if found is None:
        raise BadInput(OPTION, f"{text!r} is not a length of time such as 60d, 12h, 30m or 2w")
    length = timedelta(**{_UNITS[found[2]]: float(found[1])})
    if length > LONGEST:
        raise BadInput(OPTION, f"{text!r} is longer than a hundred years")
    return length


def written(length: timedelta) -> str:
    """The shortest way to write a length of time: 14d, 36h, 90m."""
    minutes = length / timedelta(minutes=1)
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes % size == 0:
            return f"{minutes / size:g}{unit}"
    return f"{minutes:g}m"


def plan(walk: WalkForward, span: Span, candle: timedelta) -> list[Window]:
    """The windows of a stretch of candles; lengths are cut to whole candles.

    The last test may be shorter, down to half. BadInput when not even one window fits.
    """
    windows = list(_folds(walk, span, candle) if walk.mode == "purged" else _forward(walk, span, candle))
    if not windows:
        there = written((span.end - span.start) // candle * candle)
        raise BadInput(OPTION, f"no training and test fit into {there} of candles: take shorter ones")
    return windows


def _forward(walk: WalkForward, span: Span, candle: timedelta) -> Iterator[Window]:
    train, test, purge = (_whole(length, candle) for length in (walk.train, walk.test, walk.purge))
    if min(train, test) < candle:
        raise BadInput(OPTION, f"train and test must be at least a candle, {written(candle)}")
    begin = span.start + train + purge
    n = 0
    while begin + test / 2 <= span.end and n < MOST_WINDOWS:
        cut = begin - purge
        first = span.start if walk.mode == "anchored" else cut - train
        yield Window(n, (Span(first, cut),), Span(begin, min(begin + test, span.end)))
        begin, n = begin + test, n + 1
    if begin + test / 2 <= span.end:
        raise BadInput(OPTION, f"more than {MOST_WINDOWS:,} windows: take a longer test")


def _folds(walk: WalkForward, span: Span, candle: timedelta) -> Iterator[Window]:
    folds, candles = walk.folds or 0, (span.end - span.start) // candle
    purge, embargo = _whole(walk.purge, candle), _whole(walk.embargo, candle)
    edges = [span.start + candle * (candles * n // folds) for n in range(folds)] + [span.end]
    for n in range(folds):
        before = Span(span.start, edges[n] - purge)
        after = Span(edges[n + 1] + purge + embargo, span.end)
        train = tuple(part for part in (before, after) if part.end - part.start >= candle)
        if edges[n + 1] - edges[n] < candle or not train:
            raise BadInput(OPTION, f"{folds} folds with their purge leave nothing of {candles:,} candles")
        yield Window(n, train, Span(edges[n], edges[n + 1]))


def _whole(length: timedelta | None, candle: timedelta) -> timedelta:
    return (length or timedelta(0)) // candle * candle
