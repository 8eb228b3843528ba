"""What the paper leaves open: its predictions on a language model while it is being trained.

At each checkpoint of a short GRPO run, for the same prompts, three sets of samples that share
nothing but the weights:

    pilot        a few rollouts, only to sort the prompts by difficulty
    prediction   n rollouts per prompt; for every G the unbiased rate and expected contrast
    measured     groups of the largest G, also cut into smaller ones

so that neither side of a comparison knows the other, and sorting by the pilot brings no regression
to the mean. Intervals are bootstrapped over prompts, the unit that was sampled.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dissensus.core import advantages, laws
from dissensus.core.groups import FloatArray
from dissensus.lab.paper.identity import ModelIdentity, check_model
from dissensus.lab.paper.intervals import r_squared

__all__ = ["ModelResult", "ModelSettings", "Prediction", "measure_model"]

RULES = ("grpo", "dr_grpo")
EDGES = (0.0, 0.1, 0.4, 0.6, 0.9, 1.0)
"""Of the pilot's solve rate: the paper's extreme and medium prompts, and what is between."""


@dataclass(frozen=True)
class ModelSettings:
    """What is sampled; the defaults take a few minutes on two cores.

    Attributes:
        group_sizes: G, each dividing the largest.
        steps: Training steps; the checkpoints are the start, the middle and the end.
        prompts: P training prompts that everything is sampled for.
        pilot: Rollouts of each for its difficulty.
        samples: Rollouts of each behind the prediction.
        measured: Rollouts of each that are cut into groups.
        identity_groups: Groups for the identity, at the last checkpoint.
        resamples: Of the bootstrap.
        seed: Of everything.
    """

    group_sizes: tuple[int, ...] = (4, 8, 16, 32)
    steps: int = 30
    prompts: int = 160
    pilot: int = 16
    samples: int = 64
    measured: int = 64
    identity_groups: int = 40
    resamples: int = 2000
    seed: int = 0


class Prediction(NamedTuple):
    """One number on both sides.

    Attributes:
        predicted: From the samples of the prediction.
        measured: From the groups.
        low: Where the prediction would lie in 95 of 100 cases if both measure the same: lower end.
        high: Upper end.
    """

    predicted: float
    measured: float
    low: float
    high: float


class ModelResult(NamedTuple):
    """Predictions against measurements, checkpoints pooled.

    Attributes:
        steps: Checkpoints.
        solve_rates: Mean solve rate at each.
        silent: By G, the share of unanimous groups.
        silent_by_checkpoint: By (step, G).
        mass: By (rule, G), the share of Σ W in each bin of the pilot's solve rate.
        prompts_in_bin: (B,) share of prompts.
        r_squared: By G, over bins of checkpoint × difficulty, of the silent fraction.
        identity: On groups of 8 at the last checkpoint.
        rollouts: Completions sampled, training excluded.
    """

    steps: tuple[int, ...]
    solve_rates: tuple[float, ...]
    silent: dict[int, Prediction]
    silent_by_checkpoint: dict[tuple[int, int], Prediction]
    mass: dict[tuple[str, int], list[Prediction]]
    prompts_in_bin: FloatArray
    r_squared: dict[int, float]
    identity: ModelIdentity
    rollouts: int


class _Counts(NamedTuple):
    """C checkpoints × P prompts."""

    pilot: FloatArray  # (C, P) solve rate
    correct: NDArray[np.int64]  # (C, P) of `samples`
    outcomes: NDArray[np.bool_]  # (C, P, measured)


def measure_model(
    settings: ModelSettings | None = None, on_progress: Callable[[str], None] | None = None
) -> ModelResult:
    """Train, sample at every checkpoint, and compare.

    Args:
        settings: None for the defaults.
        on_progress: Told what begins, in words.

    Raises:
        MissingDependencyError: The extra `lab` is not installed.
    """
    from dissensus.lab.quiet import quiet_frameworks

    s, tell = settings or ModelSettings(), on_progress or (lambda _: None)
    steps = tuple(sorted({0, s.steps // 2, s.steps}))
    with quiet_frameworks(), tempfile.TemporaryDirectory() as folder:
        weights = _train(s, steps, Path(folder), tell)
        counts, identity = _sample(s, weights, tell)
    return compare(s, steps, counts, identity)


def _train(
    settings: ModelSettings, steps: Sequence[int], folder: Path, tell: Callable[[str], None]
) -> list[Path]:
    from dissensus.lab.training import TrainEvent, TrainSettings, train

    def on_event(event: TrainEvent) -> None:
        tell(f"training the model: step {event.step} of {event.total}")

    tell("training the model: loading")
    run = folder / "run"
    asked = TrainSettings(
        run=run,
        steps=settings.steps,
        snapshot_steps=steps,
        eval_every=0,
        heldout_prompts=20,  # not what is measured here
        heldout_samples=1,
        seed=settings.seed,
    )
    train(asked, on_event)
    return [run / "weights" / f"step-{step:06d}.safetensors" for step in steps]


def _sample(
    settings: ModelSettings, weights: Sequence[Path], tell: Callable[[str], None]
) -> tuple[_Counts, ModelIdentity]:
    from dissensus.lab.evaluation import sample_completions
    from dissensus.lab.model import load_model
    from dissensus.lab.tasks import make_problems
    from dissensus.lab.tokenizer import build_tokenizer

    problems = make_problems("train", settings.prompts, seed=settings.seed + 1)
    tokenizer = build_tokenizer()
    draws = (settings.pilot, settings.samples, settings.measured)
    found: list[list[NDArray[np.bool_]]] = [[], [], []]
    for c, file in enumerate(weights):
        model = load_model(file)
        for kind, samples in enumerate(draws):
            tell(f"sampling: checkpoint {c + 1} of {len(weights)}, part {kind + 1} of 3")
            seed = settings.seed + 10 * c + kind + 2
            drawn = sample_completions(model, tokenizer, problems, samples, seed=seed)
            found[kind].append(drawn.correct)
    tell("checking the identity, one backward pass per rollout")
    chosen = problems[: settings.identity_groups]
    identity = check_model(model, chosen, seed=settings.seed + 1000)
    pilot, predicted, measured = map(np.stack, found)
    return _Counts(pilot.mean(axis=2), predicted.sum(axis=2), measured), identity


def compare(
    settings: ModelSettings, steps: Sequence[int], counts: _Counts, identity: ModelIdentity
) -> ModelResult:
    """Put predictions and measurements side by side; no sampling of the model."""
    bins = np.clip(np.digitize(counts.pilot, EDGES[1:-1], right=False), 0, len(EDGES) - 2)
    chosen = _resampled(settings)
    silent, by_checkpoint, mass, fits = {}, {}, {}, {}
    for G in settings.group_sizes:
        k = _counts_of_groups(counts.outcomes, G)  # (C, P, groups)
        rate = laws.unbiased_unanimous_rate(counts.correct, settings.samples, G)
        seen = ((k == 0) | (k == G)).mean(axis=2)
        silent[G] = _pair(rate.mean(axis=0), seen.mean(axis=0), chosen)
        for step, one, other in zip(steps, rate, seen, strict=True):
            by_checkpoint[step, G] = _pair(one, other, chosen)
        fits[G] = _fit(bins, rate, seen)
        for rule in RULES:
            signature = advantages.signature(advantages.get(rule), G)
            predicted = laws.unbiased_expected_contrast(signature, counts.correct, settings.samples)
            measured = signature.contrast[k].mean(axis=2)
            mass[rule, G] = _shares(bins, predicted, measured, chosen)
    per_bin = np.bincount(bins.ravel(), minlength=len(EDGES) - 1)
    return ModelResult(
        steps=tuple(steps),
        solve_rates=tuple((counts.correct.mean(axis=1) / settings.samples).tolist()),
        silent=silent,
        silent_by_checkpoint=by_checkpoint,
        mass=mass,
        prompts_in_bin=per_bin / per_bin.sum(),
        r_squared=fits,
        identity=identity,
        rollouts=counts.pilot.size * (settings.pilot + settings.samples + settings.measured),
    )


def _counts_of_groups(outcomes: NDArray[np.bool_], group_size: int) -> NDArray[np.int64]:
    C, P, n = outcomes.shape
    return outcomes.reshape(C, P, n // group_size, group_size).sum(axis=3)


def _resampled(settings: ModelSettings) -> FloatArray:
    """(B, P) how often each prompt is in each bootstrap sample."""
    rng = np.random.default_rng(settings.seed)
    P = settings.prompts
    return rng.multinomial(P, np.full(P, 1 / P), size=settings.resamples).astype(np.float64)


def _pair(predicted: FloatArray, measured: FloatArray, chosen: FloatArray) -> Prediction:
    """Means over prompts, (P,) each."""
    difference = chosen @ (measured - predicted) / len(predicted)
    return _prediction(float(predicted.mean()), float(measured.mean()), difference)


def _prediction(predicted: float, measured: float, difference: FloatArray) -> Prediction:
    reach = 1.96 * float(difference.std(ddof=1))
    return Prediction(predicted, measured, measured - reach, measured + reach)


def _shares(
    bins: NDArray[np.int64], predicted: FloatArray, measured: FloatArray, chosen: FloatArray
) -> list[Prediction]:
    """Share of the total in every bin; arrays are (C, P)."""
    found = []
    for b in range(len(EDGES) - 1):
        inside = bins == b
        parts = [np.where(inside, values, 0.0).sum(axis=0) for values in (predicted, measured)]
        totals = [values.sum(axis=0) for values in (predicted, measured)]
        share = [float(part.sum() / total.sum()) for part, total in zip(parts, totals, strict=True)]
        drawn = [(chosen @ p) / (chosen @ t) for p, t in zip(parts, totals, strict=True)]
        found.append(_prediction(share[0], share[1], drawn[1] - drawn[0]))
    return found


def _fit(bins: NDArray[np.int64], predicted: FloatArray, measured: FloatArray) -> float:
    cells = [
        (measured[c][bins[c] == b].mean(), predicted[c][bins[c] == b].mean())
        for c in range(len(bins))
        for b in np.unique(bins[c])
    ]
    return r_squared(*np.array(cells).T)
