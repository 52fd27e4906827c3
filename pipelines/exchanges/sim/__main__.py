"""`python -m pipelines.exchanges.sim [--port N] …`: the simulated exchange alone."""

import argparse
import json
import sys
from pathlib import Path

from core.errors import BadInput
from pipelines.exchanges.sim.options import SimOptions, parse_speed
from pipelines.exchanges.sim.run import run_forever


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.exchanges.sim")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--source", nargs="+", default=["model"])
    parser.add_argument("--timestamps", choices=["close", "open"], default="close")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--activity", type=float, default=1.0)
    parser.add_argument("--speed", default="1")
    parser.add_argument("--start-ms", type=int)
    parser.add_argument("--state-file", type=Path)
    parser.add_argument("--accounts-file", type=Path)
    parser.add_argument("--rate-limit", type=float, default=1.0)
    parser.add_argument("--faults", default="{}")
    parser.add_argument("--balances", default='{"USDT": "100000"}', help="JSON: currency to amount")
    parser.add_argument("--bulk-layout", choices=["old", "current", "newest"], default="current")
    parser.add_argument("--bulk-unsorted", action="store_true")
    given = parser.parse_args()
    try:
        options = SimOptions(
            port=given.port,
            source="model" if given.source == ["model"] else tuple(given.source),
            timestamps=given.timestamps,
            seed=given.seed,
            activity=given.activity,
            speed=parse_speed(given.speed),
            start_ms=given.start_ms,
            state_file=given.state_file,
            accounts_file=given.accounts_file,
            rate_limit=given.rate_limit,
            faults=json.loads(given.faults),
            bulk_layout=given.bulk_layout,
            bulk_unsorted=given.bulk_unsorted,
            balances={name: str(amount) for name, amount in json.loads(given.balances).items()},
        )
        run_forever(options, _announce)
    except (BadInput, json.JSONDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


def _announce(urls: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(urls) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
