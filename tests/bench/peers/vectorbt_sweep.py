"""An EMA-crossover grid in vectorbt: `python vectorbt_sweep.py CANDLES.parquet REQUEST.json` prints JSON.

Runs in the peers' own environment. The request: {"pairs": [[fast, slow], …], "fee": 0.001, "cash": 10000,
"rows": n}. Times are the second run's: the first compiles.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt

vbt.settings["engine"] = sys.argv[3] if len(sys.argv) > 3 else "rust"
vbt.settings.returns["year_freq"] = "365 days"


def sweep(close: pd.Series, pairs: np.ndarray, fee: float, cash: float) -> dict[str, Any]:
    """Metrics of every pair, in their order."""
    periods = np.unique(pairs)
    ema = vbt.MA.run(close, periods.tolist(), ewm=True, adjust=False, short_name="ema").ma.to_numpy()
    fast, slow = (ema[:, np.searchsorted(periods, pairs[:, side])] for side in (0, 1))
    known = ~(np.isnan(fast) | np.isnan(slow))
    above, below = (fast > slow) & known, (fast < slow) & known
    buy, sell = np.zeros_like(above), np.zeros_like(above)
    buy[1:], sell[1:] = above[1:] & ~above[:-1] & known[:-1], below[1:] & ~below[:-1] & known[:-1]
    portfolio = vbt.Portfolio.from_signals(
        close, buy, sell, fees=fee, init_cash=cash, freq="1min", accumulate=False, direction="longonly"
    )
    trades = portfolio.trades
    return {
        "total_return": portfolio.total_return().to_numpy(),
        "max_drawdown": portfolio.max_drawdown().to_numpy(),
        "trades": trades.count().to_numpy(),
        "win_rate": trades.winning.count().to_numpy() / trades.count().to_numpy(),
        "fees": portfolio.orders.fees.sum().to_numpy(),
        "sharpe_bar": portfolio.sharpe_ratio().to_numpy(),
    }


def main() -> None:
    """Read, run twice, print."""
    request = json.loads(Path(sys.argv[2]).read_text())
    candles = pd.read_parquet(sys.argv[1])
    close = pd.Series(candles["close"].to_numpy(), pd.DatetimeIndex(candles["timestamp"]))
    pairs = np.array(request["pairs"])
    sweep(close.iloc[:2_000], pairs, request["fee"], request["cash"])
    started = time.perf_counter()
    found = sweep(close, pairs, request["fee"], request["cash"])
    took_s = time.perf_counter() - started
    json.dump(
        {"took_s": took_s, "version": vbt.__version__} | {k: v.tolist() for k, v in found.items()}, sys.stdout
    )


if __name__ == "__main__":
    main()
