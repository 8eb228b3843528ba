"""The packaged histogram, against the paper's printed shares and the file it came from."""

from __future__ import annotations

import numpy as np

from dissensus.lab.paper.data import big_math


def test_big_math_has_the_papers_ends():
    counts = big_math()
    assert counts.correct_of_64.tolist() == list(range(65))
    assert counts.problems.sum() == 215_608
    never, always = counts.problems[[0, -1]] / 215_608
    assert (round(100 * never, 1), round(100 * always, 1)) == (4.0, 7.2)


def test_the_packaged_counts_are_those_of_the_source(shared_data):
    source = np.loadtxt(shared_data / "big_math_solve_rates.csv", delimiter=",", skiprows=1)
    assert np.array_equal(np.stack(big_math(), axis=1), source)
