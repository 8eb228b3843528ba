"""Attempts: logical truncation, numbering, and whether a run is alive."""

import json
import os
import subprocess
import sys
import time

import pytest
from batches import batch, plain_duckdb, record_steps

from dissensus.errors import InputError, RunError
from dissensus.runs import Recorder, Run, attempts, compact


def test_a_restart_supersedes_later_steps_of_every_earlier_attempt(tmp_path):
    record_steps(tmp_path, range(6))  # 0 … 5
    record_steps(tmp_path, range(4, 8))  # 4 … 7
    record_steps(tmp_path, range(2, 4))  # 2, 3: nothing of the second attempt is left
    run = Run(tmp_path)
    live = run.sql("SELECT DISTINCT attempt, step FROM groups ORDER BY ALL").to_pylist()
    assert [(row["attempt"], row["step"]) for row in live] == [(1, 0), (1, 1), (3, 2), (3, 3)]
    assert [a.start_step for a in run.attempts] == [0, 4, 2]
    # Nothing is deleted: a raw glob still counts 6 + 4 + 2 generations.
    raw = plain_duckdb(tmp_path).execute(
        f"SELECT count(DISTINCT generation) FROM read_parquet('{tmp_path}/groups/*/*/*.parquet')"  # noqa: S608
    )
    assert raw.fetchone() == (12,)


@pytest.mark.parametrize("is_compact", [False, True])
def test_the_evaluation_of_the_weights_that_training_goes_on_from_counts(tmp_path, is_compact):
    def evaluate(recorder, step):
        recorder.record(**batch(step, split="held-out", prompts=["asked"] * 4))
        recorder.scalars(step=step, values={"accuracy": step}, split="held-out")

    with Recorder(tmp_path, strict=True) as recorder:
        for step in range(4):
            evaluate(recorder, step)
            recorder.record(**batch(step))
            recorder.scalars(step=step, values={"loss": step})
    with Recorder(tmp_path, 2, strict=True) as recorder:
        recorder.record(**batch(2))
        evaluate(recorder, 3)
    if is_compact:
        compact(tmp_path, grace_s=0)
    run = Run(tmp_path)
    query = "SELECT split, attempt, step FROM {} GROUP BY ALL ORDER BY ALL"
    kept = [("held-out", 1, 0), ("held-out", 1, 1), ("held-out", 1, 2), ("held-out", 2, 3)]
    trained = [("train", 1, 0), ("train", 1, 1), ("train", 2, 2)]
    views = plain_duckdb(tmp_path)
    readers = (
        lambda query: [tuple(row.values()) for row in run.sql(query).to_pylist()],
        lambda query: views.execute(query).fetchall(),
    )
    for read in readers:
        assert read(query.format("groups")) == kept + trained
        assert read(query.format("rollouts")) == kept + trained
        assert read(query.format("scalars")) == kept + trained[:2]
        assert read("SELECT split, step, groups FROM steps ORDER BY ALL") == [
            (split, step, 2) for split, _, step in kept + trained
        ]
    assert run.steps(split="held-out")["step"].to_pylist() == [0, 1, 2, 3]
    assert set(run.by_prompt(split="held-out")["groups"].to_pylist()) == {4}


def test_a_restart_at_the_beginning_supersedes_every_evaluation(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.record(**batch(0, split="held-out", prompts=["asked"] * 4))
    Recorder(tmp_path, 0).close()
    run = Run(tmp_path)
    assert run.groups().num_rows == run.prompts().num_rows == 0
    assert plain_duckdb(tmp_path).execute("SELECT count(*) FROM prompts").fetchone() == (0,)


def test_generation_numbers_go_on_over_attempts(tmp_path):
    record_steps(tmp_path, range(3))
    with Recorder(tmp_path, 1) as recorder:
        assert recorder.attempt == 2
        assert recorder.record(**batch(1)) == 3


def test_numbers_go_on_when_only_rollouts_of_another_rank_reached_the_disk(tmp_path):
    record_steps(tmp_path, range(1))
    source = tmp_path / "rollouts/attempt=1/rank=0/generation-000000000.parquet"
    target = tmp_path / "rollouts/attempt=1/rank=5/generation-000000008.parquet"
    target.parent.mkdir()
    target.write_bytes(source.read_bytes())
    with Recorder(tmp_path, 1) as recorder:
        assert recorder.generation == 9


def test_two_recorders_get_two_attempts(tmp_path):
    with Recorder(tmp_path) as first, Recorder(tmp_path) as second:
        assert (first.attempt, second.attempt) == (1, 2)


def test_other_ranks_need_the_attempt(tmp_path):
    with pytest.raises(InputError, match="attempt"):
        Recorder(tmp_path, rank=1, world_size=2)
    with (
        Recorder(tmp_path, world_size=2) as first,
        Recorder(tmp_path, rank=1, world_size=2, attempt=first.attempt) as second,
    ):
        assert second.generation == first.generation
    assert len(Run(tmp_path).attempts) == 1


def test_a_missing_attempt_is_named(tmp_path):
    record_steps(tmp_path, range(1))
    with pytest.raises(RunError, match="attempt 7"):
        attempts.await_attempt(tmp_path, 7, timeout_s=0.1)


def test_states(tmp_path):
    recorder = Recorder(tmp_path)
    run = Run(tmp_path)
    assert run.state == "running"
    recorder.close()
    assert run.state == "finished"
    with pytest.raises(ZeroDivisionError), Recorder(tmp_path):
        1 / 0  # noqa: B018
    assert run.state == "died"


def test_a_process_that_is_gone_has_died(tmp_path):
    code = f"import os, dissensus; dissensus.Recorder({str(tmp_path)!r}); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Run(tmp_path).state == "died"


@pytest.mark.parametrize(("age_s", "state"), [(5, "running"), (500, "died")])
def test_on_another_machine_the_age_of_the_heartbeat_decides(tmp_path, age_s, state):
    Recorder(tmp_path).close()
    beat = {"state": "running", "host": "elsewhere", "pid": 1, "time_s": time.time() - age_s}
    (tmp_path / "heartbeat.json").write_text(json.dumps(beat))
    assert Run(tmp_path).state == state


def test_a_reused_process_id_is_not_the_run(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.close()
    beat = json.loads((tmp_path / "heartbeat.json").read_text())
    beat |= {"state": "running", "pid": os.getpid(), "start_tick": 1}
    (tmp_path / "heartbeat.json").write_text(json.dumps(beat))
    assert Run(tmp_path).state == "died"


@pytest.mark.parametrize("content", ["{}", '{"format": "other"}'])
def test_what_is_not_a_run_is_refused(tmp_path, content):
    with pytest.raises(RunError, match="no such folder"):
        Run(tmp_path / "absent")
    with pytest.raises(RunError, match="not a run"):
        Run(tmp_path)
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match="dissensus-run"):
        Run(tmp_path)
    with pytest.raises(RunError, match="dissensus-run"):
        Recorder(tmp_path)


def test_a_broken_attempt_file_is_named(tmp_path):
    record_steps(tmp_path, range(1))
    (tmp_path / "attempts" / "1.json").write_text('{"attempt": 1}')
    with pytest.raises(RunError, match=r"1\.json"):
        Run(tmp_path).groups()


def test_relative_paths_and_symbolic_links(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    recorder = Recorder("link")
    monkeypatch.chdir("/")
    recorder.record(**batch(0))
    recorder.close()
    assert Run(tmp_path / "link").groups().num_rows == 2
    assert (tmp_path / "real" / "run.json").exists()


def test_budget_and_seen_rewards_go_on_in_the_next_attempt(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.record(**batch(0, [0.0, 5.0], completions=["abc", "de"]))
    with Recorder(tmp_path, 1) as recorder:
        recorder.record(**batch(1, [5.0, 5.0]))
    with Recorder(tmp_path, 2) as recorder:
        details = Run(tmp_path).attempts[-1].details
        assert details["text_bytes_before"] == 5
        assert details["reward_values_before"] == [0.0, 5.0]
    # Alone, two rewards of 5 would say nothing about what is correct.
    assert Run(tmp_path).groups(columns=["correct"]).to_pydict() == {"correct": [1, 2]}
