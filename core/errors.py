"""The exception tree. A traceback never reaches a user for their own mistake.

TcpError
├── BadInput          the user's mistake: one line naming the field or file and the remedy, exit code 2
└── Unavailable       a server or the exchange does not answer: one line, exit code 1
"""


class TcpError(Exception):
    """Base of every expected failure of this project."""


class BadInput(TcpError):
    """Wrong use or bad input. `field` names what is wrong, `message` what was expected."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class Unavailable(TcpError):
    """Something outside this process did not answer."""
