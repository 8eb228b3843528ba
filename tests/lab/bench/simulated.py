"""Records of a benchmark that nobody ran: curves that rise, seeds and prompts that differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dissensus.lab.bench.records import Arm, Evaluations, Steps, TrainingRecord

ALLOCATORS = ("uniform", "dapo", "greso", "mopps", "speed_rl", "reinforce_ada", "dots", "contrast")
ESTIMATORS = ("dr_grpo", "rloo", "maxrl", "weighted(grpo, power(0.5))", "dapo", "pkpo")
BUDGET = 20480
UNIFORM = Arm("grpo", "uniform")


def simulated_record(
    arm: Arm,
    seed: int,
    *,
    speed: float = 1.0,
    start: float = 0.35,
    gain: float = 0.2,
    learning_rate: float = 2e-4,
    purpose="report",
    prompts: int = 200,
    samples: int = 4,
    budget: int = BUDGET,
    spread: float = 0.01,
    tenths: int = 10,
) -> TrainingRecord:
    """One training: prompts' logits rise together, as 1 − exp(−3 · speed · R / budget) does."""
    shared = np.random.default_rng([seed, 7])
    own = np.random.default_rng([seed, *map(ord, str(arm)), round(1e7 * learning_rate)])
    hardness = np.random.default_rng(1).normal(0.0, 2.0, prompts)
    generated = np.linspace(0, budget, tenths + 1).astype(int)
    luck = spread * (0.7 * shared.normal() + own.normal())
    progress = (1 - np.exp(-3 * speed * generated / budget)) / (1 - np.exp(-3))
    level = start + (gain + luck) * progress
    shift = np.interp(level, *_levels(hardness))
    p = 1 / (1 + np.exp(-(hardness + shift[:, None])))
    counts = np.full(tenths + 1, samples)
    steps = 80
    per_step = np.full(steps, budget // steps)
    wrong = own.binomial(per_step, 0.3 / np.sqrt(speed))
    right = own.binomial(per_step - wrong, 0.2)
    pace = 0.8 + 0.4 * own.random()
    return TrainingRecord(
        plan="simulated",
        purpose=purpose,
        arm=arm,
        learning_rate=learning_rate,
        seed=seed,
        budget=budget,
        evaluations=Evaluations(
            generated=generated,
            trained=generated if arm.allocator != "dapo" else (generated * 0.6).astype(int),
            steps=np.linspace(0, steps, tenths + 1).astype(int),
            tokens=(generated * 5 * pace).astype(int),
            extra=np.zeros(tenths + 1, dtype=int),
            seconds=generated * 0.004 * pace,
            processor_seconds=generated * 0.004 * pace,
            samples=counts,
            correct=own.binomial(counts[:, None], p),
        ),
        steps=Steps(
            generated=per_step,
            trained=per_step,
            all_wrong=wrong,
            all_correct=right,
            contrast=0.02 * per_step * (1 - (wrong + right) / per_step),
            groups=per_step // 8,
        ),
        settings={"prompts": 320},
        versions={"dissensus": "0"},
    )


def exact_record(rates, *, generated, arm=UNIFORM, seed=0, **options):
    """A training with exactly these held-out rates, a list per evaluation, given in thousandths."""
    made = simulated_record(arm, seed, prompts=2, tenths=len(generated) - 1, **options)
    spent = np.array(generated)
    columns = dict.fromkeys(
        ("generated", "trained", "steps", "tokens", "seconds", "processor_seconds"), spent
    )
    correct = np.round(1000 * np.array(rates)).astype(int)
    found = replace(made.evaluations, **columns, samples=np.full(len(spent), 1000), correct=correct)
    return replace(made, budget=int(spent[-1]), evaluations=found)


def simulated_bench(
    speeds: Mapping[str, float] | None = None, *, seeds: int = 5, **options
) -> list[TrainingRecord]:
    """Eight allocators and six more estimators, each tuned over three rates on two seeds.

    Args:
        speeds: How much faster than uniform an allocator or estimator learns.
        seeds: Reported ones.
        options: Of every record.
    """
    fast = {"contrast": 2.5, "mopps": 1.3, "dapo": 0.6, "maxrl": 1.4, **(speeds or {})}
    arms = [(Arm("grpo", name), fast.get(name, 1.0)) for name in ALLOCATORS]
    # The estimator called dapo is not the allocator of that name.
    arms += [(Arm(name, "uniform"), fast.get(name, 1.0)) for name in ESTIMATORS if name != "dapo"]
    arms += [(Arm("dapo", "uniform"), 1.0)]
    made = []
    for arm, speed in arms:
        made += [simulated_record(arm, seed, speed=speed, **options) for seed in range(seeds)]
        for rate, factor in ((1e-4, 0.7), (2e-4, 1.0), (4e-4, 0.5)):
            made += [
                simulated_record(
                    arm, seed, speed=speed * factor, learning_rate=rate, purpose="tune", **options
                )
                for seed in (1000, 1001)
            ]
    return made


def _levels(hardness):
    shifts = np.linspace(-8, 8, 400)
    means = (1 / (1 + np.exp(-(hardness + shifts[:, None])))).mean(axis=1)
    return means, shifts
