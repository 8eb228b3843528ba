"""How noisy scores are on the lab's model: what decides between contrast and signal to noise.

    V/‖δ‖²    noise of one rollout's score over the signal of a prompt, means over groups
    ρ         share of the signal that all prompts have in common, ‖mean δ‖²/mean ‖δ‖²

Signal is what an unbiased estimate says (`core.anatomy.score_difference`); ρ comes from the inner
products of different prompts' Δs, which share no noise. Intervals resample prompts.

    python -m benchmarks.score_noise [--prompts 96] [--group-size 8] [--seed 0] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile

import numpy as np
import torch

from benchmarks.identity import build_trainer, exact_match, mean_difference, sample
from dissensus import RewardGroups
from dissensus.core.anatomy import score_difference
from dissensus.integrations.autograd import RolloutTokens, rollout_scores
from dissensus.lab.model import load_model
from dissensus.lab.quiet import quiet_frameworks


def measure(options: argparse.Namespace) -> dict:
    size, noise, signal, differences = options.group_size, [], [], []
    with quiet_frameworks(), tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(load_model(), options, folder, exact_match)
        output, texts, answers = sample(trainer, options)
        tokens = RolloutTokens.from_trl(output)
        right = [exact_match(t, a) for t, a in zip(texts, answers, strict=True)]
        for x, rewards in enumerate(np.reshape(right, (options.prompts, size))):
            k = rewards.sum()
            if not 2 <= k <= size - 2:  # fewer show no noise on one side
                continue
            scores = rollout_scores(trainer.model, tokens.rows(slice(x * size, (x + 1) * size)))
            gram = (scores.double() @ scores.double().T).numpy()
            found = score_difference(gram, RewardGroups.from_dense([rewards], correct=0.5))
            noise.append(float(found.noise[0]) * k * (size - k) / size)
            signal.append(float(found.signal[0]))
            differences.append(mean_difference(scores, rewards).float())
    stacked = torch.stack(differences)
    inner = (stacked @ stacked.T).double().numpy()
    rng, drawn = np.random.default_rng(0), []
    for _ in range(1000):
        i = rng.integers(len(signal), size=len(signal))
        drawn.append(_summary(np.array(noise), np.array(signal), inner, i))
    everything = np.arange(len(signal))
    value = _summary(np.array(noise), np.array(signal), inner, everything)
    ends = np.quantile(drawn, [0.025, 0.975], axis=0)
    names = ("score_noise", "common")
    return {"groups": len(signal), "group_size": size} | {
        name: {"value": value[i], "interval": ends[:, i].tolist()} for i, name in enumerate(names)
    }


def _summary(noise: np.ndarray, signal: np.ndarray, inner: np.ndarray, i: np.ndarray) -> list:
    different = i[:, None] != i
    mean = signal[i].mean()
    return [noise[i].mean() / mean, inner[np.ix_(i, i)][different].mean() / mean]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{found['groups']} groups of {found['group_size']} with two of either kind")
    for name, words in (("score_noise", "V/‖δ‖²"), ("common", "ρ")):
        low, high = found[name]["interval"]
        print(f"{words:8} {found[name]['value']:.3g}, 95 % interval {low:.3g} to {high:.3g}")


if __name__ == "__main__":
    main()
