"""The command line: light to start, and a user's mistake is one line."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from cli.main import COMMANDS, main
from cli.problems import BAD_INPUT, FAILED, explained
from config.files import ConfigError
from config.settings import PROJECT_ROOT, Settings
from core.errors import BadInput, Unavailable

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


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    """`tcp COMMAND --help` works for every command, so every target in the table exists."""
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert f"tcp {name}" in capsys.readouterr().out


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
        ("TCP_EXCHANGE", "kraken"),
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


def test_password_of_a_bad_url_is_not_shown():
    """The line about a bad setting leaves its value out."""
    with pytest.raises(ValidationError) as caught:
        Settings(database_url="postgres://user:hunter2@host/db")
    line, code = explained(caught.value)
    assert "hunter2" not in line
    assert code == BAD_INPUT


def test_exit_codes_tell_mistakes_from_failures():
    """Bad input and bad files are 2, an absent server is 1, a bug is nobody's line."""
    assert explained(BadInput("--speed", "too\nfast")) == ("--speed: too fast", BAD_INPUT)
    assert explained(ConfigError("x.json: bad")) == ("x.json: bad", BAD_INPUT)
    assert explained(Unavailable("gone")) == ("gone", FAILED)
    assert explained(KeyError("bug")) is None
