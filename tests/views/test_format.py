"""What numbers and untrusted texts look like."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissensus.views.format import clean_text, fraction, number, one_line, sparkline
from dissensus.views.markup import Markup, tag
from dissensus.views.style import DARK, LIGHT


@given(st.text(max_size=400))
def test_clean_text_holds_nothing_that_steers_a_terminal(text):
    shown = clean_text(text)
    assert all(
        c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in shown
    )


@given(st.text(max_size=400), st.integers(1, 50))
def test_one_line_is_one_line_of_at_most_the_limit(text, limit):
    shown = one_line(text, limit)
    assert len(shown) <= limit
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://e.test\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mx", "⟨009B⟩31mx"),
        ("a\u202eb", "a⟨202E⟩b"),
        ("a\u2066b\u2069", "a⟨2066⟩b⟨2069⟩"),
        ("a\u2028b\u2029c\r\nd\re", "a\nb\nc\nd\ne"),
        ("bell\x07", "bell␇"),
        ("ünï 漢字 😀", "ünï 漢字 😀"),
    ],
)
def test_clean_text_by_example(raw, shown):
    assert clean_text(raw) == shown


def test_a_long_text_is_cut_and_says_by_how_much():
    assert clean_text("x" * 1_000_000, 10) == "xxxxxxxxxx … (999,990 more characters)"


def test_a_fraction_is_never_rounded_to_none_or_all():
    assert fraction(1e-9) == "<0.1 %"
    assert fraction(1 - 1e-9) == ">99 %"
    assert fraction(float("nan")) == "–"


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_numbers_always_have_a_text(value):
    assert number(value)
    assert fraction(value)


def test_a_flat_or_empty_sparkline():
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert sparkline([None, None]) == "  "
    assert sparkline([]) == ""


def test_markup_escapes_what_is_not_markup():
    child = tag("i", "<b>")
    assert tag("p", "<script>", child, title='"><x') == (
        '<p title="&quot;&gt;&lt;x">&lt;script&gt;<i>&lt;b&gt;</i></p>'
    )
    assert isinstance(child, Markup)
    assert not isinstance(child + "<x>", Markup)


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_text_and_lines_have_enough_contrast(palette):
    # WCAG 2.2: 4.5 : 1 for text, 3 : 1 for what must be told apart in a graph.
    def contrast(role, ground="background"):
        pair = sorted((_luminance(palette[role]), _luminance(palette[ground])))
        return (pair[1] + 0.05) / (pair[0] + 0.05)

    for role in ("text", "muted", "link"):
        assert contrast(role) >= 4.5
        assert contrast(role, "panel") >= 4.5
    for role in ("wrong", "correct", "split", "unanimous", "predicted", "reward", "used", "axis"):
        assert contrast(role) >= 3.0


def test_palettes_have_the_same_roles_and_no_colour_twice():
    assert LIGHT.keys() == DARK.keys()
    assert len(set(LIGHT.values())) == len(LIGHT)
