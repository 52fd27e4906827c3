"""Routes over all bots together: one account, one equity."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from msgspec import structs
from pydantic import BaseModel
from sqlalchemy import Engine

from core import combined as combining
from core.combined import combined
from dashboards.api import models
from dashboards.api.documents import (
    MAX_LIMIT,
    Between,
    Cursor,
    Limit,
    Output,
    answer,
    is_within,
    paged,
    table,
)
from dashboards.api.models import Exact
from dashboards.queries import accounts
from dashboards.queries import portfolio as queries
from dashboards.services import Services


class Position(BaseModel):
    """What all bots hold of one symbol. In quote currency but for `quantity`; fees are in the cost."""

    symbol: str
    quantity: Exact
    cost: Exact
    average_cost: Exact | None
    price: Exact | None
    value: Exact
    unrealised_pnl: Exact
    bots: list[str]


class Total(BaseModel):
    """All bots of one quote currency as one account; pnl is realised and unrealised together."""

    quote: str
    bots: int
    capital: Exact
    value: Exact
    cash: Exact
    coins: Exact
    exposure: float | None
    pnl: Exact
    realised_pnl: Exact
    unrealised_pnl: Exact
    fees: Exact
    total_trades: int
    winning_trades: int
    positions: list[Position]


class Portfolio(BaseModel):
    """A total for each quote currency, by name."""

    items: list[Total]


class Equity(BaseModel):
    """Value and cash of all bots of a quote currency at one time."""

    at: datetime
    quote: str
    equity: Exact
    cash: Exact


class Curve(BaseModel):
    """Oldest first; `next` is the cursor of the following page."""

    items: list[Equity]
    next: str | None


ALL_DAYS = 36_500


def router(services: Services) -> APIRouter:
    """GET /portfolio, /portfolio/equity, /portfolio/days, /portfolio/bots."""
    routes = APIRouter(tags=["portfolio"])

    @routes.get("/portfolio", response_model=Portfolio)
    async def portfolio() -> Response:
        """All bots as one account, exact: cash, coins, average cost, realised and unrealised profit, fees."""
        totals = combined(await services.query(accounts.holders))
        return answer({"items": [document(total) for total in totals]})

    @routes.get("/portfolio/equity", response_model=Curve)
    async def equity(
        between: Between,
        points: Annotated[int, Query(ge=2, le=2000, description="About so many steps")] = 600,
        limit: Limit = MAX_LIMIT,
        cursor: Cursor = None,
        output: Output = "json",
    ) -> Response:
        """One combined equity over all bots of each quote currency, oldest first: all of it once the
        dbt marts are built, before that the last day."""
        curve = await services.query(_curve, services.hub.exchange_now(), points)
        rows = [row for row in curve if is_within(row["at"], between)]
        page, following = paged(rows, limit, cursor, at=datetime, quote=str)
        return table(page, output, "portfolio-equity", following)

    @routes.get("/portfolio/days", response_model=models.Rows)
    async def days(
        between: Between, limit: Limit = MAX_LIMIT, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """One row a UTC day and quote currency, oldest first; none before the dbt marts are built."""
        found = await services.query(_of_marts, partial(queries.days, limit=ALL_DAYS))
        rows = [row for row in found if is_within(datetime.combine(row["day"], time(), UTC), between)]
        page, following = paged(rows, limit, cursor, day=date, quote=str)
        return table(page, output, "portfolio-days", following)

    @routes.get("/portfolio/bots", response_model=models.Rows)
    async def bots(limit: Limit = MAX_LIMIT, cursor: Cursor = None, output: Output = "json") -> Response:
        """One row a bot by rank: value, profit, drawdown, fees; none before the dbt marts are built."""
        rows = await services.query(_of_marts, queries.bots)
        page, following = paged(rows, limit, cursor, place=int, bot_name=str)
        return table(page, output, "portfolio-bots", following)

    return routes


def _of_marts(engine: Engine, read: Callable[[Engine], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return read(engine) if queries.built(engine) else []


def _curve(engine: Engine, now: datetime, points: int) -> list[dict[str, Any]]:
    if queries.built(engine):
        return queries.curve(engine, points)
    return queries.live_curve(engine, now, points)


def document(total: combining.Total) -> dict[str, Any]:
    """A total with its positions, as the API answers it."""
    positions = [structs.asdict(position) for position in total.positions]
    return structs.asdict(total) | {"positions": positions}
