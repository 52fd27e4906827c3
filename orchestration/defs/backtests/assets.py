"""Backtests and sweeps launched from the UI; results go where those of `tcp backtest` go."""

import dagster as dg

from config.settings import settings
from orchestration.defs.backtests.config import BacktestConfig, SweepConfig
from orchestration.failures import mistakes_fail_at_once
from orchestration.resources import page_url, warehouse_url


@dg.asset(deps=[dg.AssetKey(["public", "market_data"])], group_name="backtests", kinds={"python", "postgres"})
def backtest(context: dg.AssetExecutionContext, config: BacktestConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One strategy over stored candles, with the fees and fills the config asks for."""
    from pipelines.backtest.request import BacktestRequest
    from pipelines.backtest.run import execute

    with mistakes_fail_at_once():
        request = BacktestRequest.read(config.document())
        document = execute(request, database_url=warehouse_url()).to_document()
    return dg.MaterializeResult(
        metadata={
            **{name: value for name, value in document["metrics"].items() if isinstance(value, int | float)},
            "run_id": document["id"],
            "candles": document["candles"],
            "page": dg.MetadataValue.url(page_url(settings(), f"/backtests?run={document['id']}")),
        }
    )


@dg.asset(deps=[dg.AssetKey(["public", "market_data"])], group_name="backtests", kinds={"python", "postgres"})
def sweeps(context: dg.AssetExecutionContext, config: SweepConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The sweeps of config/sweeps, or of the launchpad, over stored candles; every combination a row of
    sweep_results."""
    from orchestration.sweeps import sweep_requests
    from pipelines.sweep.run import Sweep, run_sweep

    rows: dict[str, int] = {}
    with mistakes_fail_at_once():
        for name, request in sweep_requests(settings().config_dir, config.file, config.document()).items():
            sweep = Sweep(request, warehouse_url(), state=settings().home / "sweeps")
            sweep.scheduler = config.scheduler or None
            done = run_sweep(sweep)
            rows[name] = done.rows
            counts = f"{done.rows} combinations, {done.dropped} dropped, {done.failed} failed"
            context.log.info(f"{name}: {counts}; sweep {done.id}")
    return dg.MaterializeResult(metadata={"dagster/row_count": sum(rows.values()), "combinations": rows})
