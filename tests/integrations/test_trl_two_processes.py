"""Two processes for real: gloo on the CPU, one launch for all checks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny

from dissensus import Run

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two_processes.py left behind; its own checks have passed when it ends with 0."""
    found = tmp_path_factory.mktemp("two")
    script = Path(__file__).with_name("two_processes.py")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(found)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return found


def test_a_group_that_straddles_the_ranks_is_one_group(folder):
    run = Run(folder / "straddling" / "dissensus")
    groups = run.groups(split="train").to_pandas()
    rows = run.rollouts().to_pandas()
    assert groups.rollouts.tolist() == [4] * 9
    assert run.state == "finished"
    for group in groups.itertuples():
        mine = rows[rows.group_id == group.group_id]
        expected = tiny.even_digits(mine.completion) + mine.length / 10
        assert mine.reward.to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-6)
        assert group.mean == pytest.approx(expected.mean(), abs=1e-6)
        assert group.std == pytest.approx(np.std(expected), abs=1e-6)
        assert mine.prompt_id.nunique() == 1
        assert sorted(mine["row"]) == list(range(min(mine["row"]), min(mine["row"]) + 4))
    first = rows[rows.generation == 0].sort_values("row")
    assert first["rank"].tolist() == [0] * 6 + [1] * 6
    assert first.groupby("group_id")["rank"].nunique().tolist() == [1, 2, 1]
    assert first.advantage_framework.groupby(first.group_id).sum().abs().max() < 1e-5


def test_evaluation_groups_straddle_too(folder):
    run = Run(folder / "straddling" / "dissensus")
    groups = run.groups(split="eval").to_pandas()
    assert groups.rollouts.tolist() == [4] * 6  # after step 2 and at the end
    assert groups.groupby("step").prompt_id.nunique().tolist() == [3, 3]


def test_wrapped_reward_functions_record_the_same_groups(folder):
    columns = ["step", "split", "group_id", "prompt_id", "rollouts", "mean", "std", "length_mean"]
    subclass, wrapped = (
        Run(folder / run).groups(columns=columns).to_pylist()
        for run in ("straddling/dissensus", "wrapped/run")
    )
    assert len(subclass) == 15
    for mine, other in zip(subclass, wrapped, strict=True):
        assert other == {k: pytest.approx(v, abs=1e-6) if isinstance(v, float) else v
                         for k, v in mine.items()}  # fmt: skip
    ranks = Run(folder / "wrapped" / "run").rollouts().to_pandas()
    assert set(ranks["rank"]) == {0, 1}


def test_a_rank_that_cannot_write_does_not_stop_the_others(folder):
    run = Run(folder / "alone" / "dissensus")
    assert [a.attempt for a in run.attempts] == [1, 2]
    assert run.groups(split="train").num_rows == 4
    assert set(run.rollouts()["rank"].to_pylist()) == {0}


def test_an_allocators_groups_straddle_the_ranks(folder):
    run = Run(folder / "allocating" / "uniform" / "dissensus")
    rows = run.rollouts().to_pandas()
    assert rows.groupby(["step", "prompt_id"]).size().tolist() == [3] * 12
    assert rows.groupby(["step", "prompt_id"])["rank"].nunique().tolist() == [2] * 12
    assert rows[rows.step == 0].sort_values("row")["rank"].tolist() == [0] * 5 + [1] * 4
    ledger = json.loads((folder / "report.json").read_text())["allocating"]
    # Nine rollouts on two processes are ten: the tenth is paid for and told to nobody.
    assert next(each["generated"] for each in ledger.values()) == 4 * 10
    assert ledger["dots"]["trained"] > ledger["dots"]["generated"], "nothing was used again"


def test_masked_gradients_average_to_trls(folder):
    errors = json.loads((folder / "report.json").read_text())["gradients"]
    assert set(errors) == {"grpo", "bnpo", "dapo"}
    assert max(errors.values()) < 1e-5


def test_masked_groups_are_not_trained(folder):
    groups = Run(folder / "mask" / "dissensus").groups().to_pandas()
    assert groups.silent.any()
    assert (groups.trained == np.where(groups.silent, 0, 2)).all()


def test_refills_and_resume_on_two_ranks(folder):
    run = Run(folder / "resample" / "dissensus")
    groups = run.groups().to_pandas()
    assert [a.attempt for a in run.attempts] == [1, 2]
    assert groups.attempt.tolist() == [1 if s < 2 else 2 for s in groups.step]
    assert set(groups["round"]) > {0}
    # Steps 2 and 3 were done twice: uninterrupted by attempt 1, from the checkpoint by attempt 2.
    path = folder / "resample" / "dissensus" / "groups" / "attempt=1"
    first = pq.read_table(path).to_pandas().sort_values(["generation", "group_id"])
    again = groups[groups.attempt == 2].sort_values(["generation", "group_id"])
    columns = ["step", "round", "prompt_id", "mean", "length_mean", "trained"]
    whole = first[first.step >= 2][columns].to_numpy().tolist()
    assert again[columns].to_numpy().tolist() == whole
    trained = groups[groups.trained > 0]
    assert trained.groupby("step").trained.sum().tolist() == [8] * 4
    for _, mine in groups.groupby("step"):
        assert mine.prompt_id.is_unique
        assert not mine[mine.trained > 0].silent.any()
    rows = run.rollouts().to_pandas()
    assert set(rows["rank"]) == {0, 1}
    assert rows.groupby("group_id")["rank"].nunique().max() == 1


def test_straddling_groups_cannot_be_refilled(folder):
    refusal = json.loads((folder / "report.json").read_text())["refusal"]
    assert "whole groups" in refusal
