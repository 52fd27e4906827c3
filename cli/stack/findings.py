"""What `tcp doctor` reports."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One check: `ok` None is a remark that is no failure."""

    name: str
    ok: bool | None
    message: str
