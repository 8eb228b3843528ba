"""Largest values of many linear functions of a distribution that must stay near what was counted.

For each row θ of a table, all at once:

    max θᵀw    over    w ≥ 0,  Σ w = 1,  ‖R w − b‖ ≤ 1

by a log-barrier and Newton steps (Boyd & Vandenberghe, *Convex Optimization*, chapter 11). The
Hessian is diagonal plus a matrix of the few rows of R, so a step costs about as much as evaluating
the problem, and hundreds of group sizes take one second together. What is returned is not the value
reached but a bound that its multipliers *prove*: for every y

    θᵀw ≤ max_j (θ − Rᵀy)_j + yᵀb + ‖y‖,

so a step too few makes an interval wider, never wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dissensus.core.groups import FloatArray

__all__ = ["largest_values"]

_FIRST, _FACTOR, _STEPS = 10.0, 4.0, 40
_BACK_OFF = 0.95
_ROWS = 256  # so that a block stays in the processor's cache


class _Ball(NamedTuple):
    """What stays within ‖Rw − b‖ ≤ 1, and the products of the rows of R."""

    R: FloatArray
    b: FloatArray
    squares: FloatArray


def largest_values(
    theta: FloatArray, R: FloatArray, b: FloatArray, start: FloatArray, *, tol: float = 2e-4
) -> FloatArray:
    """Upper bounds of θᵀw over all distributions near the counts.

    Args:
        theta: (F, m) one function per row.
        R: (d, m) maps a distribution to what was counted, in units of the radius.
        b: (d,) what was counted, in the same units.
        start: (m,) a distribution inside: all weights > 0, sum 1, ‖R w − b‖ < 1.
        tol: Slack of a bound that may remain, as a fraction of max θ − min θ.

    Returns:
        (F,) bounds, at most about `tol` above the maximum and never below it.

    Example:
        >>> theta = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> R, b = np.array([[0.0, 10.0]]), np.array([5.0])      # |w_1 − ½| ≤ 1/10
        >>> largest_values(theta, R, b, np.array([0.5, 0.5])).round(3).tolist()
        [0.6, 0.6]
    """
    blocks = range(0, len(theta), _ROWS)
    found = [_of_block(theta[i : i + _ROWS], R, b, start, tol) for i in blocks]
    return np.concatenate(found) if found else np.empty(0)


def _of_block(
    theta: FloatArray, R: FloatArray, b: FloatArray, start: FloatArray, tol: float
) -> FloatArray:
    m = theta.shape[1]
    low = theta.min(axis=1, keepdims=True)
    span = np.maximum(theta.max(axis=1, keepdims=True) - low, 1e-300)
    scaled = (theta - low) / span
    ball = _Ball(R, b, (R[:, None, :] * R[None, :, :]).reshape(len(R) ** 2, m).T.copy())
    w = np.repeat(start[None, :], len(theta), axis=0)
    best = np.ones(len(theta))
    tau = _FIRST
    while True:
        w = _centre(w, tau, scaled, ball)
        best = np.minimum(best, _proven(w, tau, scaled, ball))
        if (m + 2.0) / tau < tol:
            return np.asarray(low[:, 0] + span[:, 0] * best)
        tau *= _FACTOR


def _centre(w: FloatArray, tau: float, theta: FloatArray, ball: _Ball) -> FloatArray:
    """Newton steps towards the minimum of −τ θᵀw − Σ log w − log(1 − ‖Rw − b‖²)."""
    w = w.copy()
    todo = np.arange(len(w))
    for _ in range(_STEPS):
        now = w[todo]
        step, progress, error, slack = _newton(now, tau, theta[todo], ball)
        length = _longest(now, step, step @ ball.R.T, error, slack)
        moved = now + np.minimum(1.0, _BACK_OFF * length)[:, None] * step
        # Rounding alone can leave the set by now: such a row has arrived as far as it will.
        distance = np.square(moved @ ball.R.T - ball.b).sum(axis=1)
        good = np.isfinite(moved).all(axis=1) & (moved > 0).all(axis=1) & (distance < 1.0)
        w[todo[good]] = moved[good]
        todo = todo[good & (progress > 0.25)]
        if not len(todo):
            break
    return w


def _newton(
    w: FloatArray, tau: float, theta: FloatArray, ball: _Ball
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Newton step that keeps Σ w, twice the decrease it promises, Rw − b, and 1 − ‖Rw − b‖²."""
    R, d = ball.R, len(ball.R)
    error = w @ R.T - ball.b
    norm2 = np.square(error).sum(axis=1)
    slack = 1.0 - norm2
    gradient = -tau * theta - 1.0 / w + (2.0 / slack)[:, None] * (error @ R)
    # Hessian = diag(1/w²) + Rᵀ[(2/s) I + (4/s²) e eᵀ]R, inverted by Woodbury's identity.
    outer = error[:, :, None] * error[:, None, :]
    inner = np.eye(d) - outer * (2.0 / (slack + 2.0 * norm2))[:, None, None]
    w2 = w * w
    system = (slack / 2.0)[:, None, None] * inner + (w2 @ ball.squares).reshape(-1, d, d)
    sides = np.stack([(w2 * gradient) @ R.T, w2 @ R.T], axis=2)
    solved = np.linalg.solve(system, sides)
    down = w2 * (gradient - solved[:, :, 0] @ R)
    level = w2 * (1.0 - solved[:, :, 1] @ R)
    step = (down.sum(axis=1) / level.sum(axis=1))[:, None] * level - down
    return step, -(step * gradient).sum(axis=1), error, slack


def _longest(
    w: FloatArray, step: FloatArray, moved: FloatArray, error: FloatArray, slack: FloatArray
) -> FloatArray:
    """How far a step can go before a weight is 0 or the error 1."""
    falling = step < 0
    with np.errstate(divide="ignore", over="ignore"):
        to_zero = np.where(falling, -w / np.where(falling, step, -1.0), np.inf).min(axis=1)
    a = np.maximum(np.square(moved).sum(axis=1), 1e-300)
    half = (error * moved).sum(axis=1)
    to_edge = (np.sqrt(half * half + a * np.maximum(slack, 0.0)) - half) / a
    return np.asarray(np.minimum(to_zero, to_edge))


def _proven(w: FloatArray, tau: float, theta: FloatArray, ball: _Ball) -> FloatArray:
    """The bound that the multipliers after one more Newton step prove.

    Those of the point itself, 2(Rw − b)/(τ·slack), would do as well in exact arithmetic, but hang
    on the last digits of a slack of 1e-4 and less.
    """
    step, _, error, slack = _newton(w, tau, theta, ball)
    moved = step @ ball.R.T
    turn = (4.0 / slack**2 * (error * moved).sum(axis=1))[:, None] * error
    y = ((2.0 / slack)[:, None] * (error + moved) + turn) / tau
    bound = (theta - y @ ball.R).max(axis=1) + y @ ball.b + np.linalg.norm(y, axis=1)
    return np.asarray(np.where(np.isfinite(bound), bound, 1.0))
