"""What is read off a held-out curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissensus.lab.bench.measures import area, first_crossing, rates_at, rising, spent_at

from .simulated import exact_record


@pytest.fixture
def record():
    return exact_record([[0.0, 0.4], [0.5, 0.6], [0.7, 1.0]], generated=[0, 50, 100])


def test_rates_are_linear_between_evaluations(record):
    found = rates_at(record, [0.0, 0.25, 0.5, 1.0])
    assert found.tolist() == pytest.approx(
        np.array([[0.0, 0.4], [0.25, 0.5], [0.5, 0.6], [0.7, 1.0]])
    )


def test_after_the_last_evaluation_nothing_changes(record):
    short = replace(record, budget=200)
    assert rates_at(short, [0.5, 0.8, 1.0]).tolist() == [[0.7, 1.0]] * 3


def test_the_area_is_that_of_trapezoids(record):
    # (.0 + .5) / 2 · ½ + (.5 + .7) / 2 · ½ and (.4 + .6) / 2 · ½ + (.6 + 1) / 2 · ½
    assert area(record).tolist() == pytest.approx([0.425, 0.65])


def test_unused_budget_counts_at_the_last_rate(record):
    # Half of the area above over half of the budget, and the last rate over the other half.
    found = area(replace(record, budget=200))
    assert found.tolist() == pytest.approx([0.425 / 2 + 0.7 / 2, 0.65 / 2 + 1.0 / 2])


def test_what_was_spent_is_linear_too(record):
    assert spent_at(record, "seconds", [0.0, 0.75]).tolist() == [0.0, 75.0]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12))
def test_the_smoothed_curve_is_the_nearest_one_that_never_falls(values):
    fitted = rising(values)
    assert (np.diff(fitted) >= -1e-9).all()
    assert fitted.sum() == pytest.approx(sum(values), abs=1e-6)
    # Moreau: the residual is orthogonal to the fit, and points away from every rising curve.
    residual = np.array(values) - fitted
    assert residual @ fitted == pytest.approx(0.0, abs=1e-6)
    steps = np.triu(np.ones((len(values), len(values))))  # each steps up once and stays
    assert (steps @ residual <= 1e-6).all()


def test_the_first_crossing_is_interpolated():
    assert first_crossing([0.0, 0.5, 1.0], [0.1, 0.3, 0.5], 0.4) == pytest.approx(0.75)
    assert first_crossing([0.0, 0.5, 1.0], [0.1, 0.3, 0.5], 0.5) == 1.0
    assert first_crossing([0.0, 1.0], [0.5, 0.6], 0.4) == 0.0
    assert first_crossing([0.0, 1.0], [0.1, 0.2], 0.3) is None


def test_a_curve_always_reaches_its_own_end():
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.random(11)
        assert first_crossing(np.linspace(0, 1, 11), values, float(values[-1])) is not None
