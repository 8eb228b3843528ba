"""The fit: against the sum over all hidden paths, against a known population, on a real run."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from scipy import linalg, stats

from dissensus.core.difficulty import (
    DEFAULT_MODEL,
    SolveRateModel,
    SolveRatePosterior,
    fit_model,
    neutral_model,
)
from dissensus.errors import InputError


def log_evidence(model, visits):
    """Σ_prompts log P(counts), by enumeration of every path through the states."""
    step = np.eye(model.states) + model.generator
    paths = np.array(list(itertools.product(range(model.states), repeat=len(visits[0]))))
    chance = model.prior[paths[:, 0]] * step[paths[:, :-1], paths[:, 1:]].prod(axis=1)
    k, n = np.array(visits).transpose(2, 0, 1)[..., None]
    shown = stats.binom.pmf(k, n, model.rates)  # (prompts, visits, states)
    along = shown[:, np.arange(paths.shape[1]), paths].prod(axis=2)
    return float(np.log(along @ chance).sum())


def as_rows(visits):
    rows = [(i, k, n) for i, counts in enumerate(visits) for k, n in counts]
    return (np.array(column) for column in zip(*rows, strict=True))


def test_four_states_of_most_likelihood():
    """Ends are not averaged with neighbours, and with 4 states one move in the middle is not."""
    rng = np.random.default_rng(0)
    visits = []
    for rate in rng.choice([0.02, 0.3, 0.8, 1.0], size=30):
        later = min(1.0, rate + 0.3 * rng.integers(0, 2))
        visits.append([(int(rng.binomial(6, p)), 6) for p in (rate, rate, later, later)])
    start = neutral_model(4)
    fitted = fit_model(*as_rows(visits), start=start, strength=1e-6)
    best = log_evidence(fitted, visits)
    assert best > log_evidence(start, visits)
    for name in ("up", "down"):
        for j, factor in itertools.product(range(3), (0.8, 1.25)):
            moves = {each: getattr(fitted, each).copy() for each in ("up", "down")}
            moves[name][j] *= factor
            other = SolveRateModel(fitted.prior, **moves)
            assert log_evidence(other, visits) <= best + 1e-3


def test_a_known_population_is_found():
    rng = np.random.default_rng(0)
    truth = SolveRateModel(np.ones(21), np.full(20, 0.12), np.full(20, 0.03))
    step = linalg.expm(truth.generator).cumsum(axis=1)
    state = rng.integers(0, 21, 500)
    columns = []
    for _ in range(25):
        columns.append(rng.binomial(8, truth.rates[state]))
        state = np.minimum((rng.random((500, 1)) > step[state]).sum(axis=1), 20)
    prompts = np.tile(np.arange(500), 25)
    model = fit_model(prompts, np.concatenate(columns), 8, start=neutral_model())
    middle = slice(4, 16)
    assert model.up[middle].mean() == pytest.approx(0.12, rel=0.25)
    assert model.down[middle].mean() == pytest.approx(0.03, rel=0.5)
    assert model.prior @ model.rates == pytest.approx(0.5, abs=0.05)


def test_strength_keeps_the_start():
    kept = fit_model([0, 0, 1], [0, 8, 8], 8, start=DEFAULT_MODEL, strength=1e9)
    assert kept.up == pytest.approx(DEFAULT_MODEL.up, rel=1e-6)


def test_rows_may_be_mixed_and_of_any_size():
    one = fit_model([5, 9, 5, 9], [1, 0, 12, 3], [1, 4, 64, 4], start=neutral_model())
    two = fit_model([0, 0, 3, 3, 0], [1, 12, 0, 3, 0], [1, 64, 4, 4, 0], start=neutral_model())
    assert one.prior == pytest.approx(two.prior)
    assert np.isfinite(fit_model([0, 0], [0, 4096], 4096, start=neutral_model()).prior).all()


@pytest.mark.parametrize(
    ("arguments", "settings", "text"),
    [
        (([0], [0], 0), {}, "there is no visit"),
        (([0], [2], 1), {}, "correct must not exceed size"),
        (([0], [1], 1), {"strength": 0}, "strength must be > 0"),
        (([0], [1], 1), {"rounds": 0}, "rounds"),
    ],
)
def test_errors(arguments, settings, text):
    with pytest.raises(InputError, match=text):
        fit_model(*arguments, start=neutral_model(), **settings)


# ── a real run ──


@pytest.fixture(scope="module")
def real_counts(shared_data):
    text = (shared_data / "one_shot_rlvr_group_accuracy.json").read_text()
    visits = list(json.loads(text).values())
    counts = np.full((len(visits), max(map(len, visits))), -1)
    for row, accuracies in zip(counts, visits, strict=True):
        row[: len(accuracies)] = np.rint(np.array(accuracies) * 8)
    return counts


def test_the_default_is_what_its_half_of_the_run_gives(real_counts):
    half = real_counts[::2]
    prompt, visit = np.nonzero(half >= 0)
    model = fit_model(prompt, half[prompt, visit], 8, start=neutral_model(), strength=1.0)
    for name in ("prior", "up", "down"):
        assert getattr(DEFAULT_MODEL, name) == pytest.approx(getattr(model, name), abs=2e-4)


def test_unanimity_of_the_other_half_is_foretold(real_counts):
    counts = real_counts[1::2]
    posterior = SolveRatePosterior(len(counts))
    losses, squares = [], []
    for t, column in enumerate(counts.T):
        seen = np.flatnonzero(column >= 0)
        chance = posterior.forecast(8, seen).unanimous.mean
        came = (column[seen] == 0) | (column[seen] == 8)
        if t:
            losses.append(-np.log(np.where(came, chance, 1 - chance)))
            squares.append(np.square(chance - came))
        posterior.update(seen, column[seen], 8)
    assert len(np.concatenate(losses)) == 31393
    assert np.concatenate(losses).mean() <= 0.383
    assert np.concatenate(squares).mean() <= 0.1212
