"""The exception tree. A traceback never reaches a user for their own mistake.

TcpError
├── BadInput          the user's mistake: one line naming the field or file and the remedy, exit code 2
├── Cancelled         somebody ended the work before it was done: who, in one line, exit code 1
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

    def __reduce__(self) -> tuple[type["BadInput"], tuple[str, str]]:
        """Both parts travel when it is pickled: it may come from a worker of a cluster."""
        return type(self), (self.field, self.message)


class Cancelled(TcpError):
    """A person asked for the end of the work; says who, and how it goes on if it can."""


class Unavailable(TcpError):
    """Something outside this process did not answer."""
