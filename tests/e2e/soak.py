"""Long runs: `python -m tests.e2e.soak [--what week|chaos|memory|stack|bots|kills|backfill] [--minutes 30]`.

All of them by default. week: seven days of the market on two hosts, in which everything crashes; chaos: the
chaos test for longer; memory: the daemon's memory under a steady load; stack: everything with bots, for lag,
gaps, restarts and candles; bots: ten of them for three days of the market; kills: the kill test of bots for
longer; backfill: 24 months of minutes of three symbols, killed ten times.
Exit code 1 when anything is different, was lost or is beyond its target.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from pipelines.logs import configure_logs
from tests.soaks import backfill, bots, chaos, memory, stack, week
from tests.soaks.report import say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is wanted; 0 when all is well."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    names = ["week", "chaos", "memory", "stack", "bots", "kills", "backfill"]
    parser.add_argument("--what", choices=["all", *names], default="all")
    parser.add_argument("--minutes", type=float, default=30, help="of each")
    parser.add_argument("--rate", type=float, default=5_000, help="trades a second, of memory")
    parser.add_argument(
        "--speed", type=float, help="of the stack's exchange (60), of that of bots (as MINUTES say)"
    )
    parser.add_argument("--hours", type=float, default=72, help="of the market, of bots")
    parser.add_argument("--months", type=float, default=24, help="of the market, of backfill")
    options = parser.parse_args(arguments)
    configure_logs("WARNING")  # of the bots that repeat a run calmly, here
    runs: dict[str, Callable[[], list[str]]] = {
        "week": lambda: week.run(options.minutes),
        "chaos": lambda: chaos.run(options.minutes),
        "memory": lambda: memory.run(options.minutes, options.rate),
        "stack": lambda: stack.run(options.minutes, options.speed or 60),
        "bots": lambda: bots.run(options.minutes, options.hours, options.speed),
        "kills": lambda: bots.kills(options.minutes),
        "backfill": lambda: backfill.run(options.months),
    }
    wanted = list(runs) if options.what == "all" else [options.what]
    faults: list[str] = []
    for name in wanted:
        say(f"--- {name}")
        found = runs[name]()
        for fault in found:
            say(f"DIFFERENT: {fault}")
        faults += found
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
