"""The round trips of a backtest as a table: whole where they are few, in blocks where there are many."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine

from dashboards.grids import COLUMN, grid_options, trade_columns
from dashboards.queries import runs as queries
from dashboards.rows import epoch_ms

MOST_WHOLE = 1000
"""Round trips that are sent with the page; of more, the browser asks for those that it shows."""
BLOCK = 200
NOTHING = "The strategy gave no signal that could be traded in this stretch"

Trade = Mapping[str, Any]


def trades_table(trades: list[dict[str, Any]], decimals: int, places: int) -> Any:
    """Round trips in a table that sorts and scrolls; decimals of prices, places of amounts of money."""
    import dash_ag_grid as dag

    options = grid_options(NOTHING)
    if len(trades) > MOST_WHOLE:
        rows: dict[str, Any] = {"rowModelType": "infinite"}
        options |= {"cacheBlockSize": BLOCK, "maxBlocksInCache": 10, "infiniteInitialRowCount": len(trades)}
    else:
        rows = {"rowData": [_row(trade) for trade in trades]}
    return dag.AgGrid(
        id="run-trades",
        columnDefs=trade_columns(decimals, places),
        getRowId="params.data.id",
        defaultColDef=COLUMN,
        dashGridOptions=options,
        className="grid",
        style={"height": "300px"},
        **rows,
    )


def trades_between(engine: Engine, run_id: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """What the table asks for while somebody scrolls: {rowData, rowCount}, sorted as its heads say.

    request: AG Grid's {startRow, endRow, sortModel: [{colId, sort}]}; at most MOST_WHOLE rows at once.
    """
    first = max(0, int(request["startRow"]))
    most = max(0, min(int(request["endRow"]) - first, MOST_WHOLE))
    order = next(iter(request.get("sortModel") or []), {"colId": "n", "sort": "asc"})
    rows, count = queries.run_trades_between(
        engine, run_id, first, most, order["colId"].replace("_ms", "_time"), order["sort"] == "desc"
    )
    return {"rowData": [_row(row) for row in rows], "rowCount": count}


def returned(trade: Trade) -> float | None:
    """What a round trip made of what was paid for it, fees deducted; nothing while it is open."""
    paid = trade["entry_price"] * trade["quantity"]
    return trade["pnl"] / paid if trade["pnl"] is not None and paid else None


def _row(trade: Trade) -> dict[str, Any]:
    return {
        "id": str(trade["n"]),
        "n": trade["n"] + 1,
        "entry_ms": epoch_ms(trade["entry_time"]),
        "entry_price": trade["entry_price"],
        "exit_ms": epoch_ms(trade["exit_time"]),
        "exit_price": trade["exit_price"],
        "quantity": trade["quantity"],
        "fees": trade["fees"],
        "pnl": trade["pnl"],
        "return": returned(trade),
        "exit_reason": trade["exit_reason"],
    }
