"""Whether a Redis server answers."""

import redis

from core.errors import BadInput, Unavailable


def check_url(variable: str, url: str) -> None:
    """BadInput, naming the variable, for what is no address of a Redis at all."""
    try:
        redis.ConnectionPool.from_url(url)
    except ValueError as error:
        raise BadInput(variable, str(error)) from None


def check_answers(url: str, timeout_s: float = 5) -> None:
    """PING it; Unavailable, with the reason and no password, when that fails."""
    options = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    try:
        with redis.Redis.from_url(url, retry=None, **options) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError) as error:
        shown = url.rpartition("@")[2].removeprefix("redis://")
        raise Unavailable(f"Redis at {shown} does not answer: {error}") from None


def answers(url: str, timeout_s: float = 1) -> bool:
    """Whether it answers now."""
    try:
        check_answers(url, timeout_s)
    except Unavailable:
        return False
    return True
