"""Which strategies verl can follow, found by playing each of them: `python -m` prints the table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dissensus.core import allocation
from dissensus.core.allocation import Allocator, Draw, Selection, Written
from dissensus.core.groups import IntArray, RewardGroups
from dissensus.errors import UnsupportedError
from dissensus.integrations.verl.sampling_options import SamplingOptions

__all__ = ["Uses", "observe", "refusal", "require_allowed", "table"]

_PROMPTS, _BATCH, _GROUP, _STEPS = 60, 8, 6, 24


class Uses(NamedTuple):
    """What a strategy was seen to use, beyond equal groups of prompts that all are trained on.

    Attributes:
        sizes: Groups of different sizes.
        draws: It looks at results, and draws again in the same step.
        same_prompt: It draws a prompt again in the same step.
        drops: It trains on some groups only.
        parts: It trains on some rollouts of a group only.
        weights: It multiplies the advantages of a prompt by a factor.
        baselines: It centres on more rollouts than it trains on.
        earlier: It trains on rollouts of earlier steps.
    """

    sizes: bool = False
    draws: bool = False
    same_prompt: bool = False
    drops: bool = False
    parts: bool = False
    weights: bool = False
    baselines: bool = False
    earlier: bool = False

    def also(self, other: Uses) -> Uses:
        """Both."""
        return Uses(*(mine or theirs for mine, theirs in zip(self, other, strict=True)))


_REASONS = {
    "earlier": (
        "trains on rollouts of earlier steps, and verl deletes a rollout when its step ends"
    ),
    "baselines": (
        "centres on rollouts that it does not train on, and verl hands an estimator only those "
        "that are trained on"
    ),
}


def observe(written: Written) -> Uses:
    """Play a strategy on prompts of all difficulties, and see what it uses."""
    allocator = written.build(_PROMPTS, batch=_BATCH, group_size=_GROUP)
    rng = np.random.default_rng(0)
    rates = rng.permutation(np.linspace(0.0, 1.0, _PROMPTS))
    seen = Uses(earlier=allocator.reuses_rollouts)
    for _ in range(_STEPS):
        seen = seen.also(_step(allocator, rates, rng))
    return seen


def refusal(uses: Uses, estimator: str | None = None) -> str | None:
    """Why verl cannot follow a strategy; None where it can.

    Args:
        uses: What the strategy uses.
        estimator: `algorithm.adv_estimator`; None: one of ours.
    """
    for name, reason in _REASONS.items():
        if getattr(uses, name):
            return reason
    if uses.weights and not (estimator or "dissensus").startswith("dissensus"):
        return "multiplies advantages by a factor per prompt, which verl's own estimators do not"
    return None


def require_allowed(options: SamplingOptions) -> None:
    """Check that verl can follow the strategy.

    Raises:
        UnsupportedError: It cannot.
    """
    assert options.allocator is not None  # noqa: S101
    uses = observe(options.allocator)
    reason = refusal(uses, options.estimator or "")
    if reason is not None:
        hint = "docs/verl_sampling.md lists the strategies"
        if refusal(uses) is None:
            hint = (
                "set algorithm.adv_estimator=dissensus_grpo and "
                "sampler_kwargs.estimator=${algorithm.adv_estimator}"
            )
        raise UnsupportedError(
            f"{options.allocator} {reason}",
            where="trainer.v1.sampler.sampler_kwargs.allocator",
            got=f"adv_estimator={options.estimator}",
            hint=hint,
        )


def table() -> str:
    """Every registered strategy, as a Markdown table."""
    columns = ("sizes", "draws", "same_prompt", "drops", "parts", "weights")
    head = ("strategy", "group sizes", "draws again", "a prompt again", "drops groups",
            "drops rollouts", "factors", "in verl")  # fmt: skip
    lines = [head, ("---",) * len(head)]
    for name in allocation.names():
        uses = observe(Written(name))
        reason = refusal(uses)
        marks = ["yes" if getattr(uses, column) else "" for column in columns]
        needs = "yes, with our estimators" if uses.weights else "yes"
        lines.append((f"`{name}`", *marks, needs if reason is None else f"refused: {reason}"))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _step(allocator: Allocator, rates: np.ndarray, rng: np.random.Generator) -> Uses:
    budget, asked, draws = 16 * _BATCH * _GROUP, np.zeros(_PROMPTS, dtype=np.int64), 0
    seen = Uses()
    while isinstance(ask := allocator.ask(budget, rng), Draw):
        budget, draws = budget - ask.total, draws + 1
        seen = seen.also(
            Uses(
                sizes=len(np.unique(ask.counts)) > 1,
                draws=draws > 1,
                same_prompt=bool((asked[ask.prompts] > 0).any()),
            )
        )
        asked[ask.prompts] += ask.counts
        prompts = np.repeat(ask.prompts, ask.counts)
        rewards = (rng.random(len(prompts)) < rates[prompts]).astype(np.float64)
        groups = RewardGroups.from_flat(rewards, prompts, correct=1.0)
        allocator.tell(groups, lengths=rng.integers(1, 100, len(prompts)))
    return seen.also(_selected(ask, asked))


def _selected(selection: Selection, asked: IntArray) -> Uses:
    sizes = np.bincount(selection.groups, minlength=len(selection.prompts))
    return Uses(
        sizes=len(np.unique(sizes)) > 1,
        drops=len(selection.prompts) < int((asked > 0).sum()),
        parts=bool((sizes < asked[selection.prompts]).any()),
        weights=not np.allclose(selection.weights, 1.0),
        baselines=not np.isnan(selection.baselines).all(),
        earlier=bool((selection.rollouts < selection.first).any()),
    )


if __name__ == "__main__":
    print(table())  # noqa: T201
