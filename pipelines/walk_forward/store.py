"""Walk-forwards in Postgres: the record as a run, its windows beside it, one transaction."""

from pipelines.backtest.store import write_run
from pipelines.sweep.request import SweepRequest
from pipelines.walk_forward.result import WalkForwardResult
from pipelines.warehouse import tables
from pipelines.warehouse.database import engine


def save_walk_forward(database_url: str, request: SweepRequest, result: WalkForwardResult) -> None:
    """Keep all of it, or nothing."""
    document = result.to_document()["walk_forward"]
    parameters = {"grid": request.grid, "fixed": request.parameters, "combinations": result.combinations}
    with engine(database_url).begin() as connection:
        write_run(connection, result.record, "walk_forward", parameters | {"walk_forward": document})
        connection.execute(
            tables.walk_forward_windows.insert(),
            [
                {
                    "run_id": result.record.id,
                    "n": walked.window.n,
                    **walked.window.times,
                    "parameters": walked.parameters,
                    "train_metrics": walked.train,
                    "test_metrics": walked.test,
                    "test_rank": walked.test_rank,
                }
                for walked in result.windows
            ],
        )
