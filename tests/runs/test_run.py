"""Reading: rows, filters, roll-ups, plain DuckDB, Polars and pandas."""

import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from batches import batch, files_of, plain_duckdb, record_steps
from hypothesis import given, settings
from hypothesis import strategies as st

from dissensus.errors import InputError, RunError
from dissensus.runs import Recorder, Run, compact, compaction


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Two groups of two at one step: k = 1 with advantages ±1, and k = 2 with none."""
    folder = tmp_path_factory.mktemp("run")
    with Recorder(folder, strict=True) as recorder:
        recorder.record(
            **batch(
                3,
                [1.0, 0.0, 1.0, 1.0],
                epoch=0.5,
                policy_version=7,
                lengths=[10, 30, 5, 15],
                truncated=[False, True, False, False],
                trained=[True, True, False, False],
                rewards_by_function={
                    "accuracy": [1.0, 0.0, 1.0, 1.0],
                    "format": [1, math.nan, 0, 1],
                },
                advantages_used=[1.0, -1.0, 0.0, 0.0],
                advantages_framework=[0.5, -0.5, 0.0, 0.0],
                prompts=["1+1=", "1+1=", "2+2=", "2+2="],
                references=["2", "2", "4", "4"],
                completions=["2", "3\x00", "4\ud800", None],
            )
        )
        recorder.record(**batch(4, [0.0, math.nan], split="eval"))
        recorder.scalars(step=3, values={"loss": 0.25, "grad": math.inf})
    return Run(folder)


def test_a_group_has_the_numbers_computed_by_hand(full):
    row = full.groups(split="train").to_pylist()[0]
    del row["time_s"]
    assert row == {
        "step": 3, "generation": 0, "split": "train", "round": 0, "epoch": 0.5,
        "group_id": "s3g0", "prompt_id": "p0", "rollouts": 2, "size": 2, "mean": 0.5, "std": 0.5,
        "min": 0.0, "max": 1.0, "correct": 1, "unanimous": False, "all_wrong": False,
        "all_correct": False, "silent": False, "trained": 2,
        "contrast": 0.5,  # Cov(A, c) = (1·½ + (−1)·(−½)) / 2
        "push": 0.0, "length_mean": 20.0, "truncated": 1, "policy_version": 7,
        "attempt": 1, "rank": 0,
    }  # fmt: skip
    second = full.groups(split="train").to_pylist()[1]
    assert (second["unanimous"], second["all_correct"], second["silent"]) == (True, True, True)
    assert second["trained"] == 0


def test_unscored_rollouts_and_missing_columns_are_null(full):
    row = full.groups(split="eval").to_pylist()[0]
    assert (row["rollouts"], row["size"], row["correct"]) == (2, 1, 0)
    assert row["silent"] is row["contrast"] is row["length_mean"] is row["epoch"] is None
    assert row["trained"] == 0  # only the split "train" is trained on
    rewards = full.rollouts(split="eval", columns=["reward", "correct"]).to_pydict()
    assert rewards == {"reward": [0.0, None], "correct": [False, None]}


def test_a_rollout_has_what_was_given(full):
    rows = full.rollouts(step=3).to_pylist()
    assert [row["row"] for row in rows] == [0, 1, 2, 3]
    assert [row["completion"] for row in rows] == ["2", "3\x00", "4?", None]
    assert rows[1]["rewards_by_function"] == [("accuracy", 0.0), ("format", None)]
    assert rows[1]["advantage_used"], rows[1]["advantage_framework"] == (-1.0, -0.5)
    assert [row["length"] for row in rows] == [10, 30, 5, 15]
    assert [row["truncated"] for row in rows] == [False, True, False, False]
    assert [row["trained"] for row in rows] == [True, True, False, False]


def test_filters(full):
    assert full.rollouts(group_id="s3g1").num_rows == 2
    assert full.rollouts(generation=1).num_rows == 2
    assert full.rollouts(generation=9).num_rows == 0
    assert full.rollouts(step=99).num_rows == 0
    assert full.rollouts(group_id="it's").num_rows == 0
    assert full.rollouts(columns=["row", "attempt"]).column_names == ["row", "attempt"]
    with pytest.raises(InputError, match="no such column"):
        full.groups(columns=["nope"])


def test_prompts_and_scalars(full):
    prompts = full.prompts().to_pylist()
    assert [(p["prompt_id"], p["prompt"], p["reference"]) for p in prompts] == [
        ("p0", "1+1=", "2"),
        ("p1", "2+2=", "4"),
    ]
    scalars = full.scalars().to_pylist()
    assert [(s["step"], s["name"], s["value"]) for s in scalars] == [
        (3, "loss", 0.25),
        (3, "grad", None),
    ]
    assert full.scalars(name="loss").num_rows == 1


def test_a_step_has_the_numbers_computed_by_hand(full):
    train, held_out = full.steps().to_pylist()
    assert train["effective_rollout_frac"] == 0.5  # 2 trained rollouts in split groups of 4
    assert train["contrast_per_1000_rollouts"] == 125.0  # 1000 · 0.5 / 4
    assert train["std_mean"] == 0.25
    assert (train["solve_rate"], train["reward_mean"]) == (0.75, 0.75)
    assert (train["unanimous"], train["all_correct"], train["all_wrong"]) == (1, 1, 0)
    assert (train["groups"], train["rollouts"], train["trained_rollouts"]) == (2, 4, 2)
    assert train["length_mean"] == 15.0
    assert held_out["split"] == "eval"
    assert (held_out["rollouts"], held_out["scored_rollouts"], held_out["solve_rate"]) == (2, 1, 0)
    assert held_out["effective_rollout_frac"] is held_out["silent"] is None


def test_by_prompt_follows_the_last_visit(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.record(**batch(0, [1.0, 1.0]))
        recorder.record(**batch(1, [1.0, 0.0]))
    (row,) = Run(tmp_path).by_prompt().to_pylist()
    assert (row["groups"], row["rollouts"], row["unanimous"]) == (2, 4, 1)
    assert (row["solve_rate"], row["last_correct"], row["last_size"]) == (0.75, 1, 2)
    assert (row["first_step"], row["last_step"]) == (0, 1)


def test_sql_sees_only_its_views_and_refuses_in_one_line(full):
    joined = full.sql(
        "SELECT p.prompt, count(*) AS n FROM rollouts r JOIN prompts p USING (prompt_id) "
        "JOIN attempts a ON a.attempt = r.attempt WHERE split = 'train' GROUP BY ALL ORDER BY ALL"
    )
    assert joined.to_pydict() == {"prompt": ["1+1=", "2+2="], "n": [2, 2]}
    for query in ("SELEC", "SELECT x FROM groups", "FROM nothing"):
        with pytest.raises(InputError) as caught:
            full.sql(query)
        assert "\n" not in str(caught.value)


def test_an_empty_run_has_every_view(tmp_path):
    Recorder(tmp_path).close()
    run = Run(tmp_path)
    tables = [run.groups(), run.rollouts(), run.prompts(), run.scalars(), run.steps()]
    assert [t.num_rows for t in [*tables, run.by_prompt()]] == [0] * 6
    connection = plain_duckdb(tmp_path)
    for view in ("groups", "rollouts", "prompts", "scalars", "steps", "by_prompt"):
        assert connection.execute(f"SELECT count(*) FROM {view}").fetchone() == (0,)  # noqa: S608


def test_plain_duckdb_agrees_with_run(tmp_path):
    record_steps(tmp_path, range(9), compact_every=3)
    record_steps(tmp_path, range(5, 8), compact_every=2)
    run, connection = Run(tmp_path), plain_duckdb(tmp_path)
    for view in ("groups", "rollouts", "steps", "by_prompt"):
        ours = run.sql(f"FROM {view}").to_pandas()
        theirs = connection.sql(f"FROM {view}").to_arrow_table().to_pandas()[list(ours)]
        key = [c for c in ("generation", "step", "prompt_id", "row", "group_id") if c in ours]
        pd.testing.assert_frame_equal(
            ours.sort_values(key, ignore_index=True), theirs.sort_values(key, ignore_index=True)
        )


@pytest.mark.parametrize(("name", "sibling"), [("lr[1]", "lr1"), ("lr*", "lrx"), ("lr?", "lr2")])
def test_the_name_of_a_folder_is_no_pattern(tmp_path, name, sibling):
    for folder, n_steps in ((name, 5), (sibling, 3)):
        record_steps(tmp_path / folder, range(n_steps), compact_every=2)
    assert Run(tmp_path / name).groups()["step"].to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert Run(tmp_path / name).steps().num_rows == 5
    plain = plain_duckdb(tmp_path / name)
    assert plain.execute("SELECT count(*), max(step) FROM groups").fetchone() == (10, 4)


def test_views_work_from_the_run_folder_and_through_the_search_path(tmp_path, monkeypatch):
    import duckdb

    record_steps(tmp_path, range(2))
    sql = (tmp_path / "views.sql").read_text()
    searching = duckdb.connect()
    searching.execute(f"SET file_search_path = '{tmp_path}'")
    searching.execute(sql)
    assert searching.execute("SELECT count(*) FROM groups").fetchone() == (4,)
    monkeypatch.chdir(tmp_path)
    inside = duckdb.connect()
    inside.execute(sql)
    assert inside.execute("SELECT count(*) FROM groups").fetchone() == (4,)


def test_polars_and_pandas_read_a_live_run(tmp_path, monkeypatch):
    # The raw lines keep no listing that could be read again, so no file may go while they read.
    monkeypatch.setattr(compaction, "GRACE_S", math.inf)
    with Recorder(tmp_path, compact_every=2) as recorder:
        for step in range(5):
            recorder.record(**batch(step))
            recorder.flush()
            expected = 2 * (step + 1)
            assert pl.from_arrow(Run(tmp_path).groups()).height == expected
            assert len(Run(tmp_path).groups().to_pandas()) == expected
            assert plain_duckdb(tmp_path).sql("FROM groups").pl().height == expected
        # The raw lines of the documentation; they count superseded and covered rows too.
        raw = pl.scan_parquet(
            f"{tmp_path}/groups/**/*.parquet", hive_partitioning=True, missing_columns="insert"
        )
        assert {"attempt", "rank"} <= set(raw.collect_schema().names())
        assert raw.collect().height >= 10
        assert len(pd.read_parquet(tmp_path / "groups")) >= 10


def test_a_file_that_compaction_removes_meanwhile_is_read_from_the_part(tmp_path, monkeypatch):
    from dissensus.runs import run as run_module

    record_steps(tmp_path, range(4))
    stale = run_module.store.list_live(tmp_path, "groups")
    compact(tmp_path, grace_s=0)
    answers = [stale]
    current = run_module.store.list_live
    monkeypatch.setattr(
        run_module.store, "list_live", lambda *a: answers.pop() if answers else current(*a)
    )
    assert Run(tmp_path).groups().num_rows == 8


@pytest.mark.parametrize("damage", [b"", b"PAR1 torn", "middle"])
def test_a_broken_file_is_named_and_can_be_skipped(tmp_path, damage):
    record_steps(tmp_path, range(3))
    path = tmp_path / "groups/attempt=1/rank=0/generation-000000001.parquet"
    content = bytearray(path.read_bytes())
    if damage == "middle":
        content[4:400] = bytes(396)  # the footer stays whole
    else:
        content = bytearray(damage)
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"generation-000000001\.parquet.*cannot be read") as caught:
        Run(tmp_path).groups()
    assert "\n" not in str(caught.value)
    run = Run(tmp_path, on_unreadable="skip")
    assert run.groups().num_rows == 4
    assert run.steps().num_rows == 2
    assert run.unreadable == (str(path),)


@settings(max_examples=3)
@given(
    cut=st.integers(0, 12),
    every=st.integers(2, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_roll_ups_change_no_number(tmp_path_factory, cut, every, seed):
    """With parts, without, with their roll-ups deleted: the same rows, also after a truncation."""
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("run")
    with Recorder(folder, compact_every=0, strict=True) as recorder:
        for generation in range(8):
            # Several generations per step, and steps that lie on both sides of a part's end.
            recorder.record(
                **batch(
                    generation // 2 + int(rng.integers(2)),
                    rng.integers(0, 2, 6).tolist(),
                    advantages_used=rng.normal(size=6) * rng.integers(0, 2, 6),
                    lengths=rng.integers(1, 9, 6),
                    split=["train", "eval"][int(rng.integers(2))],
                )
            )
    record_steps(folder, range(cut, cut + 1))
    before = Run(folder).steps(), Run(folder).by_prompt()
    compact(folder, generations_per_part=every, grace_s=0)
    after = Run(folder).steps(), Run(folder).by_prompt()
    for path in (folder / "rollups").rglob("*.parquet"):
        path.unlink()
    without = Run(folder).steps(), Run(folder).by_prompt()
    for expected, *others in zip(before, after, without, strict=True):
        for other in others:
            pd.testing.assert_frame_equal(expected.to_pandas(), other.to_pandas())
    assert files_of(folder, "groups")[-1].startswith("part-")
