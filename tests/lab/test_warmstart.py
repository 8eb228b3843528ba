"""The script that makes the checkpoint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open

from dissensus.lab import warmstart
from dissensus.lab.model import CHECKPOINT, load_model
from dissensus.lab.warmstart import RECIPE, Phase, Recipe, corrupt, recipe_hash, warm_start

SHORT = Recipe(
    phases=(
        Phase(seed=0, steps=3, learning_rate=3e-3, warmup_steps=2),
        Phase(seed=1, steps=2, learning_rate=1e-3, warmup_steps=1, noise={"chain": (0.5,) * 4}),
    ),
    batch_size=16,
    threads=1,
)


def test_the_packaged_weights_were_made_by_the_recipe_in_the_script():
    with safe_open(CHECKPOINT, "pt") as file:
        assert file.metadata()["recipe"] == recipe_hash(RECIPE)


def test_the_same_recipe_gives_the_same_weights():
    import torch

    one, two = warm_start(SHORT).state_dict(), warm_start(SHORT).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_phase_can_start_from_where_the_last_one_ended():
    import torch

    first = warm_start(replace(SHORT, phases=SHORT.phases[:1]))
    joined = warm_start(replace(SHORT, phases=SHORT.phases[1:]), start=first).state_dict()
    whole = warm_start(SHORT).state_dict()
    assert all(torch.equal(joined[name], whole[name]) for name in whole)


def test_the_loss_falls():
    losses = []
    phase = Phase(seed=0, steps=15, learning_rate=3e-3, warmup_steps=5)
    warm_start(
        Recipe(phases=(phase,), batch_size=32, threads=1),
        on_step=lambda _, loss: losses.append(loss),
    )
    assert len(losses) == 15
    assert losses[-1] < 0.8 * losses[0]


def test_noise_replaces_digits_and_nothing_else():
    rng = np.random.default_rng(0)
    text = "12 9 18" * 400
    noisy = corrupt(text, 0.5, rng)
    changed = [a != b for a, b in zip(text, noisy, strict=True) if a != " "]
    assert [a == " " for a in text] == [b == " " for b in noisy]
    # Half the digits are drawn anew, and a tenth of those come out the same: 0.45.
    assert np.mean(changed) == pytest.approx(0.45, abs=0.04)
    assert corrupt(text, 0.0, rng) == text


@pytest.mark.slow
def test_the_script_makes_the_packaged_weights(tmp_path):
    out = tmp_path / "model.safetensors"
    assert warmstart.main(["--out", str(out)]) == 0
    # Bit-identical on the processor they were made on; elsewhere sums are ordered otherwise.
    ours, theirs = load_model(out).state_dict(), load_model().state_dict()
    relative = [float((ours[n] - theirs[n]).norm() / theirs[n].norm()) for n in ours]
    assert max(relative) < 0.5
