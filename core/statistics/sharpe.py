"""How much a Sharpe ratio is worth: its error, the track record it needs, the luck of many trials.

Ratios here are per observation, not annualised: a daily series' ratio is its annual one / √365. Skewness γ3
and kurtosis γ4 are those of the returns, γ4 the plain fourth moment (3 for a normal distribution).

Sources: Bailey and López de Prado, "The Sharpe Ratio Efficient Frontier" (2012), for the probabilistic ratio
and the track record; the same, "The Deflated Sharpe Ratio" (2014), for trials; Lo, "The Statistics of Sharpe
Ratios" (2002), and Mertens (2002) for the error.
"""

from dataclasses import dataclass
from math import e, exp, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EULER_GAMMA = 0.5772156649015329
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Moments:
    """What the formulas need of a series of returns: its Sharpe ratio, skewness, kurtosis and length."""

    sharpe: float
    skewness: float
    kurtosis: float
    observations: int


def moments(returns: Floats) -> Moments | None:
    """The moments of a series; None for fewer than 3 returns or when they do not vary.

    sharpe = mean / sample deviation · skewness = m3 / m2^1.5 · kurtosis = m4 / m2², m_k the central moments
    """
    if returns.size < 3:
        return None
    mean = float(returns.mean())
    off = returns - mean
    second = float(np.mean(off**2))
    deviation = sqrt(second * returns.size / (returns.size - 1))
    if deviation <= 1e-12 * abs(mean) or second == 0:
        return None
    return Moments(
        sharpe=mean / deviation,
        skewness=float(np.mean(off**3)) / second**1.5,
        kurtosis=float(np.mean(off**4)) / second**2,
        observations=int(returns.size),
    )


def standard_error(measured: Moments) -> float:
    """√[(1 − γ3·SR + (γ4 − 1)/4·SR²) / (n − 1)]: the error of an estimated ratio, returns not normal."""
    return sqrt(_spread(measured) / (measured.observations - 1))


def probabilistic_sharpe(measured: Moments, benchmark: float = 0.0) -> float:
    """Probability that the true ratio is above `benchmark`: Φ[(SR − SR*) / standard error]."""
    return _NORMAL.cdf((measured.sharpe - benchmark) / standard_error(measured))


def minimum_track_record(measured: Moments, benchmark: float = 0.0, confidence: float = 0.95) -> float | None:
    """Observations after which such a ratio is above `benchmark` with that confidence.

    1 + (1 − γ3·SR + (γ4 − 1)/4·SR²)·(Z_confidence / (SR − SR*))²; None when it is not above: no track record
    is long enough.
    """
    if measured.sharpe <= benchmark:
        return None
    needed = _NORMAL.inv_cdf(confidence) / (measured.sharpe - benchmark)
    return 1 + _spread(measured) * needed**2


def expected_maximum_sharpe(trials: int, deviation: float) -> float:
    """Best ratio that luck alone is expected to find in so many independent trials of no skill.

    σ·[(1 − γ)·Z(1 − 1/N) + γ·Z(1 − 1/(N·e))], σ the deviation of the ratios across trials, γ Euler's
    constant, Z the normal quantile; 0 for a single trial.
    """
    if trials < 2:
        return 0.0
    most = _NORMAL.inv_cdf(1 - 1 / trials)
    beyond = _NORMAL.inv_cdf(1 - 1 / (trials * e))
    return deviation * ((1 - EULER_GAMMA) * most + EULER_GAMMA * beyond)


def deflated_sharpe(measured: Moments, trials: int, deviation: float) -> float:
    """Probability that the true ratio is above zero after `trials` were made to find it: the probabilistic
    ratio against `expected_maximum_sharpe`."""
    return probabilistic_sharpe(measured, expected_maximum_sharpe(trials, deviation))


def _spread(measured: Moments) -> float:
    # Not below zero for the moments of any series; rounding of extreme ones is cut off.
    ratio = measured.sharpe
    return max(1 - measured.skewness * ratio + (measured.kurtosis - 1) / 4 * ratio**2, exp(-30))
