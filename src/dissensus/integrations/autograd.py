"""Scores of single rollouts, and the update of a batch, of a causal language model by autograd.

This is the torch half of `dissensus.core.anatomy`: exact and meant for small models, one backward
pass per rollout. A model with dropout must be in `eval()` mode, otherwise every pass sees another
model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from dissensus._optional import require
from dissensus.core.groups import FloatArray
from dissensus.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "Length",
    "RolloutTokens",
    "completion_log_likelihoods",
    "gradient",
    "length_weights",
    "policy_update",
    "rollout_scores",
    "score_gram",
]

Length = Literal["none", "sequence", "tokens"] | float
"""What divides a score: nothing, the rollout's tokens, the batch's mean of them, a constant."""


class RolloutTokens(NamedTuple):
    """N rollouts as TRL pads them: prompts on the left, completions on the right.

    Attributes:
        prompt_ids: (N, Tp) token ids.
        prompt_mask: (N, Tp) 1 for tokens, 0 for padding.
        completion_ids: (N, Tc) token ids.
        completion_mask: (N, Tc) 1 for the tokens that count in the loss.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    completion_ids: Tensor
    completion_mask: Tensor

    @classmethod
    def from_trl(cls, inputs: Mapping[str, Any]) -> RolloutTokens:
        """The four tensors out of what TRL's trainer feeds its loss.

        Raises:
            InputError: One of them is missing, or TRL's loss leaves out tokens that the model
                reads: tool output, or groups that `silent="mask"` took out.
        """
        missing = [name for name in cls._fields if name not in inputs]
        if missing:
            raise InputError("these inputs are not TRL's", got=missing[0], where="from_trl")
        tool_mask = inputs.get("tool_mask")
        if tool_mask is not None and bool((inputs["completion_mask"] > tool_mask).any()):
            raise InputError(
                "tool_mask has zeros, and scores here are over every completion token",
                where="from_trl",
                hint="take a batch without tools, from before silent groups are masked",
            )
        return cls(*(inputs[name] for name in cls._fields))

    def rows(self, index: Any) -> RolloutTokens:
        """The rollouts at `index`: a slice, a mask or a list of rows."""
        return RolloutTokens(*(tensor[index] for tensor in self))


def completion_log_likelihoods(model: nn.Module, tokens: RolloutTokens) -> Tensor:
    """Log-likelihood of every completion token, (N, Tc), 0 at padding; with gradient.

        log πθ(y_it | x_i, y_i,<t)          at temperature 1

    Positions count from the first token of a prompt, as in generation, not from its padding.

    Raises:
        InputError: Tensors of shapes that do not belong together.
    """
    torch = require("torch", "lab")
    _check(tokens)
    ids = torch.cat([tokens.prompt_ids, tokens.completion_ids], dim=1)
    mask = torch.cat([tokens.prompt_mask, tokens.completion_mask], dim=1)
    logits = model(input_ids=ids, attention_mask=mask, **_positions(model, mask)).logits
    width = tokens.completion_ids.shape[1]
    likelihoods = torch.log_softmax(logits[:, -width - 1 : -1], dim=-1)
    picked: Tensor = likelihoods.gather(2, tokens.completion_ids.unsqueeze(2)).squeeze(2)
    return picked * tokens.completion_mask.to(picked.dtype)


def length_weights(completion_mask: Tensor, length: Length) -> Tensor:
    """(N,) factor, on the CPU, on each score that makes (1/N) Σ A_i s_i the update of a loss.

    | length       | factor          | loss (TRL's name)                   |
    |--------------|-----------------|-------------------------------------|
    | `"none"`     | 1               | sum over tokens, mean over rollouts |
    | `"sequence"` | 1/|o_i|         | `grpo`                              |
    | `"tokens"`   | N/Σ|o|          | `dapo`, `bnpo`                      |
    | a number c   | 1/c             | `dr_grpo`, c = maximal length       |

    Raises:
        InputError: Another word, or a number that is not finite and above 0.
    """
    torch = require("torch", "lab")
    count = completion_mask.sum(dim=1).cpu().double()  # not every device has float64
    weights: Tensor
    if length == "none":
        weights = torch.ones_like(count)
    elif length == "sequence":
        weights = 1.0 / count.clamp(min=1.0)
    elif length == "tokens":
        weights = torch.full_like(count, len(count)) / count.sum().clamp(min=1.0)
    else:
        constant = _as_constant(length)
        weights = torch.full_like(count, 1.0 / constant)
    return weights


def gradient(
    value: Tensor, model: nn.Module, *, select: Callable[[str], bool] | None = None
) -> Tensor:
    """Gradient of a scalar in the trainable parameters, (D,), by one backward pass.

    Parameters the scalar does not depend on have gradient 0. `.grad` is left alone.

    Args:
        value: Scalar tensor.
        model: The model whose parameters count.
        select: Chooses parameters by name; None takes all. Say which were taken.

    Raises:
        InputError: No parameter is trainable and selected.
    """
    torch = require("torch", "lab")
    chosen = [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and (select is None or select(name))
    ]
    if not chosen:
        raise InputError("no trainable parameter is selected", where="gradient")
    parts = torch.autograd.grad(value, chosen, allow_unused=True)
    flat: Tensor = torch.cat(
        [
            torch.zeros(parameter.numel(), dtype=parameter.dtype, device=parameter.device)
            if part is None
            else part.reshape(-1)
            for parameter, part in zip(chosen, parts, strict=True)
        ]
    )
    return flat


def rollout_scores(
    model: nn.Module,
    tokens: RolloutTokens,
    *,
    length: Length = "none",
    select: Callable[[str], bool] | None = None,
) -> Tensor:
    """The score vector of every rollout, by one backward pass each.

        s_i = λ_i ∇θ Σ_t log πθ(y_it | x_i, y_i,<t),      λ from `length_weights`

    Args:
        model: HF causal language model in eval mode (or without dropout).
        tokens: N rollouts.
        length: What the scores are divided by. `"tokens"` takes the mean over these N rollouts.
        select: Chooses parameters by name; None takes all.

    Returns:
        (N, D) in the model's precision: N·D numbers are held, 2 GB for 512 rollouts of a
        million-parameter model in float32. Select parameters, or pass fewer rows, for less.

    Raises:
        InputError: Shapes that do not belong together, or no parameter selected.
    """
    torch = require("torch", "lab")
    _check(tokens)
    weights = length_weights(tokens.completion_mask, length)
    rows = []
    for i in range(len(weights)):
        total = completion_log_likelihoods(model, tokens.rows(slice(i, i + 1))).sum()
        rows.append(gradient(total * weights[i].to(total.dtype), model, select=select))
    scores: Tensor = torch.stack(rows)
    return scores


def score_gram(scores: Tensor) -> FloatArray:
    """K_ij = ⟨s_i, s_j⟩ as (N, N) float64, for `dissensus.core.anatomy`."""
    wide = scores.detach().cpu().double()  # not every device has float64
    return np.asarray((wide @ wide.T).numpy(), dtype=np.float64)


def policy_update(
    model: nn.Module,
    tokens: RolloutTokens,
    advantages: FloatArray,
    *,
    length: Length = "none",
    select: Callable[[str], bool] | None = None,
) -> Tensor:
    """The direction one policy-gradient step takes, by one backward pass of the loss.

        g = −∇θ loss,      loss = −(1/N) Σ_i A_i λ_i Σ_t log πθ(y_it | …)

    On-policy, without clipping and KL: what every GRPO-family loss is at the first step.

    Args:
        model: HF causal language model in eval mode (or without dropout).
        tokens: N rollouts: one group for that group's g, a batch for the whole update.
        advantages: (N,) numbers.
        length: As in `rollout_scores`.
        select: Chooses parameters by name; None takes all.

    Returns:
        (D,) in the model's precision.

    Raises:
        InputError: Not one advantage per rollout, or as `rollout_scores`.
    """
    torch = require("torch", "lab")
    _check(tokens)
    if np.shape(advantages) != (len(tokens.completion_ids),):
        raise InputError(
            f"advantages must be {len(tokens.completion_ids)} numbers, one per rollout",
            where="policy_update",
            got=np.shape(advantages),
        )
    likelihoods = completion_log_likelihoods(model, tokens).sum(dim=1)
    a = torch.tensor(np.array(advantages, dtype=np.float64))
    weights = (a * length_weights(tokens.completion_mask, length)).to(likelihoods)
    return -gradient(-(weights * likelihoods).mean(), model, select=select)


def _positions(model: nn.Module, mask: Tensor) -> dict[str, Tensor]:
    """`position_ids` of padded rows, for models that take them."""
    forward = getattr(model, "get_base_model", lambda: model)().forward  # beneath an adapter
    if "position_ids" not in inspect.signature(forward).parameters:
        return {}
    return {"position_ids": (mask.long().cumsum(dim=1) - 1).clamp(min=0)}


def _as_constant(length: object) -> float:
    if isinstance(length, (int, float)) and 0 < length < float("inf"):
        return float(length)
    raise InputError("length must be 'none', 'sequence', 'tokens' or a number above 0", got=length)


def _check(tokens: RolloutTokens) -> None:
    shapes = [tuple(tensor.shape) for tensor in tokens]
    prompt, prompt_mask, completion, completion_mask = shapes
    fits = prompt == prompt_mask and completion == completion_mask
    if not (fits and len(prompt) == len(completion) == 2 and prompt[0] == completion[0] > 0):
        raise InputError(
            "prompts and completions must be (N, T) tensors with masks of the same shape",
            where="RolloutTokens",
            got=shapes,
        )
    if 0 in (prompt[1], completion[1]):
        raise InputError("prompts and completions need at least one token", got=shapes)
