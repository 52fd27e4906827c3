"""Was it timing or the market? A permutation test of when a position was held.

The positions are moved against the market's returns by every possible number of candles, what leaves at the
end coming in at the beginning. That keeps how long positions lasted, how often they were taken and everything
about the market, and breaks only what joins the two. Without skill each rotation was as likely as the one
that happened (permutation tests: Pitman, 1937; of trading rules: Aronson, Evidence-Based Technical Analysis,
2006). All n rotations are counted, none is drawn: the p-value is exact and needs no seed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Timing:
    """captured: Σ position · log return of the market, as it was; expected: its mean over all rotations;
    p_value: share of rotations, the real one included, that captured as much or more."""

    captured: float
    expected: float
    p_value: float
    rotations: int


def timing_test(position: Floats, market: Floats) -> Timing | None:
    """Test positions (0 … 1, over each candle) against the market's simple returns over the same candles.

    None when nothing was ever held, or all the time: then there was no timing to test. Fees play no part:
    they are the same for every rotation.
    """
    n = position.size
    if n < 2 or position.size != market.size or np.all(position == position[0]):
        return None
    logs = np.log1p(market)
    # Σ_t position[t − s] · logs[t] for every s at once, as a circular correlation.
    spectrum = np.fft.rfft(logs) * np.conj(np.fft.rfft(position))
    captured = np.fft.irfft(spectrum, n)
    real = float(position @ logs)
    captured[0] = real
    rounding = 1e-9 * max(float(np.abs(logs).sum()), 1e-300)
    as_good = int(np.count_nonzero(captured >= real - rounding))
    expected = float(position.mean() * logs.sum())
    return Timing(captured=real, expected=expected, p_value=as_good / n, rotations=n)
