"""What research leaves behind, for tests of pages: a sweep, a walk-forward, a backtest with its curve, a hole
in the trades, a candle that differed, measured connections. Small, exact, and about BTC-USDT of 1m."""

from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from core.metrics import METRICS
from pipelines.warehouse import tables
from pipelines.warehouse.quality import QualityRow, record_quality
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.trade_days import ensure_partitions

SWEEP, WALK, BACKTEST = "5eed00000001", "5eed00000002", "5eed00000003"
FAST, SLOW = (4, 8, 12), (20, 30, 40)


def fill_research(engine: Engine, now_ms: int) -> None:
    """Write all of it, as of exchange and wall time `now_ms`."""
    now = datetime.fromtimestamp(now_ms // 60_000 * 60, UTC)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(tables.strategy_runs),
            [
                _run(SWEEP, "sweep", now, {"grid": {"fast_period": [*FAST], "slow_period": [*SLOW]}}),
                _run(WALK, "walk_forward", now, {"walk_forward": {"efficiency": 0.5, "overfitting": 0.25}}),
                _run(BACKTEST, "backtest", now, {"fast_period": 8, "slow_period": 30}),
            ],
        )
        connection.execute(sa.insert(tables.sweep_results), _rows())
        connection.execute(sa.insert(tables.walk_forward_windows), [_window(n, now) for n in range(3)])
        connection.execute(sa.insert(tables.backtest_equity), _curve(now))
        connection.execute(sa.insert(tables.data_gaps), _gaps(now))
        connection.execute(sa.insert(tables.candle_differences), _difference(now))
        ensure_partitions(connection, now_ms - 3_600_000, now_ms)
        connection.execute(sa.insert(tables.raw_trades), [_trade(n, now) for n in range(60)])
    row = QualityRow("trades 1", "wss://exchange", 40.0, 90.0, 100, 400, 0, 3, 0, 1, 0, 4)
    record_quality(engine, int(now.timestamp() * 1000) - 60_000, [row])


def worth(fast: int, slow: int) -> float:
    """The Sharpe ratio of a row: best at 8 and 30, worse the further away."""
    return 2.0 - abs(fast - 8) / 4 - abs(slow - 30) / 10


def _run(run_id: str, kind: str, now: datetime, parameters: dict[str, Any]) -> dict[str, Any]:
    best = _metrics(8, 30)
    return {
        "id": run_id,
        "kind": kind,
        "strategy_name": "ema_crossover",
        "symbol": "BTC-USDT",
        "timeframe": "1m",
        "parameters": parameters | ({"fixed": {}, "combinations": 9} if kind == "sweep" else {}),
        "start_time": now - timedelta(days=30),
        "end_time": now,
        "status": "done",
        "candles": 43_200,
        "initial_cash": 10_000,
        "final_value": 11_000.0,
        "fee": 0.001,
        "slippage": 0.0,
        "metrics": {"sort": "sharpe", "best": best} if kind == "sweep" else best,
        "created_at": now - timedelta(hours=kind == "walk_forward"),
        "finished_at": now,
    }


def _metrics(fast: int, slow: int) -> dict[str, Any]:
    sharpe = worth(fast, slow)
    return dict.fromkeys(METRICS, 0.0) | {"sharpe": sharpe, "total_return": sharpe / 20, "trades": 12}


def _rows() -> list[dict[str, Any]]:
    pairs = sorted(((fast, slow) for fast in FAST for slow in SLOW), key=lambda pair: -worth(*pair))
    return [
        {
            "sweep_id": SWEEP,
            "n": n,
            "symbol": "BTC-USDT",
            "timeframe": "1m",
            "parameters": {"fast_period": fast, "slow_period": slow},
            "metrics": _metrics(fast, slow),
        }
        for n, (fast, slow) in enumerate(pairs)
    ]


def _window(n: int, now: datetime) -> dict[str, Any]:
    test = now - timedelta(days=9 - 3 * n)
    return {
        "run_id": WALK,
        "n": n,
        "train_start": test - timedelta(days=10),
        "train_end": test,
        "test_start": test,
        "test_end": test + timedelta(days=3),
        "parameters": {"fast_period": FAST[n], "slow_period": 30},
        "train_metrics": _metrics(8, 30),
        "test_metrics": _metrics(FAST[n], 30),
        "test_rank": 0.75,
    }


def _curve(now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "run_id": BACKTEST,
            "timestamp": now - timedelta(minutes=n),
            "equity": 10_000.0 + (n * 7) % 11,
            "close": 60_000.0 + n,
        }
        for n in range(200)
    ]


def _gaps(now: datetime) -> list[dict[str, Any]]:
    shared = {"exchange": EXCHANGE, "symbol": "BTC-USDT", "detected_at": now, "detected_by": "feed"}
    return [
        shared | {"first_id": 100, "last_id": 119, "state": "open", "closed_at": None, "note": None},
        shared | {"first_id": 50, "last_id": 50, "state": "refilled", "closed_at": now, "note": "stored"},
    ]


def _trade(n: int, now: datetime) -> dict[str, Any]:
    return {
        "exchange": EXCHANGE,
        "symbol": "BTC-USDT",
        "trade_id": 1_000 - n,
        "timestamp": now - timedelta(seconds=3 * n),
        "price": 61_800 + (n * 7) % 11 / 10,
        "size": 0.001 * (1 + n % 7),
        "side": "sell" if n % 3 else "buy",
        "count": 1,
        "source": "websocket",
    }


def _difference(now: datetime) -> dict[str, Any]:
    numbers = {f"{side}_{name}": 1 for side in ("our", "their") for name in ("open", "high", "low", "close")}
    return {
        "exchange": EXCHANGE,
        "symbol": "BTC-USDT",
        "timeframe": "1m",
        "timestamp": now,
        "explanation": "missing_trades",
        "detail": "the exchange has 2 more trades",
        **numbers,
        "our_volume": 12.5,
        "their_volume": 13.25,
        "detected_at": now,
    }
