"""Which objective trains best: allocators on shared skills, paired by seed, at equal rollouts.

Same prompts, same starting policy and same budget for all arms of a seed; differences from the
first arm with 95 % Student intervals over seeds. `ratio` is the rollouts an arm needs to reach what
the first one has at the end, as a share of the budget (worst case 1 where it never does).

    python -m benchmarks.allocation_training [--arms "uniform,contrast,signal"] [--noise 1 5 30]
        [--seeds 8] [--first-seed 100] [--learning-rate 0.5 0.8 1.5] [--batch 16] [--json]
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from scipy import stats

from dissensus.core import allocation
from dissensus.core.allocation import Written
from dissensus.lab.skills import SkillPolicy, SkillSettings, make_world, train_on_skills

GRID = np.linspace(0.0, 1.0, 41)


def curve(
    arm: Written, seed: int, settings: SkillSettings, options: argparse.Namespace
) -> np.ndarray:
    """Held-out solve rate at 41 shares of the budget."""
    rngs = [np.random.default_rng([seed, stream]) for stream in (1, 2, 3)]
    world = make_world(rngs[0], prompts=options.prompts, families=options.families)
    allocator = arm.build(options.prompts, batch=options.batch, group_size=options.group_size)
    policy = SkillPolicy(world, settings, rngs[1])
    course = train_on_skills(allocator, policy, options.budget, rngs[2], checks=len(GRID) - 1)
    return np.interp(GRID * options.budget, course.generated, course.heldout)


def rollouts_to(target: float, heldout: np.ndarray) -> float:
    """Share of the budget at which a curve first reaches the target; 1 where it does not."""
    best = np.maximum.accumulate(heldout)
    at = int(np.searchsorted(best, target))
    if at in {0, len(GRID)}:
        return float(at > 0)
    step = (target - best[at - 1]) / (best[at] - best[at - 1])
    return float(GRID[at - 1] + step * (GRID[at] - GRID[at - 1]))


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95 % Student interval."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(error * stats.t.ppf(0.975, len(values) - 1))


def compare(arms: list[Written], settings: SkillSettings, options: argparse.Namespace) -> dict:
    rows: dict[str, dict] = {}
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    base = np.empty(0)
    for arm in arms:
        found = np.array([curve(arm, seed, settings, options) for seed in seeds])
        base = base if len(base) else found
        ratios = [rollouts_to(b[-1], own) for b, own in zip(base, found, strict=True)]
        rows[str(arm)] = {
            "final": float(found[:, -1].mean()),
            "gain": interval(found[:, -1] - base[:, -1]),
            "area_gain": interval(np.trapezoid(found - base, GRID, axis=1)),
            "ratio": interval(np.array(ratios)),
        }
        if not options.json:
            (gain, error), (area, area_error) = (rows[str(arm)][k] for k in ("gain", "area_gain"))
            ratio, ratio_error = rows[str(arm)]["ratio"]
            print(
                f"{arm!s:34}{rows[str(arm)]['final']:8.3f}{100 * gain:+8.2f} ± {100 * error:.2f}"
                f"{100 * area:+8.2f} ± {100 * area_error:.2f}{ratio:8.3f} ± {ratio_error:.3f}",
                flush=True,
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", default="uniform,contrast(least=2),contrast,signal,mopps")
    parser.add_argument("--noise", type=float, nargs="+", default=[1.0, 5.0, 30.0])
    parser.add_argument("--learning-rate", type=float, nargs="+", default=[0.5, 0.8, 1.5])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--budget", type=int, default=10_240)
    parser.add_argument("--prompts", type=int, default=240)
    parser.add_argument("--families", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    arms, out = allocation.read_list(options.arms), {}
    for noise, rate in zip(options.noise, options.learning_rate, strict=True):
        settings = SkillSettings(learning_rate=rate, score_noise=noise, curvature=0.1)
        if not options.json:
            print(f"\nscore noise {noise:g}, learning rate {rate:g}")
            print(f"{'':34}{'final':>8}{'points':>15}{'area':>15}{'ratio':>16}")
        out[f"{noise:g}"] = compare(arms, settings, options)
    if options.json:
        print(json.dumps(out))


if __name__ == "__main__":
    main()
