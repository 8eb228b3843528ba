"""Predictions against measurements, on outcomes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus.lab.paper import sections
from dissensus.lab.paper.identity import ModelIdentity
from dissensus.lab.paper.language_model import ModelSettings, _Counts, compare

SETTINGS = ModelSettings(prompts=150, resamples=200)
NOTHING = ModelIdentity({}, 0, np.empty(0), np.empty(0), float("nan"))


def outcomes(seed, shift=0.0):
    """Three checkpoints of prompts with known solve rates; `shift` spoils the measured side."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.6, 0.6, size=(3, SETTINGS.prompts))
    pilot = rng.binomial(SETTINGS.pilot, p) / SETTINGS.pilot
    correct = rng.binomial(SETTINGS.samples, p)
    moved = np.clip(p + shift, 0, 1)[..., None]
    measured = rng.random((*p.shape, SETTINGS.measured)) < moved
    return p, _Counts(pilot, correct, measured)


def model_rows(result):
    section = sections.model_section(result)
    return [*section.rows, *section.detail]


def covered(result):
    pairs = [*result.silent.values(), *result.silent_by_checkpoint.values(), *result.mass.values()]
    return all(pair.low <= pair.predicted <= pair.high for pair in pairs)


def test_both_sides_are_the_truth():
    p, counts = outcomes(0)
    found = compare(SETTINGS, (0, 1, 2), counts, NOTHING)
    for G, pair in found.silent.items():
        truth = float((p**G + (1 - p) ** G).mean())
        assert pair.predicted == pytest.approx(truth, abs=0.02)
        assert pair.measured == pytest.approx(truth, abs=0.04)
    for rule in ("grpo", "dr_grpo"):
        for G in SETTINGS.group_sizes:
            shares = [found.mass[rule, G, b] for b in range(5)]
            assert sum(pair.predicted for pair in shares) == pytest.approx(1)
            assert sum(pair.measured for pair in shares) == pytest.approx(1)
    assert min(found.r_squared.values()) > 0.95
    assert found.prompts_in_bin.sum() == pytest.approx(1)
    assert found.rollouts == 3 * 150 * (16 + 64 + 64)


def test_a_prediction_is_no_printed_number():
    # Nothing was rounded on either side, so nothing is added to the intervals.
    found = compare(SETTINGS, (0, 1, 2), outcomes(0, shift=0.1)[1], NOTHING)
    rows = [row for row in model_rows(found) if row.expected is not None]
    assert any(row.verdict == "outside" for row in rows)
    for row in rows:
        assert (row.verdict == "inside") == (row.low <= row.expected <= row.high)


def test_intervals_hold_together_as_often_as_they_say():
    # Two families at 95 %: all of it holds in at least 90 of 100, give or take sampling.
    held = [covered(compare(SETTINGS, (0, 1, 2), outcomes(seed)[1], NOTHING)) for seed in range(30)]
    assert sum(held) >= 24


def test_a_model_that_moved_in_between_is_noticed():
    result = compare(SETTINGS, (0, 1, 2), outcomes(0, shift=0.1)[1], NOTHING)
    assert not covered(result)


TINY = ModelSettings(
    group_sizes=(4, 8), steps=1, prompts=6, pilot=2, samples=8, measured=8, identity_groups=6,
    resamples=50,
)  # fmt: skip


def test_a_model_is_sampled_and_its_identity_holds(monkeypatch):
    pytest.importorskip("trl")
    from dissensus.lab import model
    from dissensus.lab.paper import language_model

    checkpoints = [model.CHECKPOINT, model.CHECKPOINT]
    monkeypatch.setattr(language_model, "_train", lambda *_: checkpoints)
    told = []
    found = language_model.measure_model(TINY, told.append)
    assert found.steps == (0, 1)
    assert found.rollouts == 2 * 6 * 18
    assert max(found.identity.error.values()) < 1e-5
    assert len(found.identity.std) == len(found.identity.norm) > 0
    assert any("checkpoint 2 of 2" in line for line in told)


@pytest.mark.slow
def test_the_language_model_is_measured_from_end_to_end():
    pytest.importorskip("trl")
    from dissensus.lab.paper.language_model import measure_model

    told = []
    assert measure_model(TINY, told.append).steps == (0, 1)
    assert any("step 1 of 1" in line for line in told)
