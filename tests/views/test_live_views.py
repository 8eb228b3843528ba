"""The dashboard's views: plain data, code that gives the same numbers, parameters with limits."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissensus import Recorder, Run
from dissensus.errors import InputError
from dissensus.views.live_views import VIEWS, LiveSource, checked
from dissensus.views.live_views.difference import spans
from dissensus.views.live_views.sampling import extremes, extremes_of_cells

from .synthetic import record_run


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return LiveSource(record_run(tmp_path_factory.mktemp("run"), generations=20, n_prompts=60))


@pytest.fixture(scope="module")
def asked(source):
    """Parameters that each view needs to show something."""
    (_, group_id, generation), *_ = VIEWS["step"].make(source, "light", step=3).table.rows[0]
    return {
        "step": {"step": 3},
        "group": {"group_id": group_id, "generation": generation},
        "history": {"prompt_id": "7"},
        "mass": {"estimator": "rloo"},
    }


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_plain_data_and_its_code_gives_the_same_numbers(source, asked, name):
    view = VIEWS[name]
    over = [("one", source), ("two", source)] if view.scope == "several" else source
    shown = view.make(over, "dark", **asked.get(name, {}))
    assert shown.figure is not None or shown.table is not None
    json.dumps([shown.figure, shown.table, dict(shown.more), shown.note], allow_nan=False)
    assert "gl" not in {str(t["type"])[-2:] for t in (shown.figure or {"data": []})["data"]}
    names: dict = {}
    exec(shown.python, names)  # noqa: S102 — what the page offers to copy
    # DuckDB adds in whatever order its threads end, so the last bit may differ.
    pd.testing.assert_frame_equal(names["numbers"].to_pandas(), shown.csv.to_pandas(), rtol=1e-12)
    if shown.table is not None:
        assert {len(row) for row in shown.table.rows} <= {len(shown.table.columns)}


@pytest.mark.parametrize("name", ["reward", "effective", "rollouts", "unanimous", "outcomes"])
def test_a_point_says_its_step(source, name):
    figure = VIEWS[name].make(source, "light").figure
    for trace in figure["data"]:
        rows = trace["customdata"]
        found = np.array(rows)[..., 0].ravel()
        assert set(found) <= set(range(20))


def test_the_prompts_are_sorted_filtered_and_cut(source):
    def make(**given):
        return VIEWS["prompts"].make(source, "light", **given).table

    def solve_rates(table):
        (column,) = (i for i, (key, *_) in enumerate(table.columns) if key == "solve_rate")
        return [row[column] for row in table.rows]

    rates = solve_rates(make(sort="solve_rate", descending="no", limit=500))
    assert rates == sorted(rates)
    assert make(limit=5).total == len(rates)
    assert make(offset=5, limit=5).rows == make(limit=10).rows[5:]
    assert all(0.2 <= rate <= 0.4 for rate in solve_rates(make(low=0.2, high=0.4)))
    assert {row[0][1] for row in make(filter="is 17 +").rows} == {"17"}
    assert make(filter="') OR ('1'='1").total == 0


def test_a_prompts_numbers_are_those_of_its_groups(source):
    table = VIEWS["prompts"].make(source, "light", sort="visits", limit=1)
    row = dict(zip([key for key, _, _ in table.table.columns], table.table.rows[0], strict=True))
    groups = [g for g in source.visits(row["prompt_id"][1]).to_pylist() if g["split"] == "train"]
    assert row["visits"] == len(groups)
    k, n = (np.array([g[name] for g in groups]) for name in ("correct", "size"))
    step = np.array([g["step"] for g in groups])
    assert row["solve_rate"] == pytest.approx(k.sum() / n.sum())
    assert row["low"] < row["high"]
    assert row["last"] == f"{k[-1]} of {n[-1]}"
    assert row["contrast"] == pytest.approx(sum(g["contrast"] for g in groups))
    slope = np.polyfit(step, k / n, 1, w=np.sqrt(n))[0]
    assert row["trend"] == pytest.approx(slope * (step[-1] - step[0]))


def test_another_estimator_weighs_the_same_groups(source):
    csv = VIEWS["mass"].make(source, "light", estimator="rloo").csv
    # RLOO gives W = G/(G−1) · m(1−m), which in shares is Dr. GRPO's.
    assert csv["rloo"].to_pylist() == pytest.approx(csv["dr_grpo"].to_pylist())


def test_quantiles_of_disagreement_are_those_of_the_groups(source):
    bands = VIEWS["group_std"].make(source, "light", stretches=4).csv.to_pylist()
    groups = source.run.groups(split="train").to_pylist()
    std = np.array([g["std"] for g in groups]).reshape(4, -1)
    for row, values in zip(bands, std, strict=True):
        expected = np.quantile(values, [0.1, 0.5, 0.9], method="inverted_cdf")
        assert [row["q10"], row["q50"], row["q90"]] == pytest.approx(expected)
        assert row["mean"] == pytest.approx(values.mean())


def test_a_group_leads_to_its_split_neighbours(source):
    order = [
        (g["group_id"], g["generation"])
        for g in source.run.groups(split="train").to_pylist()
        if not g["unanimous"]
    ]
    for place in (0, 1, len(order) // 2, len(order) - 1):
        group_id, generation = order[place]
        more = VIEWS["group"].make(source, "light", group_id=group_id, generation=generation).more
        before, after = (
            more[way] and tuple(more[way].values())[:2] for way in ("previous", "next")
        )
        assert before == (order[place - 1] if place else None)
        assert after == (order[place + 1] if place + 1 < len(order) else None)


def test_a_group_shows_what_each_completion_got(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.record(
            step=0,
            group_ids=["<b>"] * 3,
            prompt_ids=["p"] * 3,
            prompts=["<script>"] * 3,
            rewards=[0.0, 1.0, 0.5],
            completions=["say \x1b[31mone", "say two", None],
            rewards_by_function={"accuracy": [0.0, 1.0, 0.0], "format": [0.0, 0.0, 0.5]},
            advantages_used=[-1.0, 1.0, 0.0],
            advantages_framework=[-0.5, 0.5, 0.0],
            lengths=[3, 4, 5],
            truncated=[False, False, True],
        )
    shown = VIEWS["group"].make(LiveSource(Run(tmp_path)), "light", group_id="<b>")
    keys = [key for key, _, _ in shown.table.columns]
    first, best, silent = (dict(zip(keys, row, strict=True)) for row in shown.table.rows)
    assert first["completion"] == [["say", False], [" one", True]]
    assert best["completion"] == [["say two", False]]
    assert best["best"] == "best"
    assert silent["completion"] is None
    assert (first["weight"], silent["weight"]) == (2.0, None)
    assert silent["truncated"] == "cut off"
    assert [first[key] for key in keys if key.startswith("reward_")] == [0.0, 0.0]
    assert shown.more["prompt"] == "<script>"  # a page escapes it


def test_paired_differences_need_two_seeds_of_two_settings(tmp_path):
    sources = []
    for rule, gain in (("grpo", 0.0), ("rloo", 0.25)):
        for seed in (0, [1], {"s": 2}):  # a run may say anything of itself
            path = tmp_path / f"{rule}-{seed}"
            with Recorder(path, metadata={"estimator": rule, "seed": seed}) as recorder:
                for step in range(8):
                    reward = 0.1 * len(str(seed)) + gain
                    recorder.record(
                        step=step, group_ids=[1, 1], prompt_ids=[1, 1], rewards=[reward, reward]
                    )
            sources.append((path.name, LiveSource(Run(path))))
    compare = VIEWS["compare"]
    *runs, difference = compare.make(sources, "light", x="rollouts").table.rows
    assert [row[0] for row in runs] == [name for name, _ in sources]
    assert {row[1] for row in runs} == {None}
    assert difference[1] == 3
    assert difference[2:] == pytest.approx([gain] * 4)
    assert len(compare.make(sources[:2], "light").table.rows) == 2


def test_runs_are_compared_over_what_they_have_in_common(tmp_path):
    sources, rewards = [], {"long": np.linspace(0.0, 1.0, 60), "short": np.linspace(1.0, 0.0, 41)}
    for name, values in rewards.items():
        with Recorder(tmp_path / name) as recorder:
            for step, reward in enumerate(values, start=10):
                recorder.record(
                    step=step, group_ids=[0, 0], prompt_ids=[0, 0], rewards=[reward, reward]
                )
        sources.append((name, LiveSource(Run(tmp_path / name))))
    view = VIEWS["compare"]
    for reach, ends in (("common", [50, 50]), ("whole", [69, 50])):
        shown = view.make(sources, "light", range=reach)
        assert [trace["x"][-1] for trace in shown.figure["data"]] == ends
        for row, values in zip(shown.table.rows, rewards.values(), strict=True):
            # From step 46 to 50: the last tenth of steps 10 to 50.
            assert row[2:4] == pytest.approx([values[40], values[36:41].mean()])


def test_held_out_curves_are_of_one_evaluation_set_and_of_what_came_before(tmp_path):
    sources = []
    for name, splits in (("both", {"easy": 1.0, "hard": 0.0}), ("one", {"hard": 0.5})):
        with Recorder(tmp_path / name, correct=0.5) as recorder:
            for step in range(3):
                for split, rate in splits.items():
                    recorder.record(
                        step=step, split=split, group_ids=[0, 1], prompt_ids=[0, 1],
                        rewards=[rate > 0, rate > 0.5],
                    )  # fmt: skip
                recorder.record(
                    step=step, group_ids=[0] * 4, prompt_ids=[0] * 4, rewards=[0, 0, 1, 1],
                    lengths=[5, 5, 5, 10],
                )  # fmt: skip
        sources.append((name, LiveSource(Run(tmp_path / name))))
    for axis, places in (("step", [0, 1, 2]), ("rollouts", [0, 4, 8]), ("tokens", [0, 25, 50])):
        shown = VIEWS["compare"].make(sources, "light", measure="heldout", x=axis)
        assert [trace["x"] for trace in shown.figure["data"]] == [places] * 2
        assert [trace["y"] for trace in shown.figure["data"]] == [[0.0] * 3, [0.5] * 3]
        assert "Evaluation set: hard." in shown.note


def test_a_parameter_outside_its_limits_is_refused(source):
    for name, wrong in [
        ("reward", {"points": "99999999"}),
        ("reward", {"points": "many"}),
        ("reward", {"nothing": 1}),
        ("prompts", {"sort": "1; DROP TABLE tail"}),
        ("prompts", {"low": "nan"}),
        ("prompts", {"filter": "x" * 300}),
        ("mass", {"estimator": "no such rule"}),
    ]:
        with pytest.raises(InputError, match="parameter"):
            VIEWS[name].make(source, "light", **wrong)
    assert checked(VIEWS["reward"], {"points": "50"})["points"] == 50


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=300), st.integers(1, 20))
def test_down_sampling_keeps_the_extremes_of_every_pixel(values, points):
    kept = extremes([values], points)
    series = np.array(values)
    assert len(kept) <= max(2 * points + 2, 2 * points)
    assert np.all(np.diff(kept) > 0)
    if len(series) > 2 * points:
        starts = np.linspace(0, len(series), points, endpoint=False).astype(int)
        for first, last in zip(starts, [*starts[1:], len(series)], strict=True):
            inside = series[kept[(kept >= first) & (kept < last)]]
            assert inside.min() == series[first:last].min()
            assert inside.max() == series[first:last].max()


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-5, 5)), min_size=1, max_size=200))
def test_a_cloud_keeps_its_outermost_points(points):
    x, y = np.array(points).T
    kept = extremes_of_cells(x, y, 8)
    assert (y[kept].min(), y[kept].max()) == (y.min(), y.max())
    assert (x[kept].min(), x[kept].max()) == (x.min(), x.max())


@given(st.text(alphabet="ab \n", max_size=60), st.text(alphabet="ab \n", max_size=60))
def test_spans_make_up_the_text_again(text, against):
    found = spans(text, against)
    assert "".join(str(part) for part, _ in found) == text
    assert not any(mark for _, mark in spans(text, text))


def test_the_groups_that_taught_most_are_the_heaviest_of_the_run(source):
    groups = source.run.groups(split="train").to_pandas()
    groups["weight"] = groups["trained"] * groups["contrast"].abs()
    order = groups.sort_values(["weight", "generation", "group_id"], ascending=[False, False, True])
    shown = VIEWS["taught"].make(source, "light", limit=25)
    assert [row[0][1] for row in shown.table.rows] == order["group_id"].head(25).tolist()
    assert shown.csv["weight"].to_pylist() == order["weight"].head(25).tolist()


def test_prompts_that_never_split_are_those_without_a_split_group(source):
    groups = source.run.groups(split="train").to_pandas()
    splits = groups.assign(split_=~groups["unanimous"]).groupby("prompt_id")["split_"].sum()
    assert (splits == 0).any()  # otherwise this tests nothing
    for only, expected in (
        ("never split", splits[splits == 0]),
        ("split", splits[splits > 0]),
        ("all", splits),
    ):
        table = VIEWS["prompts"].make(source, "light", only=only).csv
        found = dict(zip(table["prompt_id"].to_pylist(), table["splits"].to_pylist(), strict=True))
        assert found == expected.to_dict()


def test_a_filter_finds_every_prompt_whose_text_it_is_in(tmp_path):
    prompts = np.arange(10_050)
    with Recorder(tmp_path) as recorder:
        recorder.record(
            step=0,
            group_ids=prompts,
            prompt_ids=prompts,
            rewards=np.ones(len(prompts)),
            prompts=[f"What is half of {each}?" for each in prompts],
        )
    source = LiveSource(Run(tmp_path))
    view = VIEWS["prompts"]
    assert view.make(source, "light", filter="WHAT is").table.total == len(prompts)
    assert view.make(source, "light", filter="of 77?").csv["prompt_id"].to_pylist() == ["77"]
    assert view.make(source, "light", filter="it's").table.total == 0


def test_an_order_of_prompts_is_of_the_rows_that_it_was_made_for(tmp_path, monkeypatch):
    def record(recorder, step, prompts):
        rewards = np.tile([0.0, 1.0], len(prompts))
        ids = np.repeat(prompts, 2)
        recorder.record(step=step, group_ids=ids, prompt_ids=ids, rewards=rewards)
        recorder.flush()

    with Recorder(tmp_path) as recorder:
        record(recorder, 0, ["b", "d"])
        source = LiveSource(Run(tmp_path))
        remember = source.remember

        def grow(key, make, **how):
            found = remember(key, make, **how)
            if key == "prompts":  # and before its rows are put in order, the run grows
                monkeypatch.setattr(source, "remember", remember)
                record(recorder, 1, ["a", "c"])
                source.refresh()
            return found

        monkeypatch.setattr(source, "remember", grow)
        view = VIEWS["prompts"]
        names = [
            view.make(source, "light", sort="prompt_id", descending="no", filter=wanted)
            .csv["prompt_id"]
            .to_pylist()
            for wanted in ("", "")
        ]
    assert names == [["b", "d"], ["a", "b", "c", "d"]]


def test_the_last_group_of_a_prompt_is_one_group(tmp_path):
    with Recorder(tmp_path, correct=0.5) as recorder:
        recorder.record(step=0, group_ids=[0] * 3, prompt_ids=["p"] * 3, rewards=[1.0, 1.0, 0.0])
        recorder.record(
            step=1, group_ids=[0] * 2, prompt_ids=["p"] * 2, rewards=[0.1, 0.9], correct="unknown"
        )
    shown = VIEWS["prompts"].make(LiveSource(Run(tmp_path)), "light")
    (row,) = shown.csv.to_pylist()
    assert (row["last_size"], row["last_correct"], row["last"]) == (2, None, None)
    (row,) = Run(tmp_path).by_prompt().to_pylist()
    assert (row["last_size"], row["last_correct"]) == (2, None)


def test_the_best_completion_is_that_of_the_whole_group(tmp_path):
    rewards = np.linspace(0.0, 1.0, 70)
    with Recorder(tmp_path) as recorder:
        recorder.record(
            step=0,
            group_ids=[0] * 70,
            prompt_ids=[0] * 70,
            rewards=rewards,
            rewards_by_function={"f": rewards},
            completions=["one two", *["one three"] * 68, "one four"],
        )
    view, source = VIEWS["group"], LiveSource(Run(tmp_path))
    shown = view.make(source, "light", group_id="0")
    assert (len(shown.table.rows), shown.table.total) == (64, 70)
    assert shown.table.rows[0][0] == [["one", False], [" two", True]]
    assert {row[-1] for row in shown.table.rows} == {""}
    whole = view.make(source, "light", group_id="0", limit=70)
    assert [row[-1] for row in whole.table.rows] == [*[""] * 69, "best"]


@pytest.mark.parametrize("generations", [16, 17])
def test_a_step_says_whether_generations_are_left_out(tmp_path, generations):
    with Recorder(tmp_path) as recorder:
        for number in range(generations):
            recorder.record(
                step=0, round=number, group_ids=[0, 0], prompt_ids=[0, 0], rewards=[0.0, 1.0]
            )
    shown = VIEWS["step"].make(LiveSource(Run(tmp_path)), "light", step=0)
    assert shown.table.total == 16
    assert "16 groups in 16 generations" in shown.note
    assert ("only the first" in shown.note) == (generations > 16)


@pytest.mark.parametrize(
    ("generations", "budget", "most"), [(23, 999, 12), (40, 64, 8), (5, 99, 5)]
)
def test_findings_are_from_the_whole_run(tmp_path, monkeypatch, generations, budget, most):
    with Recorder(tmp_path) as recorder:
        for step in range(generations):
            rewards = np.tile([0.0, 1.0], 4)
            ids = np.repeat(np.arange(4), 2)
            recorder.record(
                step=step, group_ids=ids, prompt_ids=ids, rewards=rewards,
                advantages_used=2 * rewards - 1,
            )  # fmt: skip
    source, read = LiveSource(Run(tmp_path)), []
    of_generation = source.run.rollouts

    def spied(**how):
        read.append(how["generation"])
        return of_generation(**how)

    monkeypatch.setattr(source.run, "rollouts", spied)
    VIEWS["findings"].make(source, "light", rollouts=budget)
    assert most / 2 < len(read) <= most
    between = np.diff([-1, *read, generations])
    assert between.max() <= -(-generations // most) + 1


@pytest.mark.parametrize(("rewards", "says_bars"), [([0.0, 1.0], True), ([0.1, 0.9], False)])
def test_a_note_speaks_of_the_bars_that_are_there(tmp_path, rewards, says_bars):
    correct = 0.5 if says_bars else "unknown"  # without a solve rate there are rewards alone
    with Recorder(tmp_path) as recorder:
        for split in ("train", "eval"):
            recorder.record(
                step=0, split=split, group_ids=[0, 1], prompt_ids=[0, 1], rewards=rewards,
                correct=correct,
            )  # fmt: skip
    shown = VIEWS["reward"].make(LiveSource(Run(tmp_path)), "light")
    assert any("error_y" in trace for trace in shown.figure["data"]) == says_bars
    assert ("Bars on" in shown.note) == says_bars
    assert "No held-out" not in shown.note


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_prompts_of_a_run_without_a_split_group_are_shown(tmp_path, reward):
    ids = np.repeat(np.arange(3), 4)
    with Recorder(tmp_path, correct=0.5) as recorder:
        for step in range(2):
            recorder.record(
                step=step, group_ids=ids, prompt_ids=ids, rewards=np.full(len(ids), reward)
            )
    shown = VIEWS["prompts"].make(LiveSource(Run(tmp_path)), "light")
    assert shown.csv["solve_rate"].to_pylist() == [reward] * 3
    assert shown.csv["forecast"].to_pylist() == pytest.approx([0.0] * 3)
    assert "too near" in shown.note
