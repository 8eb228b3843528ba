"""Rules that frameworks ship: names for members of the family, and those that are outside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dissensus.audit.blackbox.batch import Batch
from dissensus.audit.blackbox.candidates import Candidate
from dissensus.audit.blackbox.fit import Fit
from dissensus.audit.blackbox.moments import Floats, Moments

__all__ = ["SPECIALS", "Special", "known_names", "limit_name", "own_name"]

_GROUP_1 = Candidate("mean", "group_std", 1)
_BATCH_1 = Candidate("mean", "batch_std", 1)
_CENTRED_1 = Candidate("mean", "batch_centred_std", 1)
_WHITE = Candidate("none", "batch_std", 1, shift=True)
_TOKENS = {"inside": True, "shift": True, "by": "token"}

_KNOWN: tuple[tuple[str, Candidate, float | None], ...] = (
    ("TRL GRPO (scale_rewards=group)", _GROUP_1, 1e-4),
    ("ms-swift grpo (scale_rewards=group)", _GROUP_1, 1e-4),
    ("verl grpo", _GROUP_1, 1e-6),
    ("SkyRL grpo", _GROUP_1, 1e-6),
    ("slime grpo", _GROUP_1, 1e-6),
    ("ROLL grpo", _GROUP_1, 1e-6),
    ("NeMo-RL grpo (use_leave_one_out_baseline=false)", _GROUP_1, 1e-6),
    ("AReaL reward_norm (group, group)", _GROUP_1, 1e-5),
    (
        "AReaL reward_norm (group, group, leave one out)",
        Candidate("leave_one_out", "own_std", 1),
        1e-5,
    ),
    ("OpenRLHF group_norm", _GROUP_1, 1e-9),
    ("TRL AsyncGRPO", Candidate("mean", "group_std", 0), 1e-8),
    ("open-instruct (standard)", Candidate("mean", "group_std", 0), 1e-8),
    ("TRL GRPO (scale_rewards=batch)", _BATCH_1, 1e-4),
    ("ms-swift grpo (scale_rewards=batch)", _BATCH_1, 1e-4),
    ("ROLL (group mean, batch std)", _BATCH_1, 1e-6),
    ("ms-swift reinforce_plus_plus (scale_rewards=batch)", _CENTRED_1, 1e-4),
    ("AReaL reward_norm (group mean, batch std)", _CENTRED_1, 1e-5),
    ("NeMo-RL grpo", Candidate("leave_one_out", "leave_one_out_std", 1), 1e-6),
    ("TRL GRPO (scale_rewards=none)", Candidate("mean", "none"), None),
    ("verl grpo (norm_adv_by_std_in_grpo=False)", Candidate("mean", "none"), None),
    ("OpenRLHF dr_grpo", Candidate("mean", "none"), None),
    ("open-instruct (centered)", Candidate("mean", "none"), None),
    ("prime-rl grpo", Candidate("mean", "none"), None),
    ("tinker-cookbook", Candidate("mean", "none"), None),
    ("TRL RLOO", Candidate("leave_one_out", "none"), None),
    ("verl rloo", Candidate("leave_one_out", "none"), None),
    ("SkyRL rloo", Candidate("leave_one_out", "none"), None),
    ("OpenRLHF rloo", Candidate("leave_one_out", "none"), None),
    ("ms-swift rloo", Candidate("leave_one_out", "none"), None),
    ("SkyRL maxrl", Candidate("mean", "group_mean"), 1e-6),
    ("verl opo", Candidate("length_mean", "none"), None),
    (
        "verl reinforce_plus_plus_baseline",
        Candidate("mean", "batch_centred_std", 1, **_TOKENS),  # type: ignore[arg-type]
        1e-8,
    ),
    (
        "verl reinforce_plus_plus",
        Candidate("none", "batch_std", 1, **_TOKENS),  # type: ignore[arg-type]
        1e-8,
    ),
    ("ROLL (batch mean, batch std)", _WHITE, 1e-6),
    ("AReaL reward_norm (batch, batch)", _WHITE, 1e-5),
)


def known_names(fit: Fit) -> tuple[str, ...]:
    """Framework rules that a fit agrees with: same rule, and an eps that the data allow."""
    names = []
    for name, candidate, eps in _KNOWN:
        if candidate != fit.candidate:
            continue
        if eps is None or fit.eps is None or fit.eps[0] <= eps <= fit.eps[1]:
            names.append(name)
    return tuple(names)


def limit_name(fit: Fit) -> str | None:
    """What a limited rule does with its spread, with the bounds of the limit; None for others."""
    if fit.candidate.limit is None or fit.eps is None:
        return None
    low, high = (f"{bound:.3g}" for bound in fit.eps)
    at = low if low == high else f"between {low} and {high}"
    text = {
        "floor": "spread never below {}, instead of + eps",
        "cap": "spread never above {}",
        "undivided": "no division where the spread is below a bound that is {}",
    }
    return text[fit.candidate.limit].format(at)


_OWN = {
    ("mean", "none", False): "dr_grpo()",
    ("leave_one_out", "none", False): "rloo()",
    ("length_mean", "none", False): "opo()",
    ("mean", "group_mean", False): "maxrl()",
    ("mean", "group_std", False): "grpo(ddof={ddof}{eps})",
    ("mean", "batch_std", False): "lite_ppo(ddof={ddof}{eps})",
    ("leave_one_out", "leave_one_out_std", False): "nemo_rl_loo({eps})",
    ("none", "batch_std", True): "reinforce_pp()",
    ("mean", "batch_centred_std", True): "reinforce_pp_baseline()",
}
"""By numerator, denominator, and whether the mean of the batch is subtracted."""


def own_name(fit: Fit) -> str | None:
    """The rule of `dissensus.core.advantages` in its own notation; eps only where it is certain."""
    candidate = fit.candidate
    name = _OWN.get((candidate.numerator, candidate.denominator, candidate.shift))
    if name is None or candidate.limit is not None or not _is_as_published(fit):
        return None
    eps = ""
    if fit.eps is not None and fit.eps[1] - fit.eps[0] <= max(0.02 * fit.eps[1], 1e-12):
        eps = f", eps={fit.eps_value:.3g}"
    return name.format(ddof=candidate.ddof, eps=eps).replace("(, ", "(")


def _is_as_published(fit: Fit) -> bool:
    """Whether what the rule of this package leaves no choice of is as it is there."""
    candidate = fit.candidate
    if candidate.shift:  # whitened, as in published rules: by token and with one eps
        is_same = candidate.inside and candidate.by == "token" and candidate.ddof == 1
        return is_same and fit.eps is not None and fit.eps[0] <= 1e-8 <= fit.eps[1]
    if candidate.denominator == "group_mean":
        return fit.eps is None or fit.eps[0] <= 0
    return not candidate.inside and (candidate.denominator, candidate.ddof) != (
        "leave_one_out_std",
        0,
    )


@dataclass(frozen=True)
class Special:
    """A published or shipped rule outside the family.

    Attributes:
        name: What it is called, and by whom.
        formula: The rule in one line.
        numerator: In the words of the answer; None where none of them is right.
        denominator: The same.
        ddof: Of the denominator.
        has_eps: `predict` depends on eps, so that it can be bracketed.
        predict: `(batch, eps) → (N,)` or `(N, T)`.
    """

    name: str
    formula: str
    numerator: str | None
    denominator: str | None
    ddof: int | None
    has_eps: bool
    predict: Callable[[Batch, float], Floats]


def _moments(batch: Batch) -> Moments:
    return Moments(batch.rows(batch.rewards, batch=0, first_group=0))


def _pass_at_k(batch: Batch, eps: float, *, divide: bool) -> Floats:
    """Best minus second best reward, for the first best rollout of each group only."""
    m = _moments(batch)
    out: Floats = np.zeros(len(batch.rewards))
    order = np.lexsort((np.arange(len(out)), -batch.rewards, batch.group_ids))
    starts = np.flatnonzero(np.r_[True, np.diff(batch.group_ids[order]) > 0])
    first, second = order[starts], order[np.minimum(starts + 1, len(order) - 1)]
    out[first] = batch.rewards[first] - batch.rewards[second]
    if divide:
        out /= np.sqrt(m.squares / np.maximum(m.size - 1, 1)) + eps
    return out


def _value_function(batch: Batch, *, whiten: bool) -> Floats:
    """Generalised advantages at γ = λ = 1: reward minus value at every token."""
    table: Floats = (batch.rewards[:, None] - batch.values) * batch.mask
    if not whiten:
        return table
    inside = table[batch.mask]
    white: Floats = (table - inside.mean()) / np.sqrt(inside.var(ddof=1) + 1e-8) * batch.mask
    return white


def _greedy_baseline(batch: Batch, _eps: float) -> Floats:
    advantages: Floats = batch.rewards - batch.baselines
    return advantages


def _scaled_by_nonzero(batch: Batch, _eps: float) -> Floats:
    factor = len(batch.rewards) / max(int(np.count_nonzero(batch.rewards)), 1)
    return _moments(batch).centred * factor


def _optimal_token_baseline(batch: Batch, _eps: float) -> Floats:
    """Per token: reward minus the group's mean weighted by accumulated gradient energy."""
    mask = batch.mask.astype(np.float64)
    energy = np.cumsum((1 - 2 * np.exp(batch.log_probs) + batch.sum_pi_squared) * mask, axis=1)
    returns, out = batch.rewards[:, None] * mask, np.zeros(mask.shape)
    for group in range(batch.n_groups):
        at = np.flatnonzero(batch.group_ids == group)
        weight = energy[at] * mask[at]
        base = (returns[at] * weight).sum(axis=0) / (weight.sum(axis=0) + 1e-8)
        table = np.broadcast_to(base, (len(at), len(base))).copy()
        lengths = np.sort(batch.lengths[at])
        if len(at) == 1:
            table[:] = 0.0
        elif lengths[-1] > lengths[-2]:
            table[np.argmax(batch.lengths[at]), lengths[-2] :] = 0.0
        out[at] = (returns[at] - table) * mask[at]
    return out


def _normalise_then_whiten(
    batch: Batch, eps: float, *, ddof: int, by: str, outer: float, inside: bool
) -> Floats:
    m = _moments(batch)
    below = np.sqrt(m.squares / np.maximum(m.size - ddof, 1)) + eps
    scaled = np.where(m.reach > 0, m.centred / np.where(below > 0, below, 1.0), 0.0)
    mean, squares, total = m.batch_spread("scaled", scaled, by)
    variance = squares / (total - 1)
    return (scaled - mean) / (np.sqrt(variance + outer) if inside else np.sqrt(variance) + outer)


def _two_step(ddof: int, by: str, outer: float, *, inside: bool, users: str) -> Special:
    def predict(batch: Batch, eps: float) -> Floats:
        return _normalise_then_whiten(batch, eps, ddof=ddof, by=by, outer=outer, inside=inside)

    place = f"sqrt(var + {outer:g})" if inside else f"(std + {outer:g})"
    return Special(
        f"group normalisation, then whitening over {by}s{users}",
        f"a = (r − group mean) / (group std, ddof {ddof}, + eps); A = (a − batch mean) / {place}",
        "mean",
        "group_std",
        ddof,
        has_eps=True,
        predict=predict,
    )


SPECIALS: tuple[Special, ...] = (
    Special(
        "pass@k (verl grpo_passk)",
        "(best − second best) / (group std, ddof 1, + eps) for the best rollout, 0 for the others",
        None,
        "group_std",
        1,
        has_eps=True,
        predict=lambda batch, eps: _pass_at_k(batch, eps, divide=True),
    ),
    Special(
        "pass@k without division (verl grpo_passk, norm_adv_by_std_in_grpo=False)",
        "best − second best for the best rollout, 0 for the others",
        None,
        "none",
        None,
        has_eps=False,
        predict=lambda batch, eps: _pass_at_k(batch, eps, divide=False),
    ),
    Special(
        "generalised advantage estimation, whitened (verl gae, SkyRL gae)",
        "(reward to go − value), whitened over the tokens of the batch",
        "value_function",
        "batch_centred_std",
        1,
        has_eps=False,
        predict=lambda batch, _: _value_function(batch, whiten=True),
    ),
    Special(
        "generalised advantage estimation (ROLL gae)",
        "reward to go − value",
        "value_function",
        "none",
        None,
        has_eps=False,
        predict=lambda batch, _: _value_function(batch, whiten=False),
    ),
    Special(
        "ReMax (verl remax)",
        "r − reward of a greedy rollout of the prompt",
        None,
        "none",
        None,
        has_eps=False,
        predict=_greedy_baseline,
    ),
    Special(
        "GPG (verl gpg)",
        "(r − group mean) · rollouts of the batch / rollouts with non-zero reward",
        "mean",
        "none",
        None,
        has_eps=False,
        predict=_scaled_by_nonzero,
    ),
    Special(
        "optimal token baseline (verl optimal_token_baseline, tir_optimal_token_baseline)",
        "reward to go − group mean weighted by accumulated gradient energy, token by token",
        "mean",
        "none",
        None,
        has_eps=False,
        predict=_optimal_token_baseline,
    ),
    _two_step(1, "token", 1e-8, inside=True, users=" (verl gdpo)"),
    _two_step(1, "rollout", 1e-4, inside=False, users=" (TRL normalize_then_sum)"),
    _two_step(1, "rollout", 1e-8, inside=False, users=" (ms-swift gdpo)"),
    _two_step(1, "token", 1e-5, inside=False, users=" (AReaL reward_norm, then adv_norm)"),
    _two_step(0, "token", 1e-8, inside=True, users=""),
    _two_step(0, "rollout", 1e-8, inside=False, users=""),
)
"""Tried in order when no member of the family explains the replies."""
