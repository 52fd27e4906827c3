"""`tcp sweep`."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli import markets
from cli.execution_options import names_file, read_path
from cli.research_options import Research, with_research_options
from core.errors import BadInput, TcpError

if TYPE_CHECKING:
    from pipelines.sweep.request import SweepRequest
    from pipelines.sweep.run import Outcome, Sweep

SHOWN = ("total_return", "sharpe", "sortino", "max_drawdown", "win_rate", "trades", "fees")


@with_research_options
def sweep(
    given: Research,
    strategy: str | None = typer.Option(
        None, help="Name of a strategy, or a parameter file; what is in the grid goes over the file's."
    ),
    grid: list[str] = typer.Option(
        [],
        help="NAME=start:stop:step (stop included) or NAME=a,b,c; a parameter, an exit such as stop_loss or "
        "an execution option such as offset; repeatable. Default: the ranges the strategy declares.",
    ),
    where: list[str] = typer.Option(
        [], help="Condition between parameters, e.g. 'fast_period * 2 < slow_period'; repeatable."
    ),
    search: str | None = typer.Option(None, help="grid (default): all; random or optuna: --trials of them."),
    trials: int | None = typer.Option(None, help="Combinations of a random or optuna search; default 100."),
    seed: int | None = typer.Option(None, help="Of a random or optuna search; default 0."),
    file: Path | None = typer.Option(None, help="A sweep file, as in config/sweeps/; options go over it."),
    sort: str | None = typer.Option(None, help="Metric to sort by and to search for; default sharpe."),
    scheduler: str | None = typer.Option(None, help="HOST:PORT of a Dask cluster's scheduler."),
    resume: str | None = typer.Option(
        None, help="Go on with a killed sweep: its --out file or its id. The same command does so by itself."
    ),
    unfinished: bool = typer.Option(False, help="List the sweeps that --resume can go on with, no more."),
    discard: str | None = typer.Option(
        None, help="Remove what a killed sweep has done, no more: its --out file, its id, or all ids."
    ),
    walk_forward: str | None = typer.Option(
        None,
        help="Train and test in turns: rolling:train=60d,test=14d[,purge=1d], anchored:… or "
        "purged:folds=6[,purge=1d,embargo=1d]. A row a window.",
    ),
    report: Path | None = typer.Option(None, help="Report of a walk-forward: FILE.html or FILE.json."),
    out: Path | None = typer.Option(None, help="Parquet file to write."),
    top: int | None = typer.Option(
        None, min=1, help="Best rows that the database keeps; default 100000. The file of --out has all."
    ),
) -> None:
    """A strategy over combinations of its parameters: a row each, its parameters and every metric.

    --symbol and --timeframe take several, with commas; --candles is then a path with {symbol} and {timeframe}
    in it.
    """
    if unfinished or discard is not None:
        _tidied(discard, given.as_json)
        return
    if walk_forward is not None or report is not None:
        from cli.walk_forward import checked

        walk = checked(walk_forward, report, resume, scheduler)
    if resume is not None:
        job = _resumed(resume, scheduler)
    else:
        own = {"strategy": strategy, "search": search, "trials": trials, "seed": seed, "sort": sort}
        job = _new(
            given, {name: value for name, value in own.items() if value is not None}, grid, where, file, out
        )
        job.scheduler = scheduler
    if top is not None:
        job.top = job.source["top"] = top
    if walk_forward is not None:
        from cli.walk_forward import run_walk_forward

        with _progress() as job.on_progress:
            print(run_walk_forward(job, walk, report, given.as_json))
        return
    _run(job, given.as_json)


def _new(
    given: Research,
    own: dict[str, Any],
    grid: list[str],
    where: list[str],
    file: Path | None,
    out: Path | None,
) -> "Sweep":
    """The sweep of a command line. What can be wrong is found before a file is read or a server started."""
    from pipelines.sweep.grid import parse_arguments
    from pipelines.sweep.request import SweepRequest
    from pipelines.sweep.run import Sweep, prepare_target
    from pipelines.sweep.space import Space
    from pipelines.sweep.sweepfile import read_sweep_file
    from strategies.registry import find

    values: dict[str, Any] = read_sweep_file(file) if file else {}
    market = {"symbol": given.symbol, "timeframe": given.timeframe}
    options = given.values()
    for block in ("risk", "execution"):
        if block in values and block in options:
            options[block] = values[block] | options[block]
    values |= own | options | {name: value for name, value in market.items() if value is not None}
    values["grid"] = {**values.get("grid", {}), **parse_arguments(grid)}
    values["parameters"] = {**values.get("parameters", {}), **given.parameters()}
    values["where"] = [*values.get("where", []), *where]
    if "strategy" not in values:
        raise BadInput("--strategy", "is needed, or --file with a sweep file")
    name, filed = markets.strategy_of(values["strategy"], {})
    values["strategy"] = find(name).name
    values["parameters"] = {k: v for k, v in filed.items() if k not in values["grid"]} | values["parameters"]
    values |= markets.market(
        values.get("symbol"), values.get("timeframe"), given.candles, given.start, given.end
    )
    if out is not None and out.suffix != ".parquet":
        raise BadInput("--out", f"{out} must end in .parquet")
    Space(SweepRequest.read(values | {"timeframe": values["timeframe"] or "1m"}))
    if out is not None:
        prepare_target(out)
    source = _source(given, out)
    frame = report = None
    if given.candles is not None and values["timeframe"] is None:
        frame, report = markets.read_file(given.candles, given.timestamps, values)
    job = _with_source(Sweep(SweepRequest.read(values), out=out, source=source), frame)
    if report is not None:
        job.data[job.request.named] = report
    return job


def _tidied(discard: str | None, as_json: bool) -> None:
    """Say which sweeps are unfinished, after removing one if that is asked."""
    from config.settings import settings
    from pipelines.sweep.state import discard as removed
    from pipelines.sweep.state import left_in

    state = settings().home / "sweeps"
    gone = [] if discard is None else removed(discard, state)
    left = left_in(state)
    if as_json:
        print(json.dumps({"discarded": gone, "unfinished": left}, default=str))
        return
    for name in gone:
        print(f"discarded {name}")
    for one in left:
        market = f"{one['strategy']} on {one['symbol']} {one['timeframe']}"
        size = f"{one['chunks']:,} chunks, {one['bytes'] / 1e6:,.1f} MB"
        print(f"{one['id']}  {one['touched']:%Y-%m-%d %H:%M}  {market}: {size}")
    if discard is None and not left:
        print("no sweep is unfinished")


def _resumed(named: str, scheduler: str | None) -> "Sweep":
    """The sweep that was going to write that file, or had that id, as it was when it began."""
    from config.settings import settings
    from pipelines.sweep.request import SweepRequest
    from pipelines.sweep.run import Sweep
    from pipelines.sweep.state import unfinished

    note = unfinished(named, settings().home / "sweeps")
    values = note["request"] | {"end": note["request"].get("end") or note["end"]}
    out = note["source"].get("out")
    job = Sweep(SweepRequest.read(values), out=Path(out) if out else None, source=note["source"])
    job.resume, job.scheduler, job.top = named, scheduler, note["source"].get("top", job.top)
    return _with_source(job, None)


def _source(given: Research, out: Path | None) -> dict[str, Any]:
    """What is kept so that `--resume` finds the same candles and the same target."""
    return {
        "candles": str(given.candles.absolute()) if given.candles else None,
        "timestamps": given.timestamps,
        "intrabar": str(Path(str(given.intrabar)).absolute()) if names_file(given.intrabar) else None,
        "out": str(out.absolute()) if out else None,
    }


def _with_source(job: "Sweep", frame: Any) -> "Sweep":
    """Say where the candles are: a frame, files, or the database, which is started if need be."""
    from config.settings import settings

    path, timestamps = job.source["candles"], job.source["timestamps"]
    inside = job.source.get("intrabar")
    if inside is not None:
        _one_each("--intrabar", inside, job)
        job.path = lambda market: read_path(_named(inside, market), timestamps)
    if path is None:
        job.database_url, job.state = markets.database_url(), settings().home / "sweeps"
        return job
    job.most = 10
    _one_each("--candles", path, job)

    def read(market: "SweepRequest") -> Any:
        chosen = {"timeframe": market.timeframe}
        candles, job.data[market.named] = markets.read_file(Path(_named(path, market)), timestamps, chosen)
        return candles

    job.candles = read if frame is None else frame
    return job


def _one_each(option: str, path: str, job: "Sweep") -> None:
    """BadInput for one file of several markets; the path inside candles may be that of all timeframes."""
    several = len(job.request.markets) > 1 if option == "--candles" else "," in job.request.symbol
    if several and not ("{symbol}" in path or (option == "--candles" and "{timeframe}" in path)):
        raise BadInput(option, "is one file for several markets: put {symbol} and {timeframe} into its path")


def _named(path: str, market: "SweepRequest") -> str:
    return path.replace("{symbol}", market.symbol).replace("{timeframe}", market.timeframe)


def _run(job: "Sweep", as_json: bool) -> None:
    from pipelines.sweep.run import run_sweep

    began = time.perf_counter()
    try:
        with _progress() as job.on_progress:
            outcome = run_sweep(job)
    except KeyboardInterrupt:
        if job.out is not None or job.state is not None:
            print("tcp: interrupted; the same command goes on where it stopped", file=sys.stderr)
        raise
    seconds = time.perf_counter() - began
    if as_json:
        print(json.dumps(_document(job, outcome, seconds), allow_nan=False, default=str))
    else:
        _show(job, outcome, seconds)
    if outcome.failed == outcome.rows:
        raise TcpError(
            f"every combination failed, the first with {outcome.errors[0]['error']}; "
            f"`tcp strategies check {job.request.strategy}` says where"
        )


def _document(job: "Sweep", outcome: "Outcome", seconds: float) -> dict[str, Any]:
    return {
        "id": outcome.id,
        "strategy": job.request.strategy,
        "combinations": outcome.rows,
        "dropped": outcome.dropped,
        "failed": outcome.failed,
        "errors": outcome.errors,
        "data": {market: report.to_document() for market, report in outcome.data.items()},
        "intrabar_candles": {market: covered for market, (covered, _) in outcome.inside.items()},
        "resumed_chunks": outcome.resumed,
        "seconds": seconds,
        "sort": job.request.sort,
        "luck": outcome.luck.document(),
        "best": outcome.best.to_dicts(),
    }


def _show(job: "Sweep", outcome: "Outcome", seconds: float) -> None:
    from pipelines.reports.wording import shown
    from pipelines.validation.caveats import inside_known

    market = ("symbol", "timeframe") if len(job.request.markets) > 1 else ()
    told = [*market, *outcome.names]
    rows = [[*told, *SHOWN]]
    rows += [
        [*("—" if row[name] is None else str(row[name]) for name in told), *(shown(n, row[n]) for n in SHOWN)]
        for row in outcome.best.iter_rows(named=True)
    ]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True)))
    counts = f"{outcome.rows:,} combinations in {seconds:.1f} s"
    counts += f", {outcome.dropped:,} dropped by constraints" if outcome.dropped else ""
    print(counts + (f", {outcome.failed:,} failed" if outcome.failed else ""))
    expected = outcome.luck.document()["expected_maximum"]
    if expected is not None:
        print(
            f"luck alone finds a sharpe of {expected:.2f} among so many: validate before you believe the best"
        )
    for named, report in outcome.data.items():
        mended = {name: count for name, count in report.to_document().items() if name != "rows" and count}
        if mended:
            said = ", ".join(f"{name} {count:,}" for name, count in mended.items())
            print(f"data of {named}: {said}")
    for named, inside in outcome.inside.items():
        known = inside_known(*inside)
        if known:
            print(f"{named}: {known}")
    for error in outcome.errors:
        named = ", ".join(f"{name} {error[name]}" for name in told)
        print(f"{named}: {error['error']}")
    if job.database_url is not None:
        print(f"sweep {outcome.id}")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and remaining time on stderr; nothing is drawn where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        """Combinations a second."""

        def render(self, task: progress.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s")

    columns = (
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        yield show
