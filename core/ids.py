"""Deterministic ids: what a bot does at one candle has one name, so a retry writes the same row."""


def decision_id(bot_name: str, candle_close_ms: int, n: int = 0) -> str:
    """Id of the n-th thing a bot did about the candle that closed at `candle_close_ms`.

    A signal, the order it led to and that order's trade carry the same id in their tables; n counts the
    orders of one candle (0: the strategy's, 1: a protective exit).
    """
    return f"{bot_name}-{candle_close_ms}-{n}"
