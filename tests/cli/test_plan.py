"""`dissensus plan` as a person and as a program see it."""

from __future__ import annotations

import json

import pytest
from views.synthetic import record_run

from dissensus.cli.app import run
from dissensus.cli.plan import parse_sizes
from dissensus.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "a run"
    record_run(path, generations=8)
    return path


def call(capsys, *arguments):
    code = run([str(each) for each in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_terminal_says_the_main_point_first_in_80_columns(folder, capsys):
    code, out, err = call(capsys, "plan", folder, "--group-sizes", "4,8,16")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("of the groups of 8 were unanimous" in line for line in lines[:6])
    assert "…" not in out.replace(str(folder), "")


def test_json_is_one_document(folder, capsys, tmp_path):
    page = tmp_path / "plan.html"
    code, out, _ = call(
        capsys, "plan", folder, "--json", "--html", page, "--group-sizes", "8,32",
        "--estimator", "grpo(ddof=1, eps=1e-4)",
    )  # fmt: skip
    document = json.loads(out)
    assert code == 0
    assert [row["group_size"] for row in document["by_group_size"]] == [8, 32]
    assert document["estimator"] == "grpo(ddof=1, eps=0.0001)"
    assert document["html"] == str(page)
    assert page.read_text().startswith("<!doctype html>")


def test_a_histogram_of_counts_is_a_source(tmp_path, capsys):
    path = tmp_path / "counts.csv"
    path.write_text("correct_of_4,problems\n0,50\n1,20\n2,20\n3,20\n4,40\n")
    code, out, _ = call(capsys, "plan", path, "--json", "--group-sizes", "4")
    document = json.loads(out)
    assert (code, document["groups"]) == (0, 150)
    assert document["unanimous_measured"] == pytest.approx(90 / 150)
    assert document["forecast"] is None


@pytest.mark.parametrize("name", [{}, {"prompt_id": ""}])
def test_without_prompt_ids_the_first_line_says_that_intervals_are_too_narrow(
    name, tmp_path, capsys
):
    path = tmp_path / "log.jsonl"
    rows = [
        {"step": step, "group_id": f"{step}-{i}", "reward": float(k < i % 5)} | name
        for step in range(4)
        for i in range(20)
        for k in range(4)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    _, out, _ = call(capsys, "plan", path, "--group-sizes", "4")
    said = " ".join(out.split())
    assert "80 groups · 320 rollouts · estimator" in said
    assert said.index("intervals are too narrow") < said.index("were unanimous")
    assert said.count("intervals are too narrow") == 1
    page = tmp_path / "plan.html"
    _, out, _ = call(capsys, "plan", path, "--json", "--group-sizes", "4", "--html", page)
    document = json.loads(out)
    assert document["prompts"] is None
    assert "no group has a prompt id" in document["notes"][0]
    assert not any("seen twice" in note for note in document["notes"])
    assert "intervals are too narrow" in page.read_text()


@pytest.mark.parametrize("text", ["", "4,,8", "a", "4..", "-3", "9..4"])
def test_bad_sizes_are_one_line(text):
    with pytest.raises(InputError, match="--group-sizes"):
        parse_sizes(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan"], "Missing argument"),
        (["plan", "no-such-folder"], "there is no such folder"),
        (["plan", "SOURCE", "--group-sizes", "1"], "2 … 1024"),
        (["plan", "SOURCE", "--last", "2"], "share"),
        (["plan", "SOURCE", "--estimator", "nope"], "no advantage rule"),
    ],
)
def test_bad_input_is_one_line(folder, arguments, said, capsys):
    code, out, err = call(capsys, *(folder if each == "SOURCE" else each for each in arguments))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
