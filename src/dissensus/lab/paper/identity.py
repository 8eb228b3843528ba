"""g = σ·Δs, checked: on arbitrary score vectors in float64, and on the lab's language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dissensus._optional import require
from dissensus.core import advantages
from dissensus.core.groups import BoolArray, FloatArray, RewardGroups

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from dissensus.lab.tasks import Problem

__all__ = ["ModelIdentity", "check_model", "check_vectors"]

# Power of σ that each rule leaves in front of Δs.
_POWERS = {"grpo": 1, "dr_grpo": 2, "dapo": 1}
_SHIFT = 0.3
_MAX_SIZE, _MAX_DIMENSION = 20, 8


class ModelIdentity(NamedTuple):
    """The identity on a language model.

    Attributes:
        error: By rule, the largest ‖g − σ^n Δs‖ / ‖g‖ over the split groups.
        groups: Groups sampled.
        std: (S,) σ of the split groups.
        norm: (S,) length ‖g‖ of their GRPO updates.
        correlation: Of the two; NaN without spread.
    """

    error: dict[str, float]
    groups: int
    std: FloatArray
    norm: FloatArray
    correlation: float


def check_vectors(cases: int = 500, *, seed: int = 0) -> dict[str, float]:
    """Largest |g − σ^n Δs| over random groups of 2 to 19 with random score vectors.

    g is the mean of advantage times score, computed from the rewards and from the rewards plus a
    constant (the baseline); Δs and σ are computed from the scores and from k alone.

    Args:
        cases: Groups, every one split.
        seed: Of sizes, counts, dimensions and scores.

    Returns:
        By rule, in the units of the scores, which are standard normal.
    """
    rng = np.random.default_rng(seed)
    worst = dict.fromkeys(_POWERS, 0.0)
    estimators = {name: advantages.get(name) for name in _POWERS}
    for _ in range(cases):
        size = int(rng.integers(2, _MAX_SIZE))
        k = int(rng.integers(1, size))
        scores = rng.normal(size=(size, int(rng.integers(1, _MAX_DIMENSION))))
        rewards = np.arange(size) < k
        difference = scores[:k].mean(axis=0) - scores[k:].mean(axis=0)
        sigma = np.sqrt(k * (size - k)) / size
        for shift in (0.0, _SHIFT):
            groups = RewardGroups.from_dense(rewards[None, :] + shift, correct=rewards[None, :])
            for name, estimator in estimators.items():
                g = estimator(groups) @ scores / size
                error = float(np.abs(g - sigma ** _POWERS[name] * difference).max())
                worst[name] = max(worst[name], error)
    return worst


def check_model(
    model: LlamaForCausalLM, problems: Sequence[Problem], *, group_size: int = 8, seed: int = 0
) -> ModelIdentity:
    """Compare one backward pass of the loss with σ times the mean-score difference, group by group.

    Left, g: the gradient of (1/G) Σ A_i log πθ(y_i), one backward per group. Right: Δs from the
    scores of single rollouts, one backward each, and σ from the rewards alone.

    Args:
        model: The lab's model; left as it was.
        problems: One group is sampled for each.
        group_size: G.
        seed: Of the sampling.
    """
    from dissensus.integrations.autograd import policy_update, rollout_scores
    from dissensus.lab.evaluation import sample_completions
    from dissensus.lab.tokenizer import build_tokenizer

    tokenizer = build_tokenizer()
    drawn = sample_completions(model, tokenizer, problems, group_size, seed=seed)
    groups = RewardGroups.from_dense(drawn.correct.astype(np.float64), correct=drawn.correct)
    given = {n: advantages.get(n)(groups).reshape(drawn.correct.shape) for n in _POWERS}
    std = groups.std()
    split = np.flatnonzero(~groups.is_unanimous())
    was_training = model.training
    model.eval()
    worst, norms = dict.fromkeys(_POWERS, 0.0), []
    for x in split.tolist():
        tokens = _tokens(tokenizer, problems[x].prompt, drawn.texts[x], drawn.truncated[x])
        scores, right = rollout_scores(model, tokens).double().numpy(), drawn.correct[x]
        difference = scores[right].mean(axis=0) - scores[~right].mean(axis=0)
        for name, power in _POWERS.items():
            g = policy_update(model, tokens, given[name][x]).double().numpy()
            length = float(np.linalg.norm(g))
            error = float(np.linalg.norm(g - std[x] ** power * difference)) / length
            worst[name] = max(worst[name], error)
            if name == "grpo":
                norms.append(length)
    model.train(was_training)
    return ModelIdentity(
        worst, len(problems), std[split], np.array(norms), _correlation(std[split], np.array(norms))
    )


def _tokens(tokenizer: Any, prompt: str, texts: Sequence[str], truncated: BoolArray) -> Any:
    """The rollouts of one prompt as token ids: every character is one token."""
    from dissensus.integrations.autograd import RolloutTokens

    torch = require("torch", "lab")
    ids = [
        tokenizer(text)["input_ids"] + ([] if cut else [tokenizer.eos_token_id])
        for text, cut in zip(texts, truncated, strict=True)
    ]
    lengths = torch.tensor([len(row) for row in ids])
    mask = torch.arange(int(lengths.max()))[None, :] < lengths[:, None]
    padded = torch.full(mask.shape, int(tokenizer.pad_token_id))
    padded[mask] = torch.tensor([token for row in ids for token in row])
    prompts = torch.tensor([tokenizer(prompt)["input_ids"]]).repeat(len(ids), 1)
    return RolloutTokens(prompts, torch.ones_like(prompts), padded, mask.long())


def _correlation(x: FloatArray, y: FloatArray) -> float:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])
