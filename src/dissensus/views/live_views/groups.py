"""The groups of a step, and one group: its completions side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dissensus.views.canvas import new_figure
from dissensus.views.format import clean_text, count, one_line, plural
from dissensus.views.live_views.difference import spans
from dissensus.views.live_views.making import absent, code, plain
from dissensus.views.live_views.prompts import outcome
from dissensus.views.live_views.sampling import extremes_of_cells
from dissensus.views.live_views.shape import Grid, Shown
from dissensus.views.live_views.source import LiveSource
from dissensus.views.queries import IS_TRAIN, rows
from dissensus.views.style import Theme, palette

__all__ = ["STEP_SORTS", "make_group", "make_step", "make_taught"]

STEP_SORTS = ("std", "contrast", "mean", "prompt_id", "length_mean")
_MOST_GENERATIONS = 16
_TEXT_CHARS = 120
_LONG_CHARS = 20_000
_CELLS = 40


def make_step(source: LiveSource, theme: Theme, **given: Any) -> Shown:
    """The groups of one step: where they disagree, and where not."""
    python = code("step", source, given)
    place = _nearest_step(source, given["step"])
    if place is None:
        return absent("Not shown: no group has been recorded yet.", python)
    step, generations = place
    table = source.remember(("step", step), lambda: _groups_of(source, generations))
    direction = "descending" if given["descending"] == "yes" else "ascending"
    table = table.sort_by([(given["sort"], direction), ("group_id", "ascending")])
    part = table.slice(given["offset"], given["limit"]).to_pylist()
    texts = source.prompt_texts((row["prompt_id"] for row in part), 4 * _TEXT_CHARS)
    grid = Grid(
        [
            ("group_id", "group", "link"), ("prompt", "prompt", "text"), ("split", "set", "text"),
            ("outcome", "correct", "text"), ("mean", "mean reward", "number"),
            ("std", "σ", "number"), ("kind", "rewards", "text"), ("contrast", "contrast", "number"),
            ("trained", "trained", "int"), ("length_mean", "mean length", "number"),
        ],
        [
            [
                [one_line(row["group_id"], 40), row["group_id"], row["generation"]],
                _prompt_of(row, texts), one_line(row["split"], 20), outcome(row), row["mean"],
                row["std"], _kind(row), row["contrast"], row["trained"], row["length_mean"],
            ]
            for row in part
        ],
        table.num_rows,
    )  # fmt: skip
    note = f"Step {count(step)}: {plural(table.num_rows, 'group')}"
    note += f" in {plural(len(generations), 'generation')}; a larger point stands for more of them."
    if step != given["step"]:
        note += f" Step {count(given['step'])} has no groups; this is the nearest that has."
    if len(generations) == _MOST_GENERATIONS:
        note += " Only the first generations are shown."
    more = {"step": step} | _neighbour_steps(source, step)
    return Shown(plain(_step_figure(table, theme)), grid, note, table, python, more)


def make_taught(source: LiveSource, theme: Theme, **given: Any) -> Shown:  # noqa: ARG001
    """The groups that weighed most in the update, of all steps."""
    python = code("taught", source, given)
    query = f"""SELECT * EXCLUDE (last_step) FROM tops
        ORDER BY weight DESC, generation DESC, group_id LIMIT {int(given["limit"])}"""  # noqa: S608
    table = source.sql(query)
    if not table.num_rows:
        why = "no group with a contrast has been trained on, or advantages were not recorded"
        return absent(f"Not shown: {why}.", python)
    listed = table.to_pylist()
    texts = source.prompt_texts((row["prompt_id"] for row in listed), 4 * _TEXT_CHARS)
    grid = Grid(
        [
            ("group_id", "group", "link"), ("prompt", "prompt", "text"), ("step", "step", "int"),
            ("outcome", "correct", "text"), ("mean", "mean reward", "number"),
            ("std", "σ", "number"), ("contrast", "contrast", "number"),
            ("trained", "trained", "int"), ("weight", "n·|W|", "number"),
        ],
        [
            [
                [one_line(row["group_id"], 40), row["group_id"], row["generation"]],
                _prompt_of(row, texts), row["step"], outcome(row), row["mean"], row["std"],
                row["contrast"], row["trained"], row["weight"],
            ]
            for row in listed
        ],
        table.num_rows,
    )  # fmt: skip
    note = (
        "By n·|W|: n trained rollouts times the contrast W that their advantages gave the group. "
        "Among equals, of which right-or-wrong rewards make many, the newest comes first."
    )
    return Shown(None, grid, note, table, python)


def make_group(source: LiveSource, theme: Theme, **given: Any) -> Shown:  # noqa: ARG001
    """One group: every completion with what it got, against the best of its siblings."""
    python = code("group", source, given)
    group_id, generation = given["group_id"], given["generation"]
    if generation is None:
        found = source.run.groups(columns=["generation", "group_id"])
        found = found.filter(pc.equal(found["group_id"], group_id))
        if not found.num_rows:
            return absent("There is no group of this name.", python)
        generation = found["generation"][found.num_rows - 1].as_py()
    listed = source.groups(generation).to_pylist()
    head = next((row for row in listed if row["group_id"] == group_id), None)
    if head is None:
        return absent("There is no group of this name in this generation.", python)
    members = source.run.rollouts(generation=generation, group_id=group_id)
    texts = source.prompt_texts([head["prompt_id"]], _LONG_CHARS).get(head["prompt_id"])
    more: dict[str, Any] = {
        "step": head["step"], "generation": generation, "split": one_line(head["split"], 40),
        "prompt_id": head["prompt_id"], "outcome": outcome(head), "kind": _kind(head),
        "std": head["std"], "contrast": head["contrast"],
        "previous": _neighbour(source, listed, head, -1),
        "next": _neighbour(source, listed, head, 1),
    }  # fmt: skip
    if texts is not None:
        excerpts = {"prompt": texts.prompt, "reference": texts.reference}
        more |= {n: e.shown(_LONG_CHARS) for n, e in excerpts.items() if e is not None}
    note = "Marked: words that differ from the best completion (the one of the highest reward)."
    if members.num_rows == 0:
        note = "The rollouts of this group were not kept."
    elif members["completion"].null_count == members.num_rows:
        note = "The texts of this group were not recorded, or given up for the text budget."
    grid = _members_grid(members.slice(0, given["limit"]).to_pylist(), members.num_rows)
    return Shown(None, grid, note, members, python, more)


def _members_grid(members: list[dict[str, Any]], total: int) -> Grid:
    functions = list(dict.fromkeys(f for m in members for f, _ in m["rewards_by_function"] or []))
    scored = [m for m in members if m["reward"] is not None and m["completion"] is not None]
    best = max(scored, key=lambda m: (m["reward"], -m["row"]), default=None)
    against = None if best is None else clean_text(best["completion"], _LONG_CHARS)
    listed = []
    for member in members:
        text = member["completion"]
        shown = None if text is None else clean_text(text, _LONG_CHARS)
        parts = dict(member["rewards_by_function"] or [])
        listed.append(
            [
                None if shown is None else spans(shown, shown if member is best else against),
                member["reward"], *(parts.get(name) for name in functions),
                member["advantage_used"], _weight(member), member["length"],
                None if member["truncated"] is None else ("cut off" if member["truncated"] else ""),
                "best" if member is best else "",
            ]
        )  # fmt: skip
    return Grid(
        [
            ("completion", "completion", "spans"), ("reward", "reward", "number"),
            *((f"reward_{i}", one_line(name, 40), "number") for i, name in enumerate(functions)),
            ("advantage", "advantage", "number"), ("weight", "weight", "number"),
            ("length", "length", "int"), ("truncated", "truncated", "text"), ("best", "", "text"),
        ],
        listed,
        total,
    )  # fmt: skip


def _weight(member: dict[str, Any]) -> float | None:
    """By which factor the advantage in use differs from the framework's own."""
    used, own = member["advantage_used"], member["advantage_framework"]
    return None if used is None or not own else used / own


def _kind(row: dict[str, Any]) -> str:
    if row["size"] == 0:
        return "unscored"
    if not row["unanimous"]:
        return "split"
    if row["correct"] is None:
        return "unanimous"
    return {0: "all wrong", row["size"]: "all correct"}.get(row["correct"], "unanimous")


def _prompt_of(row: dict[str, Any], texts: dict[str, Any]) -> str | None:
    text = texts.get(row["prompt_id"])
    if text is not None and text.prompt is not None:
        return one_line(text.prompt.start, _TEXT_CHARS)
    return None if row["prompt_id"] is None else one_line(row["prompt_id"], _TEXT_CHARS)


def _groups_of(source: LiveSource, generations: list[int]) -> pa.Table:
    return pa.concat_tables([source.groups(each) for each in generations])


def _nearest_step(source: LiveSource, wanted: int) -> tuple[int, list[int]] | None:
    found = rows(
        source,
        f"""SELECT step, generation FROM generations
        WHERE step = (SELECT arg_min(step, (abs(step - {int(wanted)}), step)) FROM generations)
        ORDER BY split <> 'train', generation LIMIT {_MOST_GENERATIONS}""",  # noqa: S608
    )
    return (found[0]["step"], [row["generation"] for row in found]) if found else None


def _neighbour_steps(source: LiveSource, step: int) -> dict[str, int | None]:
    found = rows(
        source,
        f"""SELECT max(step) FILTER (step < {step}) AS previous,
            min(step) FILTER (step > {step}) AS next FROM generations""",  # noqa: S608
    )
    return found[0]


def _neighbour(
    source: LiveSource, listed: list[dict[str, Any]], head: dict[str, Any], way: int
) -> dict[str, Any] | None:
    """The next split training group, or the one before, in the order of the run."""
    names = [row["group_id"] for row in listed]
    place = names.index(head["group_id"])
    rest = listed[place + 1 :] if way > 0 else listed[:place][::-1]
    found = next(filter(_is_split, rest), None)
    if found is None:
        before, order = (">", "ASC") if way > 0 else ("<", "DESC")
        nearest = rows(
            source,
            f"""SELECT generation FROM generations
            WHERE {IS_TRAIN} AND scored > unanimous
                AND (step, generation) {before} ({head["step"]}, {head["generation"]})
            ORDER BY step {order}, generation {order} LIMIT 1""",  # noqa: S608
        )
        if not nearest:
            return None
        others = source.groups(nearest[0]["generation"]).to_pylist()
        found = next(filter(_is_split, others if way > 0 else others[::-1]), None)
    if found is None:
        return None
    return {name: found[name] for name in ("group_id", "generation", "step")}


def _is_split(row: dict[str, Any]) -> bool:
    return row["split"] == "train" and row["size"] > 0 and not row["unanimous"]


def _step_figure(table: pa.Table, theme: Theme) -> Any:
    colour = palette(theme)
    figure = new_figure(theme, "σ of the group", x_title="mean reward of the group")
    scored = table.filter(pc.greater(table["size"], 0))
    mean, std = (np.asarray(scored[name].to_numpy(), dtype=np.float64) for name in ("mean", "std"))
    kept = extremes_of_cells(mean, std, _CELLS) if len(mean) else np.zeros(0, dtype=np.int64)
    _, place, groups = np.unique(
        np.stack([mean, std]).round(9), axis=1, return_inverse=True, return_counts=True
    )
    shared = groups[place.ravel()][kept].tolist()
    some = scored.take(pa.array(kept))
    pairs = zip(some["group_id"].to_pylist(), some["generation"].to_pylist(), strict=True)
    figure.add_scatter(
        x=mean[kept].tolist(),
        y=std[kept].tolist(),
        customdata=[list(pair) for pair in pairs],
        text=[plural(each, "group") for each in shared],
        mode="markers",
        marker={
            "color": colour["split"],
            "opacity": 0.75,
            "size": [min(40.0, 6.0 + 3.0 * each**0.5) for each in shared],
        },
        hovertemplate="%{text}<br>mean %{x:.3g}, σ %{y:.3g}<extra></extra>",
        name="group",
    )
    figure.update_layout(hovermode="closest")
    return figure
