"""Signal and noise of a batch update: what counts alone say of it, and where they end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray
from dissensus.core.laws._inputs import (
    SignatureLike,
    as_positive,
    as_probability,
    broadcast,
    contrast_of,
    positive_negative_of,
)
from dissensus.core.laws.binomial import average_binomial
from dissensus.errors import InputError

__all__ = ["UpdateMoments", "even_noise", "signal_to_noise", "update_moments"]


class UpdateMoments(NamedTuple):
    """One group's update g = c·δ + noise, by solve rate.

    Attributes:
        contrast: (…) E[W]; the same as the signal for rules without push.
        signal: (…) E[c].
        square: (…) E[c²].
        noise: (…) squared length of the noise over V, E[mean A²]/G.
    """

    contrast: FloatArray
    signal: FloatArray
    square: FloatArray
    noise: FloatArray


def update_moments(signature: SignatureLike, p: ArrayLike) -> UpdateMoments:
    """Moments of one group's update in groups of the signature's G.

        s_i = (r_i − p)·δ + noise of squared length V,     E[s_i] = 0
        c = m(1−p)A₊ − (1−m)pA₋      W for rules without push,     E[c] = p(1−p)F′(p)
        ‖noise of g‖² = V·E[mean A²]/G                             GRPO: V·P(split)/G

    0 on a silent group. A group that is pushed as a whole has noise also where it is unanimous.

    Args:
        signature: A rule's advantages for every k (`advantages.signature`).
        p: Solve rate, any shape.

    Raises:
        InputError: p outside [0, 1], or a signature with missing or non-finite entries.

    Example:
        >>> from dissensus import advantages
        >>> found = update_moments(advantages.signature(advantages.get("grpo"), 2), 0.5)
        >>> [round(float(each), 6) for each in found]      # σ = ½ in every second group
        [0.25, 0.25, 0.125, 0.25]

    Source: docs/theory.md, the noise of a batch.
    """
    rate = as_probability(p)
    positive, negative = positive_negative_of(signature)
    size = len(positive) - 1
    m = np.arange(size + 1) / size
    up, down = m * positive, (1.0 - m) * negative
    power = up * positive + down * negative
    columns = (contrast_of(signature), up, down, up**2, up * down, down**2, power / size)
    averages = average_binomial(np.stack(columns, axis=1), rate)
    contrast, a, b, aa, ab, bb, noise = np.moveaxis(averages, -1, 0)
    q = 1.0 - rate
    square = q**2 * aa - 2.0 * rate * q * ab + rate**2 * bb
    return UpdateMoments(np.asarray(contrast), q * a - rate * b, square, np.asarray(noise))


def signal_to_noise(
    signature: SignatureLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    score_noise: float | None = None,
    common: float = 1.0,
    rollouts: float = 1000.0,
) -> float:
    """Length of the expected batch update over the standard deviation of the batch update.

        SNR² = (R/G) · ρE[c]² / (E[c²] − ρE[c]² + νE[mean A²]/G),    ν = V/E‖δ_x‖²
        score noise dominates: SNR / sqrt(ρ/ν) → sqrt(R)·E[c]/sqrt(E[mean A²])
            GRPO sqrt(R)·E[σ]/sqrt(P(split))     Dr. GRPO sqrt(R)·sqrt(E[σ²])

    A batch is the mean over R/G independent groups. δ_x, the difference that correctness makes to
    the score of prompt x, has a part that is common to all prompts (a share ρ of its squared
    length) and a part of its own. Counts tell neither ν nor ρ; `core.anatomy.score_difference`
    measures signal and noise.

    Args:
        signature: A rule's advantages for every k.
        p: Solve rates, any shape.
        weights: Prompts at each, ≥ 0; None: equally many.
        score_noise: ν > 0; None: the limit in which score noise dominates, in units of sqrt(ρ/ν),
            which is the same for every group size and rule.
        common: ρ in (0, 1]; not used in the limit.
        rollouts: R, all that are generated.

    Returns:
        The ratio; NaN where no group has an update.

    Raises:
        InputError: As `update_moments`; weights, ν, ρ or R out of range.

    Example:
        >>> from dissensus import advantages
        >>> pairs, eights = (advantages.signature(advantages.get("dr_grpo"), G) for G in (2, 8))
        >>> round(signal_to_noise(eights, 0.5) / signal_to_noise(pairs, 0.5), 4)    # sqrt(7/4)
        1.3229
        >>> precise = [signal_to_noise(rule, 0.5, score_noise=0.01) for rule in (pairs, eights)]
        >>> precise[0] < precise[1], signal_to_noise(pairs, [0.0, 1.0])
        (True, nan)

    Source: docs/theory.md, the noise of a batch.
    """
    as_positive(rollouts, "rollouts")
    c, cc, noise = _averages(signature, p, weights)
    spread = noise
    if score_noise is not None:
        as_positive(score_noise, "score_noise")
        _check_common(common)
        spread = cc - common * c**2 + score_noise * noise
        c *= float(np.sqrt(common))
    if spread <= 0:
        return float("nan")
    return float(np.sqrt(rollouts / signature.group_size / spread) * c)


def even_noise(
    first: SignatureLike,
    second: SignatureLike,
    p: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    common: float = 1.0,
) -> float:
    """Score noise at which two group sizes give batches of R rollouts the same signal to noise.

        ν = (G₂Q₂/E₂² − G₁Q₁/E₁²) / (G₁N₁/E₁² − G₂N₂/E₂²),    Q = E[c²] − ρE[c]², N = E[mean A²]/G

    With noisier scores the second one is better, with less noisy ones the first.

    Args:
        first: The smaller group size, or whichever is better without score noise.
        second: The other.
        p: Solve rates, any shape.
        weights: Prompts at each, ≥ 0; None: equally many.
        common: ρ in (0, 1].

    Returns:
        ν ≥ 0; 0 where the second is never worse, inf where it is never better, NaN where a rule
        moves nothing.

    Raises:
        InputError: As `signal_to_noise`.

    Example:
        >>> from dissensus import advantages
        >>> pairs, eights = (advantages.signature(advantages.get("dr_grpo"), G) for G in (2, 8))
        >>> even = even_noise(pairs, eights, 0.5, common=0.2)       # c = W = σ² by hand
        >>> round(even, 3), even_noise(pairs, eights, 0.5)
        (0.9, 0.0)
    """
    _check_common(common)
    own, noise = [], []
    for signature in (first, second):
        c, cc, n = _averages(signature, p, weights)
        if c == 0:
            return float("nan")
        own.append(signature.group_size * (cc / c**2 - common))
        noise.append(signature.group_size * n / c**2)
    lost, won = own[1] - own[0], noise[0] - noise[1]
    if won <= 0:
        return float("inf") if lost >= 0 else float("nan")
    return max(0.0, lost / won)


def _averages(
    signature: SignatureLike, p: ArrayLike, weights: ArrayLike | None
) -> tuple[float, float, float]:
    """Means over the prompts of the three moments."""
    counts = np.asarray(1.0 if weights is None else weights, dtype=np.float64)
    if not (np.isfinite(counts) & (counts >= 0)).all() or not counts.any():
        raise InputError("The 'weights' parameter must be finite and ≥ 0, and not all 0")
    rate, counts = broadcast(p=as_probability(p), weights=counts)
    share = np.ravel(counts / counts.sum())
    _, signal, square, noise = (
        float(share @ np.ravel(each)) for each in update_moments(signature, rate)
    )
    return signal, square, noise


def _check_common(common: float) -> None:
    if not 0.0 < common <= 1.0:
        raise InputError("The 'common' parameter must lie in (0, 1]", got=common)
