"""`dissensus replay` as a person and as a program see it."""

from __future__ import annotations

import json

import pytest

from dissensus.cli.app import run

_FAST = ("--budget", "1024", "--seeds", "2", "--batch", "16", "--allocators", "uniform,dapo,dots")


@pytest.fixture
def counts(tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text("correct_of_8,problems\n0,60\n1,20\n4,40\n7,20\n8,60\n")
    return path


def call(capsys, *arguments):
    code = run([str(each) for each in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_terminal_has_80_columns_and_says_what_a_replay_cannot_know(counts, capsys):
    code, out, err = call(capsys, "replay", counts, *_FAST)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    text = " ".join(out.split())
    assert "A replay cannot know what training would do" in text
    assert "Contrast and split groups count every group trained on once" in text
    assert "Stored rollouts are trained on again by dots" in text


def test_json_has_every_allocator_with_intervals(counts, capsys, tmp_path):
    page = tmp_path / "replay.html"
    code, out, _ = call(capsys, "replay", counts, *_FAST, "--json", "--html", page)
    document = json.loads(out)
    assert (code, document["budget"], document["seeds"]) == (0, 1024, 2)
    assert document["weighting"]["contrast_per_1000_rollouts"].startswith("every group")
    assert {"oracle", "uniform", "dapo", "dots"} <= set(document["allocators"])
    dapo = document["allocators"]["dapo"]
    for name in (
        "split_groups",
        "unanimous_rollout_frac",
        "contrast_per_1000_rollouts",
        "of_oracle",
    ):
        low, high = dapo["ci95"][name]
        assert low <= dapo[name] <= high
    assert document["allocators"]["uniform"]["difference"]["coverage"]["mean"] == 0
    assert "Every allocator" in page.read_text()


def test_a_small_big_math_needs_no_file(capsys):
    code, out, _ = call(
        capsys, "replay", "big-math", "--json", "--budget", "512", "--seeds", "2",
        "--allocators", "uniform", "--prompts", "100",
    )  # fmt: skip
    document = json.loads(out)
    assert code == 0
    assert document["recorded_prompts"] == 215_608
    assert document["recorded_rollouts"] == 215_608 * 64
    assert document["prompts"] == 100


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--allocators", "unifrom"], "did you mean"),
        (["--allocators", "gfpo"], "lengths"),
        (["--estimator", "nothing"], "nothing"),
        (["--seeds", "1"], "--seeds"),
    ],
)
def test_an_error_is_one_line(counts, capsys, options, said):
    code, out, err = call(capsys, "replay", counts, *options)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert said in err
