"""Which tables are to grow while the daemon runs: Dagster warns when one of them does not."""

from config.settings import Settings

ALWAYS = frozenset({"market_data", "signals", "bot_performance"})


def kept_fresh(given: Settings) -> frozenset[str]:
    """Tables that grow every minute; raw_trades does where the trades of any symbol are kept."""
    return ALWAYS | {"raw_trades"} if set(given.symbol_list) - given.unkept_symbols else ALWAYS
