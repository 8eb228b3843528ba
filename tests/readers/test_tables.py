"""The tables of a log against the definitions in core, and against a recorded run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dissensus.core.correctness import InferredCorrectness
from dissensus.core.disagreement import summarise_groups
from dissensus.core.groups import RewardGroups
from dissensus.errors import InputError
from dissensus.readers import open_log
from dissensus.readers.importing import import_log
from dissensus.runs import Recorder, Run
from tests.readers.logs import CONTAINERS, rollouts, write

CASES = {
    "binary": (0.0, 1.0),
    "signed": (-1.0, 1.0),
    "shifted": (0.3, 0.7),
    "large": (1e6, 1e6 + 1),
    "three": (0.0, 0.5, 1.0),
    "near": (0.0, 1.0, 1.0 - 1e-9),
    "constant": (1.0,),
    "constant_other": (0.7,),
    "offset_three": (1e6, 1e6 + 0.5, 1e6 + 1),
}


@pytest.mark.parametrize("name", CASES)
def test_groups_agree_with_core(tmp_path, name):
    rows = rollouts(seed=1, values=CASES[name])
    table = open_log(write(tmp_path / "log", rows, "jsonl")).groups()
    rewards = np.array([row["reward"] for row in rows])
    correct = InferredCorrectness(tol=1e-6).declare(rewards)
    groups = RewardGroups.from_flat(rewards, [row["group_id"] for row in rows], correct=correct)
    expected = summarise_groups(groups, [row["advantage"] for row in rows])
    found = {row["group_id"]: row for row in table.to_pylist()}
    assert list(found) == list(groups.ids)
    columns = {
        "size": expected.size,
        "mean": expected.mean,
        "std": expected.std,
        "correct": expected.correct,
        "unanimous": expected.is_unanimous,
        "all_wrong": expected.is_all_wrong,
        "all_correct": expected.is_all_correct,
        "silent": expected.is_silent,
        "contrast": expected.contrast,
        "push": expected.push,
    }
    for column, values in columns.items():
        got = [row[column] for row in found.values()]
        if values is None:
            assert got == [None] * len(groups), column
        else:
            np.testing.assert_allclose(np.array(got, float), values, atol=1e-9, err_msg=column)


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(-3, 3)),
            st.one_of(st.just(0.0), st.floats(-2, 2)),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_groups_agree_with_core_for_any_rewards(tmp_path_factory, drawn):
    path = tmp_path_factory.mktemp("any") / "log"
    rows = [{"group_id": f"g{g}", "reward": r, "advantage": a} for g, r, a in drawn]
    with open_log(write(path, rows, "jsonl")) as log:
        table = log.groups()
    rewards = np.array([np.nan if r is None else r for _, r, _ in drawn])
    correct = InferredCorrectness(tol=1e-6).declare(rewards)
    groups = RewardGroups.from_flat(rewards, [row["group_id"] for row in rows], correct=correct)
    expected = summarise_groups(groups, [a for *_, a in drawn])
    found = {row["group_id"]: row for row in table.to_pylist()}
    for i, group in enumerate(groups.ids):
        row = found[group]
        assert row["rollouts"] == expected.rollouts[i]
        assert row["size"] == expected.size[i]
        assert row["silent"] == expected.is_silent[i]
        if row["size"]:
            np.testing.assert_allclose(row["contrast"], expected.contrast[i], atol=1e-9)
            np.testing.assert_allclose(row["std"], expected.std[i], atol=1e-7)
            assert row["unanimous"] == expected.is_unanimous[i]
            assert row["correct"] == (None if expected.correct is None else expected.correct[i])


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_what_the_recorder_gives(tmp_path, container):
    rows = rollouts(seed=2)
    with Recorder(tmp_path / "run") as recorder:
        for step in range(3):
            part = [row for row in rows if row["step"] == step]
            recorder.record(
                step=step,
                group_ids=[row["group_id"] for row in part],
                prompt_ids=[row["prompt_id"] for row in part],
                rewards=[row["reward"] for row in part],
                advantages_used=[row["advantage"] for row in part],
                lengths=[row["length"] for row in part],
                completions=[row["completion"] for row in part],
            )
    run, log = Run(tmp_path / "run"), open_log(write(tmp_path / "log", rows, container))
    assert log.damage.bad_count == 0
    skipped = {"attempt", "rank", "time_s", "epoch", "policy_version", "advantage_framework"}
    for table in ("groups", "rollouts"):
        ours, theirs = getattr(log, table)(), getattr(run, table)()
        assert set(theirs.column_names) <= set(ours.column_names)
        for name in set(theirs.column_names) - skipped:
            assert ours[name].type == theirs[name].type, name
            a, b = ours[name].to_pylist(), theirs[name].to_pylist()
            if theirs[name].type == "double":
                np.testing.assert_allclose(np.array(a, float), np.array(b, float), atol=1e-12)
            elif name != "truncated":
                assert a == b, (table, name)
    log.close()


@pytest.mark.parametrize("container", CONTAINERS)
def test_import_then_report_is_report(tmp_path, container):
    rows = rollouts(seed=3, steps=4)
    log = open_log(write(tmp_path / "log", rows, container))
    done = import_log(log, tmp_path / "run")
    assert done.rollouts == len(rows)
    names = [
        "step",
        "group_id",
        "prompt_id",
        "size",
        "mean",
        "std",
        "correct",
        "silent",
        "contrast",
    ]
    for a, b in zip(
        log.groups(names).to_pylist(),
        Run(tmp_path / "run").groups(names).to_pylist(),
        strict=True,
    ):
        assert a == pytest.approx(b)
    texts = Run(tmp_path / "run").rollouts(columns=["completion"])["completion"].to_pylist()
    assert sorted(texts) == sorted(row["completion"] for row in rows)


def test_import_refuses_a_folder_that_holds_something(tmp_path):
    log = open_log(write(tmp_path / "log", rollouts(), "jsonl"))
    with pytest.raises(InputError, match="new folder"):
        import_log(log, tmp_path)


def test_a_long_generation_is_cut_between_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("dissensus.readers.importing._MAX_ROLLOUTS", 10)
    rows = rollouts(steps=1, prompts=9, size=4)
    done = import_log(open_log(write(tmp_path / "log", rows, "jsonl")), tmp_path / "run")
    assert (done.generations, done.rollouts) == (5, 36)
    sizes = Run(tmp_path / "run").groups(["size"])["size"].to_pylist()
    assert sizes == [4] * 9


def test_text_is_not_read_for_numbers(tmp_path):
    log = open_log(write(tmp_path / "log", rollouts(), "jsonl"))
    assert "completion" not in log._engine.reading.rows(["reward", "group_id"])
    assert "completion" in log._engine.reading.rows(["completion"])


def test_mapping_and_obvious_names(tmp_path):
    rows = [{"Iteration": 1, "q": "a", "points": r} for r in (1, 0, 1, 1)]
    path = write(tmp_path / "log", rows, "csv")
    with pytest.raises(InputError, match="no reader recognises it"):
        open_log(path)
    log = open_log(path, mapping={"reward": "points", "prompt": "q"})
    assert log.groups(["step", "size", "correct"]).to_pylist() == [
        {"step": 1, "size": 4, "correct": 3}
    ]
    with pytest.raises(InputError, match="does not have: nope"):
        open_log(path, mapping={"reward": "nope", "prompt": "q"})
    with pytest.raises(InputError, match="does not exist"):
        open_log(path, mapping={"rewrad": "points"})


def test_a_column_that_says_correct_is_believed(tmp_path):
    rows = [
        {"group_id": "a", "reward": reward, "acc": acc}
        for reward, acc in [(0.9, True), (0.4, False), (0.2, False)]
    ]
    for container in CONTAINERS:
        found = open_log(write(tmp_path / container, rows, container)).groups(["correct", "size"])
        assert found.to_pylist() == [{"correct": 1, "size": 3}]


def test_groups_are_rebuilt_from_prompts(tmp_path):
    rows = []
    for step in range(3):
        for prompt in ("x", "y", "x") if step == 1 else ("x", "y"):
            rows += [{"step": step, "prompt": prompt, "score": i % 2} for i in range(4)]
    log = open_log(write(tmp_path / "log", rows, "jsonl"))
    assert log.groups(["step", "size"]).to_pylist() == [
        {"step": step, "size": 4} for step in (0, 0, 1, 1, 1, 2, 2)
    ]
    assert log.grouping.kind == "prompt"
    assert log.grouping.certainty == "likely"
    assert any("1 prompt appears more than once" in note for note in log.notes)
    ids = log.rollouts(step=1, columns=["group_id"])["group_id"].to_pylist()
    assert [len(set(ids[i : i + 4])) for i in (0, 4, 8)] == [1, 1, 1]
    assert len(set(ids)) == 3


def test_consecutive_rows_without_steps(tmp_path):
    rows = [{"prompt": p, "score": i % 2} for p in "aabbab" for i in range(3)]
    log = open_log(write(tmp_path / "log", rows, "parquet"))
    assert log.grouping.certainty == "guessed"
    assert log.groups(["size"])["size"].to_pylist() == [3] * 6


def test_order_of_rows_survives_many_threads(tmp_path):
    rows = [{"prompt": f"p{i // 4}", "score": (i // 4) % 2} for i in range(60_000)]
    log = open_log(write(tmp_path / "log", rows, "jsonl"))
    groups = log.groups(["size", "unanimous"])
    assert len(groups) == 15_000
    assert set(groups["size"].to_pylist()) == {4}
    assert all(groups["unanimous"].to_pylist())


def test_files_of_a_folder_in_order_of_their_numbers(tmp_path):
    for step in (2, 10, 1):
        rows = [{"prompt": "same", "score": i % 2} for i in range(4)]
        write(tmp_path / f"step_{step}", rows, "jsonl")
    (tmp_path / "notes.txt").write_text("nothing")
    log = open_log(tmp_path)
    assert log.groups(["size"])["size"].to_pylist() == [4, 4, 4]
    assert any("1 of 4 files" in note for note in log.notes)
    assert [file.name for file in log._source.files] == ["step_1", "step_2", "step_10"]


def test_gzip_is_read(tmp_path):
    import gzip

    (tmp_path / "log").write_bytes(
        gzip.compress(write(tmp_path / "plain", rollouts(), "jsonl").read_bytes())
    )
    assert len(open_log(tmp_path / "log").groups()) == 15


def test_a_folder_name_with_a_pattern_in_it(tmp_path):
    for name in ("lr[1]", "lr1"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "it's", rollouts(prompts=len(name)), "jsonl")
    assert len(open_log(tmp_path / "lr[1]").groups()) == 3 * 5


def test_sql_over_a_log(tmp_path):
    log = open_log(write(tmp_path / "log", rollouts(), "csv"))
    assert log.sql("SELECT count(*) AS n FROM rollouts").to_pylist() == [{"n": 60}]
    assert log.sql("SELECT count(*) AS n FROM prompts").to_pylist() == [{"n": 5}]
    with pytest.raises(InputError, match="refuses the query"):
        log.sql("SELECT nothing FROM nowhere")


def test_batches_stream(tmp_path):
    rows = rollouts()
    log = open_log(write(tmp_path / "log", rows, "jsonl"))
    found = [row for batch in log.batches(["reward", "advantage"], 7) for row in batch.to_pylist()]
    assert found == [{"reward": r["reward"], "advantage": r["advantage"]} for r in rows]


def test_json_numbers_as_ids(tmp_path):
    path = tmp_path / "log"
    path.write_text("".join(json.dumps({"uid": 12, "score": i % 2}) + "\n" for i in range(2)))
    assert open_log(path).groups(["group_id"]).to_pylist() == [{"group_id": "12"}]


def test_files_without_steps_are_steps(tmp_path):
    for name in ("1", "2", "10"):
        rows = [{"group_id": 0, "reward": i % 2} for i in range(4)]
        write(tmp_path / name, rows, "jsonl")
    log = open_log(tmp_path)
    assert log.groups(["step", "size"]).to_pylist() == [{"step": s, "size": 4} for s in range(3)]
    assert any("step is the place of the file" in note for note in log.notes)


def test_csv_files_with_other_orders_of_columns(tmp_path):
    (tmp_path / "a").write_text("group_id,reward\nx,1\nx,0\n")
    (tmp_path / "b").write_text("reward;more;group_id\n0;9;x\n0;9;y\n")
    found = open_log(tmp_path).groups(["step", "group_id", "size", "mean"]).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        (0, "x", 2, 0.5),
        (1, "x", 1, 0.0),
        (1, "y", 1, 0.0),
    ]


def test_a_table_in_two_containers_is_counted_once(tmp_path):
    for container in ("jsonl", "csv"):
        write(tmp_path / container, rollouts(), container)
    log = open_log(tmp_path)
    assert sum(log.groups(["rollouts"])["rollouts"].to_pylist()) == 60
    assert any("1 of 2 files" in note for note in log.notes)


@pytest.mark.parametrize("container", ["jsonl", "json", "parquet"])
def test_rows_that_hold_a_list_of_rollouts(tmp_path, container):
    rows = [
        {"step": 0, "prompt": p, "rewards": [0.0, 1.0, 1.0], "responses": ["a", "b", "c"]}
        for p in "xy"
    ]
    path = write(tmp_path / "log", rows, container)
    log = open_log(path, mapping={"completion": "responses"})
    assert log.groups(["size", "correct"]).to_pylist() == [{"size": 3, "correct": 2}] * 2
    assert log.rollouts(columns=["completion"])["completion"].to_pylist() == [*"abcabc"]


def test_lists_of_other_lengths_are_listed(tmp_path):
    lines = ['{"prompt": "x", "rewards": [0, 1], "adv": [1]}', '{"prompt": "y", "rewards": [0, 1]}']
    lines.insert(0, '{"prompt": "z", "rewards": [0, 1], "adv": [1, 2]}')
    lines.append('{"prompt": "v", "rewards": [0], "adv": [1, 2]}')
    (tmp_path / "log").write_text("\n".join(lines))
    log = open_log(tmp_path / "log")
    assert log.damage.bad_count == 2
    assert [bad.row for bad in log.damage.bad] == [2, 4]


def test_group_ids_that_come_again_without_steps_are_noted(tmp_path):
    ids = [*"aabbcc", *"aabb"]
    rows = [{"group_id": each, "reward": 1.0} for each in ids]
    with open_log(write(tmp_path / "log", rows, "jsonl")) as log:
        assert log.groups(["size"]).column(0).to_pylist() == [4, 4, 2]
        note = log.notes[-1]
    assert note.startswith("2 of 3 group ids come again after rows of other groups")
    stepped = [{**row, "step": i // 6} for i, row in enumerate(rows)]
    with open_log(write(tmp_path / "log", stepped, "jsonl")) as log:
        assert log.groups(["size"]).column(0).to_pylist() == [2] * 5
        assert log.notes == []
    with open_log(write(tmp_path / "log", rows[:6], "jsonl")) as log:
        assert log.notes == ["no step numbers: all of it is step 0"]


def test_groups_of_an_unusual_size_without_steps_are_noted(tmp_path):
    rows = [{"group_id": each, "reward": 1.0} for each in "aabbcccc"]
    with open_log(write(tmp_path / "log", rows, "csv")) as log:
        assert log.notes[-1].startswith("1 of 3 groups have at least twice the usual 2 rows")


def test_ids_made_from_prompts_are_those_of_every_release(tmp_path):
    rows = [{"step": 0, "prompt": "2 + 2 = ?", "reward": 1.0}]
    with open_log(write(tmp_path / "log", rows, "jsonl")) as log:
        found = log.groups(["prompt_id"]).column(0).to_pylist()
    assert found == ["65bc4040ea865dc9"]  # md5sum


@pytest.mark.parametrize("top", [1e160, 1e300])
def test_rewards_whose_squares_are_infinite(tmp_path, top):
    rows = [row | {"reward": row["reward"] * top} for row in rollouts()]
    table = open_log(write(tmp_path / "log", rows, "jsonl")).groups()
    assert table.num_rows == 15
    assert not all(table["unanimous"].to_pylist())
    both = [row | {"reward": row["reward"] or -top} for row in rows]
    assert open_log(write(tmp_path / "both", both, "jsonl")).groups().num_rows == 15
