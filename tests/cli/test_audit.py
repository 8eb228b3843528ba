"""`dissensus audit` from end to end: configurations, exit codes, JSON."""

from __future__ import annotations

import json

import pytest

from dissensus.cli.app import run

VERL = """
python3 -m verl.trainer.main_ppo algorithm.adv_estimator=grpo \\
  actor_rollout_ref.rollout.n=8 {more}
"""


@pytest.fixture
def script(tmp_path):
    def write(more="", name="run.sh"):
        path = tmp_path / name
        path.write_text(VERL.format(more=more))
        return path

    return write


def audit(capsys, *arguments):
    code = run(["audit", *map(str, arguments)])
    return code, capsys.readouterr()


def test_json_of_a_configuration(script, capsys):
    code, output = audit(capsys, script(), "--json")
    assert code == 0
    document = json.loads(output.out)
    (target,) = document["targets"]
    assert document["unreadable"] == []
    assert target["kind"] == "config"
    assert target["framework"] == "verl"
    assert target["silent"] == "keep"
    assert target["loss_aggregation"] == "token-mean"
    estimator = target["estimator"]
    assert [estimator[key] for key in ("numerator", "denominator", "ddof", "eps")] == [
        "mean", "group_std", 1, 1e-6,
    ]  # fmt: skip
    assert {"code", "severity", "title", "where", "evidence", "fix"} <= set(target["findings"][0])


def test_a_switch_changes_the_answer(script, capsys):
    _, output = audit(capsys, script("algorithm.norm_adv_by_std_in_grpo=False"), "--json")
    assert json.loads(output.out)["targets"][0]["estimator"]["denominator"] == "none"


def test_what_is_set_elsewhere_is_unknown_by_name(script, capsys):
    _, output = audit(capsys, script("algorithm.norm_adv_by_std_in_grpo=$NORM"), "--json")
    (target,) = json.loads(output.out)["targets"]
    assert target["estimator"]["denominator"] is None
    assert any("NORM" in each for each in target["unknown"])


def test_fail_on(script, capsys):
    path = script("actor_rollout_ref.actor.use_kl_loss=True")
    assert audit(capsys, path, "--fail-on", "warning")[0] == 1
    assert audit(capsys, path, "--fail-on", "error")[0] == 0
    assert audit(capsys, path)[0] == 0
    code, output = audit(capsys, path, "--fail-on", "fatal")
    assert code == 2
    assert output.err.count("\n") == 1
    assert "error, warning, note" in output.err


def test_a_folder_is_all_it_contains(script, tmp_path, capsys):
    for n in range(6):
        script(name=f"run{n}.sh")
    (tmp_path / "notes.yaml").write_text("groceries: [milk]\n")
    _, output = audit(capsys, tmp_path, "--json")
    assert len(json.loads(output.out)["targets"]) == 6
    _, output = audit(capsys, tmp_path)
    assert "6 targets" in output.out
    assert "run5.sh" in output.out


def test_a_folder_without_configurations_is_a_log(tmp_path, capsys):
    (tmp_path / "tool.py").write_text("print(1)\n")
    rows = [
        {"step": 0, "group_id": right, "reward": r, "advantage": r - right / 4}
        for right in (1, 2, 3)
        for r in [1.0] * right + [0.0] * (4 - right)
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, output = audit(capsys, tmp_path, "--json")
    assert code == 0
    (target,) = json.loads(output.out)["targets"]
    assert target["kind"] == "log"
    assert target["estimator"]["numerator"] == "mean"
    assert target["estimator"]["denominator"] == "none"


@pytest.mark.parametrize("ending", [".ipynb", ".SH", ".sbatch"])
def test_every_kind_of_configuration_is_read_alone_too(ending, tmp_path, capsys):
    code = "from trl import GRPOConfig, GRPOTrainer\nGRPOTrainer(args=GRPOConfig(), model='m')\n"
    cell = {"cell_type": "code", "source": code}
    path = tmp_path / f"train{ending}"
    path.write_text(json.dumps({"cells": [cell]}) if ending == ".ipynb" else VERL.format(more=""))
    status, output = audit(capsys, path, "--json")
    assert status == 0, output.err
    (target,) = json.loads(output.out)["targets"]
    assert (target["kind"], target["estimator"]["denominator"]) == ("config", "group_std")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [("x.sh", "echo hello\n", "no training configuration"), (None, None, "no such file")],
)
def test_nothing_to_audit_is_one_line(name, text, says, tmp_path, capsys):
    path = tmp_path / (name or "absent.sh")
    if name:
        path.write_text(text)
    code, output = audit(capsys, path)
    assert code == 2
    assert says in output.err
    assert output.err.count("\n") == 1


def test_a_target_that_cannot_be_read_is_not_clean(script, tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text("algorithm: [unclosed\n")
    code, output = audit(capsys, path, "--json")
    assert code == 2
    assert len(json.loads(output.out)["unreadable"]) == 1
    assert audit(capsys, script(), path, "--fail-on", "error")[0] == 2
    assert audit(capsys, tmp_path)[0] == 0  # a folder may hold what is no configuration


def test_one_bad_target_does_not_lose_the_others(script, tmp_path, capsys):
    code, output = audit(capsys, script(), tmp_path / "absent.sh", "--json")
    document = json.loads(output.out)
    assert code == 2
    assert len(document["targets"]) == 1
    assert "no such file" in document["unreadable"][0]
    code, output = audit(capsys, script(), tmp_path / "absent.sh")
    assert (code, "group std" in output.out, "no such file" in output.out) == (2, True, True)


def test_a_folder_of_broken_files_says_so(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("algorithm: [unclosed\n")
    code, output = audit(capsys, tmp_path, "--json")
    assert code == 2
    assert "bad.yaml" in json.loads(output.out)["unreadable"][0]


def test_one_configuration_that_cannot_be_resolved_is_told(script, tmp_path, capsys, monkeypatch):
    from dissensus.audit import resolve

    def fail_on_b(settings, real=resolve.resolve):
        if settings.target.endswith("b.sh"):
            raise ValueError("odd")
        return real(settings)

    monkeypatch.setattr(resolve, "resolve", fail_on_b)
    script(name="a.sh"), script(name="b.sh")
    _, output = audit(capsys, tmp_path, "--json")
    document = json.loads(output.out)
    assert [target["target"][-4:] for target in document["targets"]] == ["a.sh"]
    assert "b.sh" in document["unreadable"][0]


def test_a_path_stays_whole_when_the_output_is_piped(script, tmp_path, capsys):
    folder = tmp_path / ("a_quite_long_name_" * 6)
    folder.mkdir()
    path = folder / "run.sh"
    script().rename(path)
    _, output = audit(capsys, path)
    assert f"{path}:" in output.out
    for n in range(6):
        (folder / f"run_{n}.sh").write_text(path.read_text())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "run.sh").write_text(path.read_text())
    _, output = audit(capsys, tmp_path)
    assert f"{folder.name}/run_5.sh " in output.out


def test_a_log_says_how_it_was_read_and_what_was_not(tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    row = {"step": 0, "group_id": "a", "reward": 1.0, "advantage": 0.5}
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {"reward": 0.0}) + "\nno JSON\n")
    broken = tmp_path / "bad.yaml"
    broken.write_text("algorithm: [unclosed\n")
    _, output = audit(capsys, path, broken)
    assert "Groups: " in output.out
    assert "log.jsonl, row 3" in output.out
    assert "bad.yaml" in output.out
    _, output = audit(capsys, path, "--json")
    document = json.loads(output.out)
    assert document["targets"][0]["log"]["unreadable_rows"] == 1
    assert len(document["unreadable"]) == 1
