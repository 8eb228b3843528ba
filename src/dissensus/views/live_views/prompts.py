"""Every prompt of a run: a table, a cloud, and the visits of one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dissensus.core import laws
from dissensus.runs.scan import quote
from dissensus.views.canvas import add_line, new_figure
from dissensus.views.correctness import not_shown
from dissensus.views.format import clean_text, count, number, one_line, plural
from dissensus.views.live_views.making import absent, code, plain
from dissensus.views.live_views.rolled import correctness_unknown
from dissensus.views.live_views.sampling import extremes_of_cells
from dissensus.views.live_views.shape import Grid, Shown
from dissensus.views.live_views.source import LiveSource
from dissensus.views.style import Theme, palette

__all__ = ["ONLY", "SORTS", "make_history", "make_prompts", "make_scatter"]

SORTS = (
    "visits", "splits", "rollouts", "solve_rate", "reward_mean", "trend", "last", "forecast",
    "contrast", "last_step", "prompt_id",
)  # fmt: skip
ONLY = {"all": "true", "never split": "splits = 0", "split": "splits > 0"}
"""Which prompts → their condition."""

_NOTHING = "Not shown: no scored training group has been recorded yet."
_TEXT_CHARS = 160
_LONG_CHARS = 4000
_COVERAGE = 0.95
_CELLS = 48

# With t the step and n the scored rollouts of a visit, the straight line through k/n has slope
# [Σn Σkt − Σnt Σk] / [Σn Σnt² − (Σnt)²]. The last group is taken whole: arg_max passes over what
# is null, and would pair the size of one group with the correct rollouts of another.
_PROMPTS = """
SELECT * EXCLUDE (last_group) FROM (SELECT prompt_id, sum(groups)::BIGINT AS visits,
    sum(groups - unanimous)::BIGINT AS splits, sum(rollouts)::BIGINT AS rollouts,
    sum(size * groups)::BIGINT AS n,
    CASE WHEN bool_and(correct IS NOT NULL) THEN sum(correct * groups)::BIGINT END AS k,
    k / n AS solve_rate, sum(reward_sum) / n AS reward_mean,
    CASE WHEN visits >= 3 AND max(last_step) > min(first_step) THEN
        (n * sum(correct * step_sum) - sum(size * step_sum) * k)
        / nullif(n * sum(size * step_square_sum) - sum(size * step_sum) ** 2, 0)
        * (max(last_step) - min(first_step)) END AS trend,
    arg_max({'size': size, 'correct': correct}, last_generation) AS last_group,
    last_group['size'] AS last_size, last_group['correct'] AS last_correct,
    last_correct / last_size AS last,
    CASE WHEN sum(unrecorded) = 0 THEN coalesce(sum(contrast), 0) END AS contrast,
    min(first_step) AS first_step, max(last_step) AS last_step
FROM prompt_outcomes GROUP BY prompt_id) ORDER BY prompt_id"""


def make_prompts(source: LiveSource, theme: Theme, **given: Any) -> Shown:  # noqa: ARG001
    """Table of the prompts: what each cost, showed and contributed."""
    python = code("prompts", source, given)
    table = source.remember("prompts", lambda: _prompts(source))
    order = [given[name] for name in ("only", "sort", "descending", "filter", "low", "high")]
    chosen = table.take(
        _remembered_of(source, table, ("order", *order), lambda: _chosen(source, table, given))
    )
    part = chosen.slice(given["offset"], given["limit"]).to_pylist()
    texts = source.prompt_texts((row["prompt_id"] for row in part), 4 * _TEXT_CHARS)
    low, high = _intervals(source, part)
    listed = []
    for row, least, most in zip(part, low, high, strict=True):
        text = texts.get(row["prompt_id"])
        shown = None if text is None or text.prompt is None else text.prompt.start
        listed.append(
            [
                [one_line(shown or row["prompt_id"], _TEXT_CHARS), row["prompt_id"]],
                row["visits"], row["splits"], row["rollouts"], row["solve_rate"], least, most,
                row["trend"], _of(row["last_correct"], row["last_size"]),
                row["forecast"], row["contrast"], row["last_step"],
            ]
        )  # fmt: skip
    grid = Grid(
        [
            ("prompt_id", "prompt", "link"), ("visits", "visits", "int"),
            ("splits", "split", "int"), ("rollouts", "rollouts", "int"),
            ("solve_rate", "solve rate", "frac"),
            ("low", "from", "frac"), ("high", "to", "frac"), ("trend", "trend", "frac"),
            ("last", "last group", "text"), ("forecast", "split next", "frac"),
            ("contrast", "contrast", "number"), ("last_step", "last step", "int"),
        ],
        listed,
        chosen.num_rows,
    )  # fmt: skip
    return Shown(None, grid, _table_note(source, table), chosen, python)


def make_scatter(source: LiveSource, theme: Theme, **given: Any) -> Shown:
    """Solve rate of every prompt against the contrast it contributed."""
    python = code("scatter", source, given)
    table = source.remember("prompts", lambda: _prompts(source))
    if not table.num_rows:
        return absent(_NOTHING, python)
    why = correctness_unknown(source)
    if why is not None:
        return absent(not_shown(why), python)
    known = table.filter(pc.is_valid(table["contrast"]))
    if not known.num_rows:
        return absent("Not shown: the advantages in use were not recorded.", python)
    rate, contrast = (
        np.asarray(known[n].to_numpy(), np.float64) for n in ("solve_rate", "contrast")
    )
    kept = extremes_of_cells(rate, contrast, given["cells"])
    some = known.take(pa.array(kept))
    colour = palette(theme)
    figure = new_figure(theme, "contrast contributed", x_title="solve rate")
    figure.add_scatter(
        x=rate[kept].tolist(),
        y=contrast[kept].tolist(),
        customdata=[[each] for each in some["prompt_id"].to_pylist()],
        mode="markers",
        marker={"color": colour["split"], "size": 6, "opacity": 0.7},
        name="prompt",
        hovertemplate="solve rate %{x:.1%}<br>contrast %{y:.3g}<extra></extra>",
    )
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(range=[-0.02, 1.02], tickformat=".0%")
    note = f"Σ W of the trained groups of {plural(known.num_rows, 'prompt')}."
    if len(kept) < known.num_rows:
        note += f" {count(len(kept))} of them are drawn: of every spot one, and all outermost ones."
    csv = known.select(["prompt_id", "visits", "rollouts", "solve_rate", "contrast"])
    return Shown(plain(figure), None, note, csv, python)


def make_history(source: LiveSource, theme: Theme, **given: Any) -> Shown:
    """The groups of one prompt over time."""
    prompt_id = given["prompt_id"]
    python = code("history", source, given)
    visits = source.remember(("visits", prompt_id), lambda: source.visits(prompt_id))
    text = source.prompt_texts([prompt_id], _LONG_CHARS).get(prompt_id)
    more = {"prompt_id": clean_text(prompt_id, 80)}
    if text is not None:
        excerpts = {"prompt": text.prompt, "reference": text.reference}
        more |= {n: e.shown(_LONG_CHARS) for n, e in excerpts.items() if e is not None}
    if not visits.num_rows:
        shown = absent("No group of this prompt has been recorded.", python)
        return shown._replace(more=more)
    listed = visits.to_pylist()
    figure = _history_figure(listed, theme)
    window = listed[given["offset"] : given["offset"] + given["limit"]]
    grid = Grid(
        [
            ("group_id", "group", "link"), ("step", "step", "int"), ("split", "set", "text"),
            ("outcome", "correct", "text"), ("mean", "mean reward", "number"),
            ("std", "σ", "number"), ("contrast", "contrast", "number"),
            ("trained", "trained", "int"), ("length_mean", "mean length", "number"),
        ],
        [
            [
                [one_line(row["group_id"], 40), row["group_id"], row["generation"]],
                row["step"], one_line(row["split"], 20), outcome(row), row["mean"], row["std"],
                row["contrast"], row["trained"], row["length_mean"],
            ]
            for row in window
        ],
        len(listed),
    )  # fmt: skip
    return Shown(plain(figure), grid, _history_note(source, listed), visits, python, more)


def outcome(row: dict[str, Any]) -> str | None:
    """What a group showed, as k of n."""
    return "unscored" if row["size"] == 0 else _of(row["correct"], row["size"])


def _of(correct: int | None, size: int) -> str | None:
    return None if correct is None else f"{correct} of {size}"


def _history_figure(listed: list[dict[str, Any]], theme: Theme) -> Any:
    is_known = all(row["correct"] is not None for row in listed if row["size"])
    figure = new_figure(theme, "solve rate of the group" if is_known else "mean reward")
    colour = palette(theme)
    for name, role in (("training", "split"), ("evaluation", "heldout")):
        some = [
            row
            for row in listed
            if row["size"] and (row["split"] == "train") == (name == "training")
        ]
        if not some:
            continue
        values = [row["correct"] / row["size"] if is_known else row["mean"] for row in some]
        add_line(figure, [row["step"] for row in some], values, name, colour[role], width=1.2)
        figure.data[-1].mode = "lines+markers"
        figure.data[-1].customdata = [[row["group_id"], row["generation"]] for row in some]
    if is_known:
        figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    return figure


def _history_note(source: LiveSource, listed: list[dict[str, Any]]) -> str:
    training = [row for row in listed if row["split"] == "train" and row["size"]]
    text = f"{plural(len(training), 'training group')}."
    if not training or any(row["correct"] is None for row in training):
        return text
    last = training[-1]
    row = {
        "k": sum(r["correct"] for r in training),
        "n": sum(r["size"] for r in training),
        "last_size": last["size"],
    }
    low, high = (end[0] for end in _intervals(source, [row]))
    text += f" Solve rate {row['k']} of {row['n']}"
    if low is None or high is None:
        return f"{text}."
    return f"{text}, {number(100 * low)}–{number(100 * high)} % (95 %)."


# ---- what the table is made of ---------------------------------------------------------------


def _prompts(source: LiveSource) -> pa.Table:
    table = source.sql(_PROMPTS)
    prior = _prior(source)
    if prior is None or table["k"].null_count:
        return table.append_column("forecast", pa.nulls(table.num_rows, pa.float64()))
    k, n, size = (table[name].to_numpy() for name in ("k", "n", "last_size"))
    a, b = prior  # b can be 1e-17: n - k first, or it is lost
    split = 1.0 - laws.beta_unanimous_rate(a + k, b + (n - k), size)
    return table.append_column("forecast", pa.array(split, pa.float64()))


def _prior(source: LiveSource) -> laws.BetaFit | None:
    """A Beta distribution of solve rates over the training groups of the run."""

    def fit() -> laws.BetaFit | None:
        if correctness_unknown(source) is not None:
            return None
        found = source.sql(
            """SELECT size, correct, sum(groups)::BIGINT AS groups FROM outcomes
            WHERE split = 'train' GROUP BY size, correct ORDER BY size, correct"""
        )
        size, correct, groups = (found[n].to_numpy() for n in ("size", "correct", "groups"))
        if not len(size) or size.max() < 2:
            return None
        return laws.fit_beta(correct, size, weights=groups)

    return source.remember("prior", fit)


def _intervals(
    source: LiveSource, part: list[dict[str, Any]]
) -> tuple[list[float | None], list[float | None]]:
    prior = _prior(source)
    if prior is None or any(row["k"] is None for row in part):
        return [None] * len(part), [None] * len(part)
    from scipy.special import betaincinv

    k, n = (np.array([row[name] for row in part], dtype=np.float64) for name in ("k", "n"))
    tail = (1.0 - _COVERAGE) / 2.0
    low, high = (betaincinv(prior[0] + k, prior[1] + (n - k), q) for q in (tail, 1.0 - tail))
    return low.tolist(), high.tolist()


def _chosen(source: LiveSource, table: pa.Table, given: dict[str, Any]) -> pa.ChunkedArray:
    """Rows of the prompts that are asked for, in the order that is asked for.

    Many orders are remembered, so they hold numbers and not the rows themselves.
    """
    condition = _condition(given)
    order = f"{given['sort']} {'DESC' if given['descending'] == 'yes' else 'ASC'} NULLS LAST"
    query = f"SELECT place FROM given WHERE {condition} ORDER BY {order}, prompt_id"  # noqa: S608
    places = pa.array(np.arange(table.num_rows, dtype=np.int32))
    asked = table.append_column("place", places)
    if given["filter"]:
        key = ("filter", given["filter"])
        found = _remembered_of(source, table, key, lambda: _has_text(source, table, key[1]))
        asked = asked.append_column("has_text", found)
    return source.sql_over(asked, query)["place"]


def _remembered_of(
    source: LiveSource, table: pa.Table, key: tuple[Any, ...], make: Callable[[], pa.ChunkedArray]
) -> pa.ChunkedArray:
    """What is remembered of the rows of this very table.

    The run may have grown since the table was made: places in it are none in the next one. The
    table is held with them, so that no other can get its id.
    """
    _, found = source.remember((*key, id(table)), lambda: (table, make()))
    return found


def _condition(given: dict[str, Any]) -> str:
    conditions = [ONLY[given["only"]]]
    if given["low"] is not None:
        conditions.append(f"solve_rate >= {float(given['low'])!r}")
    if given["high"] is not None:
        conditions.append(f"solve_rate <= {float(given['high'])!r}")
    if given["filter"]:
        named = f"contains(lower(prompt_id), lower({quote(given['filter'])}))"
        conditions.append(f"({named} OR has_text)")
    return " AND ".join(conditions)


def _has_text(source: LiveSource, table: pa.Table, wanted: str) -> pa.ChunkedArray:
    """(P,) whether the recorded text of a prompt has this in it."""
    found = source.run.sql(
        f"""SELECT DISTINCT prompt_id FROM prompts
        WHERE contains(lower(prompt), lower({quote(wanted)}))"""  # noqa: S608 — quoted
    )
    return pc.is_in(table["prompt_id"], value_set=found["prompt_id"])


def _table_note(source: LiveSource, table: pa.Table) -> str:
    note = (
        f"{plural(table.num_rows, 'training prompt')}. Split: visits whose rewards "
        "differed. Trend: change of the solve rate from the "
        "first to the last visit along a straight line. Contrast: Σ W of trained groups."
    )
    prior = _prior(source)
    if prior is None:
        return note
    if prior.is_boundary:
        note += (
            " Every group is unanimous, or all prompts are alike: the fit lies at its edge, and "
            "from and to are too near each other."
        )
    return (
        f"{note} From, to and split next: 95 % interval, and chance that the next group of this "
        f"size has both outcomes, under Beta({number(prior[0])}, {number(prior[1])}) fitted to "
        "the run and the prompt's own counts, as if its solve rate stood still."
    )
