"""What the paper leaves open: its predictions on a language model while it is being trained.

At each checkpoint of a short GRPO run, for the same prompts, three sets of samples that share
nothing but the weights:

    pilot        a few rollouts, only to sort the prompts by difficulty
    prediction   n rollouts per prompt; for every G the unbiased rate and expected contrast
    measured     groups of the largest G, also cut into smaller ones

so that neither side of a comparison knows the other, and sorting by the pilot brings no regression
to the mean. Intervals are bootstrapped over prompts, the unit that was sampled, and simultaneous:
all those of the silent fraction, and all those of the mass, hold together in 95 of 100 cases.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dissensus.core import advantages, laws
from dissensus.core.groups import FloatArray
from dissensus.lab.paper.identity import ModelIdentity, check_model
from dissensus.lab.paper.intervals import r_squared

__all__ = ["ModelResult", "ModelSettings", "Prediction", "measure_model"]

Key = TypeVar("Key")
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
        low: Where the prediction would lie if both measure the same: lower end.
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
        mass: By (rule, G, bin), the share of Σ W in a bin of the pilot's solve rate.
        prompts_in_bin: (B,) share of prompts.
        r_squared: By G, over bins of checkpoint × difficulty, of the silent fraction.
        identity: On groups of 8 at the last checkpoint.
        rollouts: Completions sampled, training excluded.
    """

    steps: tuple[int, ...]
    solve_rates: tuple[float, ...]
    silent: dict[int, Prediction]
    silent_by_checkpoint: dict[tuple[int, int], Prediction]
    mass: dict[tuple[str, int, int], Prediction]
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
    first = 10_000 * settings.seed  # no two runs sample with the same random numbers
    tokenizer = build_tokenizer()
    draws = (settings.pilot, settings.samples, settings.measured)
    found: list[list[NDArray[np.bool_]]] = [[], [], []]
    for c, file in enumerate(weights):
        model = load_model(file)
        for kind, samples in enumerate(draws):
            tell(f"sampling: checkpoint {c + 1} of {len(weights)}, part {kind + 1} of 3")
            seed = first + 10 * c + kind + 2
            drawn = sample_completions(model, tokenizer, problems, samples, seed=seed)
            found[kind].append(drawn.correct)
    tell("checking the identity, one backward pass per rollout")
    chosen = problems[: settings.identity_groups]
    identity = check_model(model, chosen, seed=first + 1000)
    pilot, predicted, measured = map(np.stack, found)
    return _Counts(pilot.mean(axis=2), predicted.sum(axis=2), measured), identity


def compare(
    settings: ModelSettings, steps: Sequence[int], counts: _Counts, identity: ModelIdentity
) -> ModelResult:
    """Put predictions and measurements side by side; no sampling of the model."""
    bins = np.digitize(counts.pilot, EDGES[1:-1])
    chosen = _resampled(settings)
    silent: dict[tuple[int | None, int], _Pair] = {}
    mass: dict[tuple[str, int, int], _Pair] = {}
    fits = {}
    for G in settings.group_sizes:
        k = _counts_of_groups(counts.outcomes, G)  # (C, P, groups)
        rate = laws.unbiased_unanimous_rate(counts.correct, settings.samples, G)
        seen = ((k == 0) | (k == G)).mean(axis=2)
        silent[None, G] = _means(rate.mean(axis=0), seen.mean(axis=0), chosen)
        for step, one, other in zip(steps, rate, seen, strict=True):
            silent[step, G] = _means(one, other, chosen)
        fits[G] = _fit(bins, rate, seen)
        for rule in RULES:
            signature = advantages.signature(advantages.get(rule), G)
            predicted = laws.unbiased_expected_contrast(signature, counts.correct, settings.samples)
            measured = signature.contrast[k].mean(axis=2)
            for b in range(len(EDGES) - 1):
                mass[rule, G, b] = _shares(bins == b, predicted, measured, chosen)
    unanimous, shares = _simultaneous(silent), _simultaneous(mass)
    per_bin = np.bincount(bins.ravel(), minlength=len(EDGES) - 1)
    return ModelResult(
        steps=tuple(steps),
        solve_rates=tuple((counts.correct.mean(axis=1) / settings.samples).tolist()),
        silent={G: each for (step, G), each in unanimous.items() if step is None},
        silent_by_checkpoint={
            (step, G): each for (step, G), each in unanimous.items() if step is not None
        },
        mass=shares,
        prompts_in_bin=per_bin / per_bin.sum(),
        r_squared=fits,
        identity=identity,
        rollouts=counts.pilot.size * (settings.pilot + settings.samples + settings.measured),
    )


def _counts_of_groups(outcomes: NDArray[np.bool_], group_size: int) -> NDArray[np.int64]:
    C, P, n = outcomes.shape
    groups = outcomes.reshape(C, P, n // group_size, group_size)
    return np.asarray(groups.sum(axis=3), dtype=np.int64)


def _resampled(settings: ModelSettings) -> FloatArray:
    """(B, P) how often each prompt is in each bootstrap sample."""
    rng = np.random.default_rng(settings.seed)
    P = settings.prompts
    return rng.multinomial(P, np.full(P, 1 / P), size=settings.resamples).astype(np.float64)


class _Pair(NamedTuple):
    """Both sides, and measured − predicted in every bootstrap sample."""

    predicted: float
    measured: float
    differences: FloatArray


def _means(predicted: FloatArray, measured: FloatArray, chosen: FloatArray) -> _Pair:
    """Means over prompts, (P,) each."""
    differences = chosen @ (measured - predicted) / len(predicted)
    return _Pair(float(predicted.mean()), float(measured.mean()), differences)


def _shares(
    inside: NDArray[np.bool_], predicted: FloatArray, measured: FloatArray, chosen: FloatArray
) -> _Pair:
    """Share of the total that is inside; arrays are (C, P)."""

    def share(values: FloatArray) -> tuple[float, FloatArray]:
        part, total = np.where(inside, values, 0.0).sum(axis=0), values.sum(axis=0)
        return float(part.sum() / total.sum()), (chosen @ part) / (chosen @ total)

    (expected, drawn_expected), (found, drawn_found) = share(predicted), share(measured)
    return _Pair(expected, found, drawn_found - drawn_expected)


def _simultaneous(family: Mapping[Key, _Pair]) -> dict[Key, Prediction]:
    """Intervals that hold together: the bootstrap's 95 % point of the largest |z| sets them."""
    draws = np.stack([pair.differences for pair in family.values()])
    error = draws.std(axis=1, ddof=1)
    error = np.where(error > 0, error, np.finfo(float).tiny)
    z = np.abs(draws - draws.mean(axis=1, keepdims=True)) / error[:, None]
    reach = np.quantile(z.max(axis=0), 0.95) * error
    return {
        key: Prediction(pair.predicted, pair.measured, pair.measured - one, pair.measured + one)
        for (key, pair), one in zip(family.items(), reach.tolist(), strict=True)
    }


def _fit(bins: NDArray[np.int64], predicted: FloatArray, measured: FloatArray) -> float:
    cells = [
        (measured[c][bins[c] == b].mean(), predicted[c][bins[c] == b].mean())
        for c in range(len(bins))
        for b in np.unique(bins[c])
    ]
    return r_squared(*np.array(cells).T)
