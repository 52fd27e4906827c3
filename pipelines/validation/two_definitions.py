"""Metrics are defined twice, in `core.metrics` and in the dbt models: here they are laid side by side."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import isclose
from typing import Any

import numpy as np
from sqlalchemy import Engine

from core.metrics import DAY_MS
from pipelines.validation.bot_numbers import Life, Number, day_of, filled
from pipelines.validation.group_numbers import Account, bot_days, last_day, places, portfolio_days, strategies
from pipelines.validation.run_numbers import Row, of_backtest, of_pair, of_sweep, of_walk
from pipelines.warehouse.mart_metrics import (
    History,
    Mart,
    are_built,
    bot_history,
    bot_marts,
    exact_values,
    mart_rows,
    run_marts,
    sweep_rows,
)

TOLERANCE = 1e-9
"""Relative, and absolute below 1: SQL sums in another order than numpy."""
RUNS = 200
"""Of each kind the newest ones are compared: runs that are done do not change."""
SWEEPS = 5
"""They have up to 100,000 rows each."""
OF_FILLS = frozenset(filled(()))
OF_COSTS = ("fills", "turnover", "fees", "realised_pnl")
Told = tuple[str, Mapping[str, Number], Row]
"""Of what, what Python says, and the row of the mart."""


@dataclass(frozen=True)
class Difference:
    """One metric that the two definitions tell differently; None where one of them does not know the row."""

    of: str
    metric: str
    python: Number
    dbt: Number


@dataclass(frozen=True)
class Comparison:
    """bots, runs and metrics that were compared; differences among them."""

    bots: int
    runs: int
    metrics: int
    differences: list[Difference]


def compare_definitions(engine: Engine) -> Comparison:
    """Every bot's profit, returns, drawdown, Sharpe, exposure and the rest, and by the day its profit, fills,
    fees, exposure and drawdown; the portfolio's days; who stands where; what the newest backtests,
    walk-forwards and sweeps said of themselves; and each bot beside its backtest. Of days that retention
    thinned, exposure is not compared, and of the newest day no sum of fills."""
    if not are_built(engine):
        return Comparison(0, 0, 0, [])
    bots = bot_marts(engine)
    lives = {bot["bot_id"]: Life.of(bot, _history(engine, bot)) for bot in bots}
    accounts = {bot["bot_id"]: _account(engine, bot, lives[bot["bot_id"]]) for bot in bots}
    backtests, walks = run_marts(engine, "backtest"), run_marts(engine, "walk-forward")
    finished = [sweep for sweep in mart_rows(engine, "sweep_summary") if sweep["finished_at"] is not None]
    newest = sorted(finished, key=lambda sweep: sweep["finished_at"])[-SWEEPS:]
    sweeps = [(sweep, sweep_rows(engine, sweep["sweep_id"])) for sweep in newest]
    told = [
        *_of_bots(engine, bots, lives),
        *_of_days(engine, bots, accounts),
        *_of_groups(engine, accounts, lives, backtests, walks),
        *((f"backtest {run['run_id']}", of_backtest(run), run) for run in backtests[:RUNS]),
        *((f"walk-forward {run['run_id']}", of_walk(run), run) for run in walks[:RUNS]),
        *((f"sweep {sweep['sweep_id']}", of_sweep(*stored), sweep) for sweep, stored in sweeps),
        *_of_pairs(engine, lives, backtests),
    ]
    return Comparison(
        len(bots),
        len(backtests[:RUNS]) + len(walks[:RUNS]) + len(sweeps),
        sum(len(python) for _, python, _ in told),
        [found for one in told for found in _differing(*one)],
    )


def _of_bots(engine: Engine, bots: list[dict[str, Any]], lives: Mapping[int, Life]) -> Iterator[Told]:
    by_bot = _by_bot(engine, "bot_exposure_daily")
    for bot in bots:
        life, name = lives[bot["bot_id"]], f"bot {bot['bot_name']}"
        days = life.days()
        snapshots = {day: numbers["snapshots"] for day, numbers in days.items()}
        told = by_bot[bot["bot_id"]]
        # Retention leaves fewer snapshots than the models were made of, never more.
        thinned = {day for day, row in told.items() if snapshots.get(day, 0) < row["snapshots"]}
        yield name, life.numbers(is_whole=not thinned), bot
        for day, numbers in days.items():
            if day not in thinned:
                yield f"{name} on {day}", numbers, told.get(day, {})


def _of_days(engine: Engine, bots: list[dict[str, Any]], accounts: Mapping[int, Account]) -> Iterator[Told]:
    last = last_day(accounts.values())
    earned, paid = _by_bot(engine, "bot_daily_pnl"), _by_bot(engine, "bot_costs_daily")
    for bot in bots:
        bot_id, name = bot["bot_id"], bot["bot_name"]
        for day, numbers in bot_days(accounts[bot_id], last).items():
            yield f"profit of {name} on {day}", _settled(numbers, day, last), earned[bot_id].get(day, {})
        for day, fills in accounts[bot_id].fills.items():
            costs = {metric: fills[metric] for metric in OF_COSTS}
            yield f"costs of {name} on {day}", _settled(costs, day, last), paid[bot_id].get(day, {})
    portfolio = {(row["quote"], row["day"]): row for row in mart_rows(engine, "portfolio_daily")}
    for quote, together in _by_quote(engine, accounts).items():
        for day, numbers in portfolio_days(together, last).items():
            told = portfolio.get((quote, day), {})
            yield f"portfolio in {quote} on {day}", _settled(numbers, day, last), told


def _by_quote(engine: Engine, accounts: Mapping[int, Account]) -> dict[str, list[Account]]:
    """The accounts of each quote currency; those of deleted bots count on no day."""
    found: dict[str, list[Account]] = defaultdict(list)
    for row in mart_rows(engine, "bot_leaderboard"):
        if row["bot_id"] in accounts:
            found[row["symbol"].partition("-")[2]].append(accounts[row["bot_id"]])
    return found


def _settled(numbers: Mapping[str, Number], day: date, last: date | None) -> Mapping[str, Number]:
    """Models are made one after the other while bots trade on: some know fills of the newest day that others
    do not."""
    return {name: value for name, value in numbers.items() if day != last or name not in OF_FILLS}


def _of_groups(
    engine: Engine,
    accounts: Mapping[int, Account],
    lives: Mapping[int, Life],
    backtests: list[dict[str, Any]],
    walks: list[dict[str, Any]],
) -> Iterator[Told]:
    leaders = mart_rows(engine, "bot_leaderboard")
    standings = [_standing(row, accounts.get(row["bot_id"]), lives.get(row["bot_id"])) for row in leaders]
    ranks = places([(standing["total_return"],) for standing in standings])
    for row, standing, place in zip(leaders, standings, ranks, strict=True):
        yield f"standing of {row['bot_name']}", {**standing, "place": place}, row

    known = {(row["quote"], row["strategy_name"]): row for row in mart_rows(engine, "strategy_leaderboard")}
    of_bots = [
        {**standing, **_traded(row), "cash": row["starting_value"]}
        for row, standing in zip(leaders, standings, strict=True)
    ]
    of_runs = [{**of_backtest(run), **_traded(run)} for run in backtests]
    of_walks = [{**of_walk(run), **_traded(run)} for run in walks]
    for (quote, name), numbers in strategies(of_bots, of_runs, of_walks).items():
        yield f"strategy {name} in {quote}", numbers, known.get((quote, name), {})


def _traded(row: Row) -> dict[str, Any]:
    """Which strategy on which market."""
    return {name: row[name] for name in ("symbol", "strategy_name")}


def _of_pairs(engine: Engine, lives: Mapping[int, Life], backtests: list[dict[str, Any]]) -> Iterator[Told]:
    runs = {run["run_id"]: run for run in backtests}
    for row in mart_rows(engine, "backtest_versus_live"):
        yield (
            f"backtest and life of {row['bot_name']}",
            of_pair(runs.get(row["run_id"]), lives.get(row["bot_id"])),
            row,
        )


def _account(engine: Engine, bot: Row, life: Life) -> Account:
    at_ms = life.history.at_ms
    number = (at_ms - 1) // DAY_MS
    last = at_ms[np.append(number[1:] != number[:-1], True)].tolist()
    values = exact_values(engine, bot["bot_id"], last)
    return Account(
        life.cash,
        {day_of((moment - 1) // DAY_MS): value for moment, value in zip(last, values, strict=True)},
        life.fills_by_day(),
    )


def _standing(row: Row, account: Account | None, life: Life | None) -> dict[str, Any]:
    """A bot of the leaderboard; one that has no snapshot yet has what it began with, and no trips."""
    if account is None or life is None:
        nothing = dict.fromkeys(("win_rate", "profit_factor"))
        zero = dict.fromkeys(("realised_pnl", "fees", "pnl"), Decimal(0))
        rest = {"total_return": 0.0, "drawdown": 0.0, "max_drawdown": 0.0, "closed_trades": 0}
        return {"current_value": row["starting_value"], **nothing, **zero, **rest}
    depths, earned = life.depths(), account.value - account.cash
    trips = {name: number for name, number in life.trips().items() if name != "expectancy"}
    return {
        "current_value": account.value,
        "pnl": earned,
        "total_return": float(earned) / float(account.cash),
        "drawdown": float(depths[-1]),
        "max_drawdown": max(float(depths.max()), 0.0),
        **trips,
    }


def _by_bot(engine: Engine, mart: Mart) -> dict[int, dict[date, Row]]:
    found: dict[int, dict[date, Row]] = defaultdict(dict)
    for row in mart_rows(engine, mart):
        found[row["bot_id"]][row["day"]] = row
    return found


def _history(engine: Engine, bot: Row) -> History:
    return bot_history(engine, bot["bot_id"], bot["last_at"], bot["last_fill_at"])


def _differing(of: str, python: Mapping[str, Number], dbt: Row) -> Iterator[Difference]:
    for metric, value in python.items():
        if not _equal(value, dbt.get(metric)):
            yield Difference(of, metric, value, dbt.get(metric))


def _equal(one: Number, other: Number) -> bool:
    if one is None or other is None:
        return one is other
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return one == other
    return isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
