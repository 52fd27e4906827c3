"""Times and days as typed on the command line."""

from datetime import UTC, date, datetime

from core.errors import BadInput
from core.timeframes import EARLIEST, LATEST


def parse_time(text: str, option: str) -> int:
    """ISO 8601 as ms since the epoch; a bare date is its midnight, no offset means UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(
            option, f"{text!r} is not an ISO 8601 time such as 2026-11-20 or 2026-11-20T09:00:00Z"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not EARLIEST <= moment <= LATEST:
        raise BadInput(
            option, f"{text!r} is too far away: use a time from {EARLIEST:%Y} to {LATEST:%Y-%m-%d}"
        )
    return round(moment.timestamp() * 1000)


def parse_day(text: str, option: str) -> date:
    """A day such as 2026-11-20."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadInput(option, f"{text!r} is not a day such as 2026-11-20") from None


def parse_offset(text: str, option: str) -> int:
    """An offset from UTC such as +08:00, in ms."""
    try:
        offset = datetime.strptime(text, "%z").utcoffset()
    except ValueError:
        offset = None
    if offset is None:
        raise BadInput(option, f"{text!r} is not an offset from UTC such as +08:00 or -05:30")
    return round(offset.total_seconds() * 1000)


def show_time(at_ms: int) -> str:
    """ISO 8601, UTC, with Z; milliseconds only where there are any."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    precision = "milliseconds" if at_ms % 1000 else "seconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")
