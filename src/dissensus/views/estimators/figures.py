"""The figures of an estimator's page: signature, weight by difficulty, objective, push, mass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dissensus.core.advantages import Signature
from dissensus.core.groups import FloatArray
from dissensus.core.laws import Implications
from dissensus.views.canvas import add_line, new_figure
from dissensus.views.estimators.detail import TENTHS, Detail, Pair
from dissensus.views.estimators.terminal import shown_counts
from dissensus.views.format import clean_text, fraction, number
from dissensus.views.page import Panel
from dissensus.views.style import Theme, palette

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["estimator_panels"]

_ROLES = ("grpo", "used")
_RATE = "solve rate p of the prompt"
# A limit that diverges is cut here, as a multiple of the largest value at the group size shown.
_CAP = 2.5


class _Shown(NamedTuple):
    """One estimator with what is drawn of it."""

    name: str
    scaled_name: str
    role: str
    detail: Detail
    signature: Signature
    found: Implications


def estimator_panels(page: Detail | Pair, *, theme: Theme = "light") -> list[Panel]:
    """Every figure of one estimator, or of two drawn over each other at equal pull.

    Args:
        page: What is shown; an estimator without a signature is left out.
        theme: Colours of the figures.
    """
    drawn = page.drawn if isinstance(page, Pair) else [(page.name, page)]
    shown = [
        _Shown(
            clean_text(each.name, 60),
            clean_text(name, 70),
            role,
            each,
            each.signature,
            each.implied,
        )
        for (name, each), role in zip(drawn, _ROLES, strict=False)
        if each.signature is not None and each.implied is not None
    ]
    if not shown:
        return []
    makers = (_signature, _slope, _objective, _push, _mass)
    return [make(shown, theme) for make in makers]


def _signature(shown: Sequence[_Shown], theme: Theme) -> Panel:
    colour = palette(theme)
    figure = new_figure(theme, "contrast W, push B", x_title="share of correct rollouts, m = k/G")
    rows: list[list[str]] = []
    for name, _, role, detail, signature, found in shown:
        m = (np.arange(detail.group_size + 1) / detail.group_size).tolist()
        figure.add_bar(
            x=m,
            y=signature.contrast.tolist(),
            name=f"W, {name}",
            marker={"color": colour[role]},
            hovertemplate="%{y:.4g}",
        )
        if found.has_push:
            add_line(figure, m, signature.push.tolist(), f"B, {name}", colour[role], dash="dot")
        for k in shown_counts(detail.group_size):
            gains = (signature.positive[k], signature.negative[k])
            sums = (signature.contrast[k], signature.push[k])
            row = [name, str(k), *(_value(each) for each in (*gains, *sums))]
            rows.append([*row, "yes" if found.silent[k] else ""])
    figure.update_layout(barmode="group", bargap=0.3)
    return Panel(
        name="signature",
        title="Signature: what a group with k of G correct gets",
        reading=(
            "Each bar is the contrast W = m(1−m)(A₊ − A₋), with which the update moves the group "
            "from its wrong towards its correct rollouts; no bar and no push is silence."
        ),
        note=(
            "The update of a group is W·Δs + B·s̄. The push B, drawn where a rule has one, raises "
            "or lowers everything that was sampled."
        ),
        figure=figure,
        absent="",
        label=f"Contrast by share of correct rollouts for {_names(shown)}",
        header=["estimator", "k", "A₊", "A₋", "W", "B", "silent"],
        rows=rows,
    )


def _slope(shown: Sequence[_Shown], theme: Theme) -> Panel:
    figure = new_figure(theme, "slope F′(p)", x_title=_RATE)
    for each in shown:
        _curve(figure, each, each.found.slope, each.detail.limit, theme)
    figure.update_yaxes(rangemode="tozero")
    return Panel(
        name="weight",
        title="Weight by difficulty: the slope of what is climbed",
        reading=(
            "The higher the line, the more the rule makes of one more correct rollout on a prompt "
            "of that solve rate; a level line weighs all prompts alike."
        ),
        note=(
            "F′(p) = E[A₊(j+1) − A₋(j)], with j of the other G−1 rollouts correct; without push it "
            f"is E[W]/(p(1−p)). {_limit_note(shown)}"
        ),
        figure=figure,
        absent="",
        label=f"Slope of the implied objective by solve rate for {_names(shown)}",
        header=["solve rate", *(each.scaled_name for each in shown)],
        rows=_rows(shown, [each.found.slope for each in shown]),
    )


def _objective(shown: Sequence[_Shown], theme: Theme) -> Panel:
    figure = new_figure(theme, "objective F(p)", x_title=_RATE)
    for each in shown:
        _curve(figure, each, each.found.objective, each.detail.limit_objective, theme)
    return Panel(
        name="objective",
        title="Implied objective",
        reading="In expectation the rule climbs this function of the solve rate, prompt by prompt.",
        note=(
            "F(p) = ∫₀ᵖ F′, exact for these groups. Its unit is that of the advantage: between "
            f"rules only shapes compare. {_limit_note(shown)} That of large groups is drawn at the "
            "height of the other at p = ½."
        ),
        figure=figure,
        absent="",
        label=f"Implied objective by solve rate for {_names(shown)}",
        header=["solve rate", *(each.scaled_name for each in shown)],
        rows=_rows(shown, [each.found.objective for each in shown]),
    )


def _push(shown: Sequence[_Shown], theme: Theme) -> Panel:
    colour = palette(theme)
    figure = new_figure(theme, "expected, per group", x_title=_RATE)
    for _, name, role, _, _, found in shown:
        p = found.p.tolist()
        add_line(figure, p, found.contrast.tolist(), f"E[W], {name}", colour[role])
        add_line(figure, p, _clean(found.push), f"E[B], {name}", colour[role], dash="dot")
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    columns = [column for each in shown for column in (each.found.contrast, each.found.push)]
    return Panel(
        name="push",
        title="Contrast and push",
        reading=(
            "The solid line moves a prompt's answers apart, right from wrong; the dotted one moves "
            "everything that was sampled up or down, and is zero for a centred rule."
        ),
        note=" ".join(f"Push of {each.name}: {each.detail.push}." for each in shown),
        figure=figure,
        absent="",
        label=f"Expected contrast and push by solve rate for {_names(shown)}",
        header=[
            "solve rate",
            *(f"{w}, {each.scaled_name}" for each in shown for w in ("E[W]", "E[B]")),
        ],
        rows=_rows(shown, columns),
    )


def _mass(shown: Sequence[_Shown], theme: Theme) -> Panel:
    colour = palette(theme)
    figure = new_figure(theme, "share of the gradient", x_title=_RATE)
    shares = [each.found.mass_by_bin() for each in shown]
    for each, share in zip(shown, shares, strict=True):
        figure.add_bar(
            x=[(i + 0.5) / 10 for i in range(10)],
            y=share.tolist(),
            name=each.name,
            marker={"color": colour[each.role]},
            hovertemplate="%{y:.1%}",
        )
    figure.update_layout(barmode="group", showlegend=True)
    figure.update_xaxes(range=[0, 1], tickformat=".0%", dtick=0.2)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return Panel(
        name="mass",
        title="Share of the gradient by difficulty",
        reading="Where the bars are high, there the rule's gradient comes from.",
        note=(
            "Σ|E[W]| in tenths of the solve rate, were prompts spread evenly over it. For prompts "
            "of your own: dissensus.laws.implications(signature, p, prompts)."
        ),
        figure=figure,
        absent="",
        label=f"Share of gradient mass in tenths of the solve rate for {_names(shown)}",
        header=["solve rate", *(each.name for each in shown)],
        rows=[
            [f"{10 * i}–{10 * (i + 1)} %", *(fraction(float(each[i]), digits=1) for each in shares)]
            for i in range(10)
        ],
    )


def _curve(
    figure: Figure, each: _Shown, values: FloatArray, limit: FloatArray, theme: Theme
) -> None:
    """A curve at the group size, and dotted its limit, as far as that stays in sight."""
    colour, p = palette(theme)[each.role], each.found.p.tolist()
    add_line(figure, p, _clean(values), f"{each.scaled_name}, G = {each.detail.group_size}", colour)
    largest = float(np.abs(values).max()) * _CAP
    in_sight = np.where(np.abs(limit) <= largest, limit, np.nan) if len(limit) else limit
    if np.isfinite(in_sight).any():
        add_line(
            figure,
            p,
            _clean(in_sight),
            f"{each.scaled_name}, large G",
            colour,
            dash="dot",
            width=1.5,
        )
    figure.update_xaxes(range=[0, 1], tickformat=".0%")


def _limit_note(shown: Sequence[_Shown]) -> str:
    extrapolated = "extrapolated from 128, 256 and 512, where that is good to 5 %"
    words = [
        f"{each.name}: large groups "
        f"{'in closed form' if each.detail.limit_is_exact else extrapolated}"
        for each in shown
    ]
    return "; ".join(words) + "."


def _rows(shown: Sequence[_Shown], columns: Sequence[FloatArray]) -> list[list[str]]:
    p = shown[0].found.p
    return [
        [fraction(float(p[i])), *(_value(float(column[i])) for column in columns)] for i in TENTHS
    ]


def _clean(values: FloatArray) -> list[float | None]:
    """Numbers for a figure: rounding errors are 0, what is not finite is a gap."""
    return [
        None if not np.isfinite(v) else 0.0 if abs(v) < 1e-12 else float(v) for v in values.tolist()
    ]


def _value(value: float) -> str:
    return "0" if abs(value) < 5e-5 else number(float(value))


def _names(shown: Sequence[_Shown]) -> str:
    return " and ".join(each.name for each in shown)
