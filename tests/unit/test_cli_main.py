"""The command line: every command exists, and a user's mistake is one line."""

import pytest
from pydantic import ValidationError

from cli.main import COMMANDS, main
from cli.problems import BAD_INPUT, FAILED, explained
from config.files import ConfigError
from config.settings import Settings
from core.errors import BadInput, Unavailable


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    """`tcp COMMAND --help` works for every command, so every target in the table exists."""
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert f"tcp {name}" in capsys.readouterr().out


def test_password_of_a_bad_url_is_not_shown():
    """The line about a bad setting leaves its value out."""
    with pytest.raises(ValidationError) as caught:
        Settings(database_url="postgres://user:hunter2@host/db")
    line, code = explained(caught.value)
    assert "hunter2" not in line
    assert code == BAD_INPUT


def test_exit_codes_tell_mistakes_from_failures():
    """Bad input and bad files are 2, an absent server and others' files are 1, a bug is nobody's line."""
    assert explained(BadInput("--speed", "too\nfast")) == ("--speed: too fast", BAD_INPUT)
    assert explained(ConfigError("x.json: bad")) == ("x.json: bad", BAD_INPUT)
    assert explained(Unavailable("gone")) == ("gone", FAILED)
    line, code = explained(PermissionError(13, "Permission denied", "/etc/tcp-dashboard/bots/mine.json.part"))
    assert line.startswith("/etc/tcp-dashboard/bots/mine.json.part: ") and code == FAILED
    assert explained(KeyError("bug")) is None
