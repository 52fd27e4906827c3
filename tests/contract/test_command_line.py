"""The command line as a process: light to start, and a user's mistake is one line."""

import subprocess
import sys

import pytest

from cli.main import COMMANDS
from config.settings import PROJECT_ROOT

HEAVY = ("polars", "sqlalchemy", "dash", "dagster", "numba", "ccxt", "redis", "alembic")


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=PROJECT_ROOT,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_every_command():
    """`tcp --help` lists every command of the table."""
    result = _run("--help")
    assert result.returncode == 0
    assert [name for name in COMMANDS if f"  {name} " not in result.stdout] == []


def test_help_imports_nothing_heavy():
    """`tcp --help` starts without data frames, databases or web frameworks."""
    code = (
        "import sys; from cli.main import build_app, main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60
    )
    assert result.stdout.splitlines()[-1] == "HEAVY []"


def test_unknown_command_exits_2_without_traceback():
    """A command that does not exist is wrong use."""
    result = _run("fly")
    assert result.returncode == 2
    assert "fly" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TCP_DASHBOARD_PORT", "99999"),
        ("TCP_DATABASE_URL", "mysql://somewhere/tcp"),
        ("TCP_REDIS_URL", "localhost"),
        ("TCP_EXCHANGE", "Kraken 2"),
        ("TCP_SYMBOLS", "bitcoin"),
        ("TCP_SYMBOLS", ","),
        ("TCP_TIMEFRAMES", "1m,soon"),
        ("TCP_OKX_WS_URL", "http://127.0.0.1:1"),
    ],
)
def test_bad_setting_is_named_by_its_variable(variable, value, tmp_path):
    """One line names the variable, exit code 2, nothing written."""
    result = _run("status", TCP_HOME=str(tmp_path / "home"), **{variable: value})
    assert result.returncode == 2
    assert result.stderr.startswith(f"tcp: {variable}: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "home").exists()
