"""One EMA crossover in backtesting.py: `python backtesting_run.py CANDLES.parquet REQUEST.json` prints JSON.

Runs in the peers' own environment; the request is that of vectorbt_sweep.py, of which each pair is run.
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd
from backtesting import Strategy
from backtesting.lib import FractionalBacktest


class Crossover(Strategy):
    """Buys with everything where the fast EMA crosses above the slow one, closes where it crosses below."""

    fast, slow = 12, 26

    def init(self) -> None:
        """backtesting.py: the indicators."""
        self.one, self.two = self._ema(self.fast), self._ema(self.slow)

    def _ema(self, span: int):
        close = pd.Series(self.data.Close)
        return self.I(lambda: close.ewm(span=span, adjust=False, min_periods=span).mean().to_numpy())

    def next(self) -> None:
        """backtesting.py: one candle."""
        fast, slow = self.one, self.two
        if fast[-1] > slow[-1] and fast[-2] <= slow[-2]:
            if not self.position:
                self.buy()
        elif fast[-1] < slow[-1] and fast[-2] >= slow[-2]:
            self.position.close()


def _trades(found: pd.DataFrame) -> dict[str, list]:
    """Of the closed trades, the oldest first: times in milliseconds, prices, coins, fees, profit."""
    found = found.sort_values("EntryTime")
    times = {
        name: found[name].map(lambda at: int(at.timestamp() * 1000)) for name in ("EntryTime", "ExitTime")
    }
    numbers = ("EntryPrice", "ExitPrice", "Size", "Commission", "PnL")
    return {name: list(times.get(name, found[name])) for name in (*times, *numbers)}


def main() -> None:
    """Read, run each pair, print."""
    request = json.loads(Path(sys.argv[2]).read_text())
    candles = pd.read_parquet(sys.argv[1])
    frame = candles.set_index("timestamp").rename(columns=str.title)
    test = FractionalBacktest(
        frame, Crossover, cash=request["cash"], commission=request["fee"], trade_on_close=True,
        fractional_unit=1e-12, finalize_trades=False,
    )  # fmt: skip
    rows, started = [], time.perf_counter()
    for fast, slow in request["pairs"]:
        stats = test.run(fast=fast, slow=slow)
        rows.append(
            {
                "total_return": stats["Return [%]"] / 100,
                "max_drawdown": stats["Max. Drawdown [%]"] / 100,
                "closed_trades": int(stats["# Trades"]),
                "final_value": float(stats["Equity Final [$]"]),
                "win_rate": stats["Win Rate [%]"] / 100,
                "trades": _trades(stats["_trades"]),
            }
        )
    json.dump({"took_s": (time.perf_counter() - started) / len(rows), "runs": rows}, sys.stdout)


if __name__ == "__main__":
    main()
