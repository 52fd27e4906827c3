"""Backtests and sweeps launched from the UI; results go where those of `tcp backtest` go."""

import dagster as dg

from config.settings import settings
from core.errors import BadInput, Cancelled
from orchestration.automation import FRESH_EVERY_NIGHT, FRESH_EVERY_WEEK
from orchestration.defs.backtests.config import BacktestConfig, SweepConfig, WalkForwardConfig
from orchestration.defs.backtests.metadata import best_table, logged, walk_metadata
from orchestration.failures import mistakes_fail_at_once
from orchestration.pictures import curve
from orchestration.resources import page_url, warehouse_url


@dg.asset(deps=[dg.AssetKey(["public", "market_data"])], group_name="backtests", kinds={"python", "postgres"})
def backtest(context: dg.AssetExecutionContext, config: BacktestConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One strategy over stored candles, with the fees and fills the config asks for."""
    from pipelines.backtest.request import BacktestRequest
    from pipelines.backtest.run import execute

    with mistakes_fail_at_once():
        request = BacktestRequest.read(config.document())
        result = execute(request, database_url=warehouse_url())
    document = result.to_document()
    return dg.MaterializeResult(
        metadata={
            **{name: value for name, value in document["metrics"].items() if isinstance(value, int | float)},
            "run_id": document["id"],
            "candles": document["candles"],
            "equity": curve(result.equity["equity"].to_list()),
            "page": dg.MetadataValue.url(page_url(settings(), f"/backtests?run={document['id']}")),
        }
    )


@dg.asset(
    deps=[dg.AssetKey(["public", "market_data"])],
    group_name="backtests",
    kinds={"python", "postgres"},
    freshness_policy=FRESH_EVERY_NIGHT,
)
def sweeps(context: dg.AssetExecutionContext, config: SweepConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The sweeps of config/sweeps, or of the launchpad, over stored candles; every combination a row of
    sweep_results. With a scheduler the workers of a Dask cluster walk them. One that a person cancels is left
    out, the others go on."""
    from orchestration.sweeps import sweep_requests
    from pipelines.sweep.run import Sweep, run_sweep

    done = {}
    with mistakes_fail_at_once():
        for name, request in sweep_requests(settings().config_dir, config.file, config.document()).items():
            sweep = Sweep(request, warehouse_url(), state=settings().home / "sweeps")
            sweep.scheduler = config.scheduler or None
            sweep.on_progress = logged(context, name)
            try:
                done[name] = run_sweep(sweep)
            except Cancelled as error:
                context.log.warning(f"{name}: {error}")
                continue
            counts = (
                f"{done[name].rows} combinations, {done[name].dropped} dropped, {done[name].failed} failed"
            )
            context.log.info(f"{name}: {counts}; sweep {done[name].id}")
    pages = {name: page_url(settings(), f"/sweeps?sweep={outcome.id}") for name, outcome in done.items()}
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(outcome.rows for outcome in done.values()),
            "failed": sum(outcome.failed for outcome in done.values()),
            "combinations": {name: outcome.rows for name, outcome in done.items()},
            "best": best_table({name: outcome.best for name, outcome in done.items()}),
            "pages": dg.MetadataValue.md("\n".join(f"- [{name}]({url})" for name, url in pages.items())),
        }
    )


@dg.asset(
    deps=[dg.AssetKey(["public", "market_data"])],
    group_name="backtests",
    kinds={"python", "postgres"},
    freshness_policy=FRESH_EVERY_WEEK,
)
def walk_forward(context: dg.AssetExecutionContext, config: WalkForwardConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The sweeps of config/sweeps, or of the launchpad, trained on one stretch of the stored candles and
    tested on the next, over and over. A market with too few candles for that is told, and left out."""
    from orchestration.sweeps import sweep_requests, walk_all

    with mistakes_fail_at_once():
        requests = sweep_requests(settings().config_dir, config.file, config.document())
        results, left_out = walk_all(requests, config.windows, warehouse_url())
        if not results and (config.file or config.strategy):
            raise BadInput("windows", "; ".join(left_out.values()))
    for market, reason in left_out.items():
        context.log.warning(f"{market}: {reason}")
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(len(result.windows) for result in results.values()),
            "left_out": left_out,
            **walk_metadata(results),
        }
    )
