"""Expected failures as one line for people: no traceback for a user's mistake."""

from pydantic import ValidationError

from config.files import ConfigError
from core.errors import BadInput, TcpError

FAILED, BAD_INPUT = 1, 2


def explained(error: BaseException) -> tuple[str, int] | None:
    """The line for stderr and the exit code of an expected failure; None for a bug, which keeps its
    traceback."""
    if isinstance(error, BadInput | ConfigError):
        return one_line(str(error)), BAD_INPUT
    if isinstance(error, ValidationError) and error.title == "Settings":
        return settings_problem(error), BAD_INPUT
    if isinstance(error, TcpError):
        return one_line(str(error)), FAILED
    if isinstance(error, PermissionError) and error.filename is not None:
        return one_line(f"{error.filename}: this account may not: see whose it is"), FAILED
    return None


def settings_problem(error: ValidationError) -> str:
    """Every bad setting by the name of its variable. Values are left out: they can hold passwords."""
    problems = []
    for item in error.errors(include_url=False, include_input=False):
        message = item["msg"].removeprefix("Value error, ")
        name = "_".join(str(part) for part in item["loc"]).upper()
        problems.append(f"TCP_{name}: {message}" if name else message)
    return "; ".join(problems)


def one_line(text: str) -> str:
    """The text on a single line."""
    return " ".join(text.split())
