"""Forms, jobs, static files, documents and the chart's mathematics."""

import threading
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import dash_mantine_components as dmc
import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from core.errors import BadInput
from dashboards.api.documents import answer, cursor_of, exact, next_cursor, read_cursor, table, utc
from dashboards.api.gauges import _escaped
from dashboards.backtest_form import FIELDS, form, preset_of, read_form, read_parameters
from dashboards.backtests import Standing, progress
from dashboards.forms import hint, parameter_fields, words
from dashboards.jobs import KEPT, QUEUE, Job, Jobs, QueueFull, RunOver
from dashboards.navigation import parameters
from dashboards.theme import stylesheet
from pipelines.backtest.run import STEPS
from strategies import registry
from strategies.parameters import Parameters, parameter
from tests.dashboard_server import until

NAMES = [{"type": "parameter", "name": "fast_period"}, {"type": "parameter", "name": "slow_period"}]
VALUES = ["ema_crossover", "BTC-USDT", "1m", ["2026-11-01", "2026-11-03"], 0.1, 0, 10_000]


@pytest.mark.parametrize("name", registry.names())
def test_every_strategy_gets_a_form(name):
    """Each parameter of each strategy has a field with its bounds in words."""
    model = registry.find(name).model
    fields = parameter_fields(model, "parameter")
    assert {field.id["name"] for field in fields} == set(model.model_fields) - {"risk_percentage"}
    for field in fields:
        assert field.description
        assert isinstance(field, dmc.Select) or "from" in field.description or "above" in field.description


def test_hints_say_bounds():
    """The description carries meaning and bounds; nullable schemas are looked into."""
    assert hint({"description": "Length", "minimum": 2, "maximum": 5000}) == "Length · from 2 to 5,000"
    assert hint({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]}) == "above 0"
    assert hint({"description": "Fee", "minimum": 0, "exclusiveMaximum": 0.1, "percent": True}) == (
        "Fee · from 0\u2009% below 10\u2009%"
    )
    assert words("fast_period") == "Fast period"


@pytest.mark.parametrize("position", [4, 5])
def test_a_percentage_is_judged_in_percent(position):
    """The bound of a fee or of slippage is told as the field has it, not as the fraction behind it."""
    values = [*VALUES]
    values[position] = 50
    with pytest.raises(BadInput, match="must be less than 10\u2009%"):
        read_form(values, NAMES, [5, 20])


def test_the_form_reads_as_a_request():
    """Days are whole UTC days, both included; percents become fractions."""
    request = read_form(VALUES, NAMES, [5, 20])
    assert request.start == datetime(2026, 11, 1, tzinfo=UTC)
    assert request.end == datetime(2026, 11, 4, tzinfo=UTC)
    assert request.fee == 0.001
    assert request.parameters == {"fast_period": 5, "slow_period": 20}


@pytest.mark.parametrize(
    ("position", "value", "given", "field"),
    [
        (3, None, [5, 20], "period"),
        (3, ["2026-11-01", None], [5, 20], "period"),
        (4, "", [5, 20], "fee"),
        (6, -1, [5, 20], "cash"),
        (0, "ema_crossover", [30, 20], "fast_period"),
        (0, "ema_crossover", ["", 20], "fast_period"),
    ],
)
def test_a_mistake_in_the_form_names_its_field(position, value, given, field):
    """The error carries the field, so that it can be shown beside it."""
    values = [*VALUES]
    values[position] = value
    with pytest.raises(BadInput) as caught:
        read_form(values, NAMES, given)
    assert caught.value.field == field


def test_jobs_run_one_at_a_time_and_the_queue_is_bounded():
    """A second run waits for the first, and beyond the queue people are told to come back. The oldest of many
    is forgotten."""
    jobs, gate = Jobs(), threading.Event()
    try:
        first = jobs.submit(gate.wait)
        until(lambda: first.state == "running", 5, "the start")
        waiting = [jobs.submit(lambda: 7) for _ in range(QUEUE)]
        with pytest.raises(QueueFull):
            jobs.submit(lambda: 7)
        assert waiting[0].state == "waiting"
        gate.set()
        until(lambda: waiting[-1].state == "done", 5, "the last run")
        assert waiting[-1].result == 7
        assert jobs.get(first.id) is first
        for _ in range(KEPT):
            newest = jobs.submit(lambda: 7)
            until(lambda job=newest: job.state == "done", 5, "the run")
        assert jobs.get(first.id) is None and jobs.get(newest.id) is newest
    finally:
        gate.set()
        jobs.close()


class OwnParameters(Parameters):
    """Of a strategy that somebody wrote."""

    stop: float | None = parameter(None, "None: no stop", low=0)
    is_long: bool = parameter(True, "Whether it buys")
    length: int = parameter(3, "Candles")


def test_a_parameter_may_be_left_empty_where_its_strategy_allows_that():
    """It is null then, and a choice of yes or no is one; any other empty field is named."""
    names = [{"type": "parameter", "name": name} for name in ("stop", "is_long", "length")]
    read = read_parameters(OwnParameters, names, ["", "false", 5])
    assert read == {"stop": None, "is_long": False, "length": 5}
    with pytest.raises(BadInput, match="length: must be given"):
        read_parameters(OwnParameters, names, ["", "false", ""])


def test_a_run_is_repeated_from_the_form():
    """Its settings come back as they were, days and blocks too; later days can be chosen."""
    request = read_form(VALUES, NAMES, [5, 20], {"risk": {"stop_loss": 0.02}})
    run = {
        **{"strategy_name": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m"},
        **{"fee": 0.001, "slippage": 0.0, "initial_cash": Decimal(10_000)},
        "start_time": request.start,
        "end_time": request.end,
        "parameters": {**request.parameters, "risk": {"stop_loss": 0.02}},
    }
    shown = {}
    for part in form(["BTC-USDT"], date(2026, 11, 20), preset_of(run))[1]._traverse():
        name = getattr(part, "id", None)
        shown[name["name"] if isinstance(name, dict) else name] = part
    values = [shown[f"form-{name}"].value for name in FIELDS]
    given = [shown[name["name"]].value for name in NAMES]
    assert read_form(values, NAMES, given, shown["form-blocks"].data) == request
    assert shown["form-period"].maxDate == "2026-11-20"


def test_a_run_says_how_far_it_is():
    """What waits says so, steps are counted; of Dagster's there are none."""
    assert progress(Standing("a", "waiting")) == ("waiting for the runs before it", 0.0)
    assert progress(Standing("a", "running")) == ("", 0.0)
    assert progress(Standing("a", "running", STEPS[2])) == (f"{STEPS[2]}, step 3 of 4", 0.5)
    assert progress(Standing("a", "cancelling", STEPS[2])) == ("cancelling", 0.0)
    assert progress(Standing("a", "waiting", address="http://dagster")) == ("waiting in Dagster", 0.0)


WHO = "the run was cancelled over the API"


def test_a_job_is_cancelled_while_it_waits_and_at_its_next_step():
    """It ends with the line of who did it, and is not begun or not gone on with; the same again changes
    nothing."""
    jobs, gate, reached, job = Jobs(), threading.Event(), [], Job()

    def work():
        gate.wait()
        job.reach("trading")
        reached.append("trading")

    try:
        jobs.submit(work, job)
        waiting = jobs.submit(lambda: reached.append("waiting"))
        until(lambda: job.state == "running", 5, "the start")
        assert waiting.cancel(WHO)
        assert (waiting.state, waiting.error, waiting.cancel("another")) == ("cancelled", WHO, False)
        assert job.cancel(WHO)
        assert (job.state, job.cancel("another")) == ("cancelling", False)
        gate.set()
        until(lambda: job.ended, 5, "the end")
        assert (job.state, job.error, job.cancel("another")) == ("cancelled", WHO, False)
        after = jobs.submit(lambda: 7)
        until(lambda: after.ended, 5, "a run after it")
        assert (after.result, reached) == (7, [])
    finally:
        gate.set()
        jobs.close()


def test_a_job_that_is_over_or_at_its_last_step_is_not_cancelled():
    """One that is storing its result is done all the same; each refusal says why."""
    jobs, gate, job = Jobs(), threading.Event(), Job()

    def work():
        job.reach("storing the result", is_last=True)
        gate.wait()
        return 7

    try:
        jobs.submit(work, job)
        until(lambda: job.step, 5, "the last step")
        with pytest.raises(RunOver, match="is storing the result: it is too late"):
            job.cancel(WHO)
        gate.set()
        until(lambda: job.ended, 5, "the end")
        with pytest.raises(RunOver, match="is done: there is nothing to cancel"):
            job.cancel(WHO)
        assert (job.state, job.result, job.error) == ("done", 7, None)
    finally:
        gate.set()
        jobs.close()


AWAY = OperationalError("SELECT 1", {}, psycopg.OperationalError("connection refused\nIs it running?"))


@pytest.mark.parametrize(
    ("raised", "said", "logged"),
    [
        (BadInput("candles", "none"), "candles: none", 0),
        (AWAY, "the database does not answer: connection refused", 1),
        (KeyError("close"), "KeyError: 'close'; the dashboard's log has more", 1),
    ],
)
def test_a_failed_job_keeps_what_was_raised_and_says_it_in_one_line(raised, said, logged):
    """Without the frames, which hold candles; what nobody expected is logged with its stack."""
    jobs = Jobs()

    def work():
        candles = [0] * 1000
        raise raised from ValueError(candles[0])

    try:
        with capture_logs() as lines:
            job = jobs.submit(work)
            until(lambda: job.state == "failed", 5, "the failure")
        assert (job.failure, job.error) == (raised, said)
        assert raised.__traceback__ is raised.__cause__ is raised.__context__ is None
        assert [line["exc_info"] for line in lines] == [raised] * logged
    finally:
        jobs.close()


def test_numbers_in_answers_are_exact():
    """Decimals are JSON numbers with all digits and without trailing zeros or exponents; times end in Z."""
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    document = {"a": Decimal("61828.020000000000000000"), "b": [Decimal("6E+4")], "t": moment, "n": None}
    assert answer(document).body == b'{"a":61828.02,"b":[60000],"t":"2026-11-20T00:00:00Z","n":null}'
    assert exact(float("nan")) != exact(float("nan"))
    assert answer({"x": float("nan")}).body == b'{"x":null}'
    assert table([], "csv", "a\x18b/ê").headers["content-disposition"] == 'attachment; filename="a_b__.csv"'


def test_cursors_come_back_as_they_were():
    """A cursor holds the last row's key; one that is not ours is refused."""
    row = {"timestamp": datetime(2026, 11, 20, 1, 2, 3, 456_000, tzinfo=UTC), "id": "bot:1"}
    assert read_cursor(cursor_of(row, "timestamp", "id"), datetime, str) == (row["timestamp"], "bot:1")
    assert next_cursor([row], 2, "id") is None
    no_zone = "WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwiVVNEVCJd"  # ["2026-01-01T00:00:00","USDT"]
    for broken in ("zz", "x", "WzFd", "ÿ", no_zone):
        with pytest.raises(BadInput):
            read_cursor(broken, datetime, str)


@pytest.mark.parametrize(("year", "east"), [(1, 14), (9999, -5)])
def test_a_time_that_utc_does_not_have_is_bad_input(year, east):
    """It is told with its parameter's name; the same day elsewhere in time is moved to UTC."""
    zone, day = timezone(timedelta(hours=east)), (1, 1) if year == 1 else (12, 31)
    with pytest.raises(BadInput) as told:
        utc(datetime(year, *day, 0 if year == 1 else 23, tzinfo=zone), "from")
    assert told.value.field == "from"
    assert utc(datetime(2026, 3, 1, tzinfo=zone), "from") == datetime(2026, 3, 1, tzinfo=zone)
    assert utc(datetime(2026, 3, 1), "to") == datetime(2026, 3, 1, tzinfo=UTC)  # noqa: DTZ001


def test_small_things():
    """Query strings, labels of metrics and the stylesheet."""
    assert parameters("?bot=bot_001&timeframe=5m") == {"bot": "bot_001", "timeframe": "5m"}
    assert parameters(None) == {}
    assert _escaped('a"b\\c\nd') == 'a\\"b\\\\c\\nd'
    sheet = stylesheet()
    assert "--surface:#161b22" in sheet
    assert "--surface:#ffffff" in sheet
