"""What the processes log."""

import json

import pytest
import structlog

from pipelines.logs import configure_logs


@pytest.fixture(autouse=True)
def _left_as_it_was():
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_a_failure_is_logged_with_its_stack_and_no_values(capsys):
    """One line of JSON that names where it happened; what variables held, among it passwords, is not told."""
    configure_logs("INFO")
    try:
        _fails("".join(("hunt", "er", "2")))
    except LookupError as error:
        structlog.get_logger("dashboards").error("job_failed", exc_info=error)
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["event"], told["level"]) == ("job_failed", "error")
    assert "in _fails" in told["exception"] and "LookupError: no such thing" in told["exception"]
    assert "hunter2" not in line


def _fails(password: str) -> None:
    address = f"redis://:{password}@127.0.0.1"
    raise LookupError("no such thing" if address else "")
