"""What counts as agreement, and how the comparison is shown."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dissensus.views.paper import Comparison, Section, paper_view, totals
from dissensus.views.paper_page import paper_page
from dissensus.views.series import Axis, Series, series_panel


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Comparison("n", 5, 5.26), "same"),  # 5.26 is printed as 5
        (Comparison("n", 5, 5.51), "differs"),
        (Comparison("f", 0.247, 0.2465, 1, "%"), "same"),
        (Comparison("f", 0.247, 0.2464, 1, "%"), "differs"),
        (Comparison("i", 0.88, 0.898, 2, low=0.8851, high=0.909), "outside"),
        (Comparison("i", 0.88, 0.898, 2, low=0.8849, high=0.909), "inside"),
        (Comparison("m", 0.2004, 0.22, 1, "%", 0.2006, 0.24), "inside"),
        (Comparison("m", 0.2004, 0.22, 1, "%", 0.2006, 0.24, is_rounded=False), "outside"),
        (Comparison("l", 1e-5, 9e-6, unit="limit"), "met"),
        (Comparison("l", 1e-5, 1.1e-5, unit="limit"), "missed"),
        (Comparison("o", None, 0.3, 1), "ours only"),
    ],
)
def test_agreement_is_about_what_is_printed(row, verdict):
    assert row.verdict == verdict


def test_numbers_are_shown_in_their_digits():
    row = Comparison("f", 0.17, 0.1698, 1, "%", 0.15874, 0.18091)
    assert (row.shown(row.expected), row.shown_found) == ("17.0 %", "16.98 %")
    assert row.shown_interval == "[15.87, 18.09]"
    assert row.shown_difference == "−0.02 points"
    assert Comparison("n", None, -1234.5).shown(-1234.6) == "−1,235"
    assert Comparison("n", None, 1.0).shown_difference == "–"
    assert Comparison("n", 1.0, float("nan")).shown_difference == "–"


SECTIONS = [
    Section(
        "one",
        "Numbers <of> one kind",
        "What they are.",
        [
            Comparison("a name that is long enough to need a second line here", 0.5, 0.5, 1, "%"),
            Comparison("other", 0.88, 0.9, 2, low=0.89, high=0.91, why="the reason"),
        ],
        detail=[Comparison("kept for the page", 7, 7)],
    ),
    Section("two", "Not there", "", absent="no such file"),
]


def test_the_terminal_fits_80_columns_and_says_agreement_in_words():
    out = io.StringIO()
    Console(file=out, width=80, markup=False, highlight=False).print(paper_view(SECTIONS))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for word in (
        "same",
        "outside",
        "the reason",
        "no such file",
        "Paper and ours: 2 of 3",
        "1 does not",
    ):
        assert word in text
    assert "kept for the page" not in text
    assert "and 1 more number, of which 1 agree" in text
    assert totals(SECTIONS[1:]) == []


def test_the_page_puts_tables_before_figures_and_keeps_every_number():
    panel = series_panel(
        name="figure-1",
        title="A figure",
        reading="How to read it.",
        series=[
            Series("line", [1, 2], [0.1, None], "grpo", low=[0.0, 0.1], high=[0.2, 0.3]),
            Series("bars", ["a"], [0.5], "dr_grpo", "bars", low=[0.4], high=[0.7], group="b"),
        ],
        x=Axis("x", log=True, span=(1, 100), ticks=(1, 10)),
        y=Axis("y", percent=True),
    )
    page = paper_page(SECTIONS, [panel], paper="arXiv:1", title="Title")
    assert "Numbers &lt;of&gt; one kind" in page
    assert page.index("kept for the page") < page.index("plot-figure-1")
    for text in (
        "the reason",
        "[0.890, 0.910]",
        "+0.020",
        "no such file",
        "2 of 3 numbers agree, 1 does not",
    ):
        assert text in page
    bars = panel.figure.data[-1]
    assert bars.error_y.array == pytest.approx((0.2,))
    assert bars.error_y.arrayminus == pytest.approx((0.1,))
    assert panel.figure.layout.xaxis.range == (0, 2)
    assert panel.rows[1] == ["line", "2.00", "–"]
