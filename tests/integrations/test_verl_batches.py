"""What needs no verl: batches as its trainers hold them, good and bad, into estimators and runs."""

from __future__ import annotations

import json
import logging
import re
import sys
from importlib import import_module
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from dissensus import Run
from dissensus.audit.configs import read_settings
from dissensus.audit.resolve import resolve
from dissensus.errors import InputError, UnsupportedError
from dissensus.integrations.guard import Guard
from dissensus.integrations.verl.checkpoint import Saving, load
from dissensus.integrations.verl.estimators import (
    FACTORS,
    PREFIX,
    VerlEstimator,
    load_memory,
    memory,
    register_all,
)
from dissensus.integrations.verl.options import Options
from dissensus.integrations.verl.plugin import after_import
from dissensus.integrations.verl.recording import BatchRecorder
from dissensus.integrations.verl.rollouts import read_rollouts
from dissensus.integrations.verl.trainers import MODES, batch_recorder
from dissensus.integrations.verl.transfer import read_batch

PAD = "pad0123456789abcdef0123456789abcdef"


def said(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "dissensus.verl"]


def tables(rewards, advantages=None, width=3):
    """Each reward on the last token; every token counts."""
    scores = np.zeros((len(rewards), width))
    scores[:, -1] = rewards
    used = np.zeros(len(rewards)) if advantages is None else np.asarray(advantages, dtype=float)
    return {
        "response_mask": np.ones(scores.shape, dtype=int),
        "scores": scores,
        "advantages": np.repeat(used[:, None], width, axis=1),
    }


def columns(uid, prompts=None):
    """The prompt of a uid is its own name, in tokens and in words."""
    named = prompts or uid
    return {
        "uid": uid,
        "prompt_tokens": [np.frombuffer(p.encode(), np.uint8) for p in named],
        "response_tokens": [np.arange(3) for _ in uid],
        "raw_prompt": [[{"role": "user", "content": p}] for p in named],
        "reward_model": [{"style": "rule", "ground_truth": "4"} for _ in uid],
    }


def recorder(folder=None, estimator="grpo", **node):
    run_dir = None if folder is None else str(folder)
    node = node | ({} if run_dir is None else {"run_dir": run_dir})
    return BatchRecorder(Options.of({"dissensus": node}), estimator, {"framework": "verl"})


def estimate(rewards, index, name="dissensus_grpo", dtype=torch.float32, **node):
    table = torch.zeros(len(rewards), 2, dtype=dtype)
    table[:, 1] = torch.tensor(rewards)
    mask = torch.ones(len(rewards), 2, dtype=torch.int64)
    found, returns = VerlEstimator(name)(table, mask, {"dissensus": node}, index)
    assert torch.equal(found, returns)
    assert found.dtype == dtype
    return found[:, 0].tolist()


# ---- estimators ------------------------------------------------------------------------------


def test_verl_is_offered_every_rule_twice_without_a_quarrel():
    registry = {}

    def register(name):
        def keep(function):
            assert registry.setdefault(name, function) == function
            return function

        return keep

    names = register_all(register)
    assert register_all(register) == names
    assert {"dissensus", "dissensus_grpo", "dissensus_rloo"} <= set(registry)


def test_trainers_are_registered_at_their_import_and_not_when_somebody_looks(tmp_path, monkeypatch):
    (tmp_path / "some_trainers.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    called = []
    after_import("some_trainers", lambda: called.append("some_trainers" in sys.modules))
    assert find_spec("some_trainers") is not None
    assert called == []
    import_module("some_trainers")
    import_module("some_trainers")
    assert called == [True]


def test_rows_that_verl_made_up_change_nothing():
    """lite_ppo divides by the std of the batch: made-up rows with reward 0 would lower it."""
    real = estimate([1, 0, 0, 0, 1, 1], ["a", "a", "b", "b", "c", "c"], "dissensus_lite_ppo")
    padded = estimate(
        [1, 0, 0, 0, 1, 1, 0, 0], ["a", "a", "b", "b", "c", "c", PAD, PAD], "dissensus_lite_ppo"
    )
    assert padded == [*real, 0.0, 0.0]


def test_a_written_estimator_and_parameters():
    plain = estimate([3, 0, 0, 1, 0], list("aaabb"), "dissensus_dr_grpo")
    assert plain == [2, -1, -1, 0.5, -0.5]
    written = estimate([3, 0, 0, 1, 0], list("aaabb"), "dissensus", estimator="dr_grpo")
    assert written == plain
    scaled = estimate([1, 0], ["a", "a"], parameters={"ddof": 1})
    assert scaled == pytest.approx([0.5 / 0.5**0.5, -0.5 / 0.5**0.5])  # std(ddof=1) = √½


@pytest.mark.parametrize(
    ("name", "node", "kind", "words"),
    [
        ("dissensus_grpo", {"parameters": {"delta": 1}}, InputError, "no parameter 'delta'"),
        ("dissensus_grpo", {"paramters": {}}, InputError, "no key 'paramters'"),
        ("dissensus_grpo", {"correct": True}, InputError, "correct"),
        ("dissensus_grpo", {"tol": -1}, InputError, "tol"),
        ("dissensus", {}, InputError, "algorithm.dissensus.estimator"),
        ("dissensus_grpo", {"estimator": "rloo"}, InputError, "adv_estimator=dissensus alone"),
        ("dissensus_gdpo", {}, UnsupportedError, "rewards_by_function"),
        ("dissensus_rl_zvp", {}, UnsupportedError, "token_entropies"),
    ],
)
def test_what_cannot_work_says_so_at_the_first_call(name, node, kind, words):
    with pytest.raises(kind, match=words):
        estimate([1, 0], ["a", "a"], name, **node)


@pytest.mark.parametrize("correct", [None, "acc"])
def test_a_third_reward_does_not_end_a_training_by_a_rule_of_right_and_wrong(caplog, correct):
    load_memory({})
    rule = {"name": "dissensus_sign", "correct": correct}
    two = estimate([1, 0, 1, 1], list("aabb"), **rule)
    assert estimate([1, 0.5, 1, 1], list("aabb"), **rule) == two  # a half is as wrong as nothing
    (line,) = said(caplog)
    assert "third value" in line
    assert "from 1 on" in line
    load_memory(json.loads(json.dumps(memory())))
    assert estimate([1, 0.5, 1, 1], list("aabb"), **rule) == two
    load_memory({})
    with pytest.raises(InputError, match=r"algorithm\.dissensus\.correct"):
        estimate([1, 0.5, 0, 1], list("aabb"), **rule)
    load_memory({})


@pytest.mark.parametrize("node", [{"parameters": {"ddof": 1}}, {"estimator": "rloo"}])
def test_a_rule_that_nothing_asks_for_is_refused(node):
    algorithm = SimpleNamespace(adv_estimator="grpo", dissensus=node)
    with pytest.raises(InputError, match=r"the estimator is verl's own.*Hydra takes the last"):
        batch_recorder(SimpleNamespace(algorithm=algorithm))


def test_rewards_that_are_no_numbers_leave_their_group(caplog):
    rewards, index = [1, 0, float("nan"), float("inf")], ["a", "a", "a", "b"]
    assert estimate(rewards, index) == [1, -1, 0, 0]  # the others: mean ½, std ½
    (line,) = said(caplog)
    assert "2 of 4 rewards are not finite" in line


def test_without_uid_the_batch_is_one_group(caplog):
    assert estimate([1, 0, 1, 0], None, "dissensus_dr_grpo") == [0.5, -0.5, 0.5, -0.5]
    (line,) = said(caplog)
    assert "no uid" in line


def test_factors_of_an_allocator_are_in_the_advantages_of_their_group():
    before = FACTORS.set({"a": 0.5})
    try:
        assert estimate([1, 0, 1, 0], list("aabb")) == [0.5, -0.5, 1, -1]
        assert estimate([1, 0], None) == [1, -1]
    finally:
        FACTORS.reset(before)
    assert estimate([1, 0, 1, 0], list("aabb")) == [1, -1, 1, -1]


def test_memory_goes_on_from_what_a_checkpoint_holds():
    """ha_dw weighs by the accuracy of earlier batches, so the second batch tells what it knows."""
    load_memory({})
    first, second = ([1, 1, 1, 0], list("aabb")), ([1, 0, 0, 0], list("aabb"))
    estimate(*first, name="dissensus_ha_dw")
    saved = json.loads(json.dumps(memory()))
    whole = estimate(*second, name="dissensus_ha_dw")
    load_memory({})
    assert estimate(*second, name="dissensus_ha_dw") != whole
    load_memory(saved)
    assert memory() == saved
    assert estimate(*second, name="dissensus_ha_dw") == whole
    load_memory({})


@pytest.fixture
def learnt():
    """What `ha_dw` remembers of one batch."""
    load_memory({})
    estimate([1, 1, 1, 0], list("aabb"), name="dissensus_ha_dw")
    yield memory()
    load_memory({})


def test_a_checkpoint_that_is_named_by_its_path(tmp_path, learnt):
    (tmp_path / "global_step_7").mkdir()
    called = []
    callback = SimpleNamespace(on_save=lambda **given: called.append(given))
    guard = Guard(logging.getLogger("dissensus.verl"))
    folder = str(tmp_path / "global_step_7")
    Saving(callback, guard).on_save(checkpoint_dir=folder, global_step=7, trainer=None)
    assert called == [{"checkpoint_dir": folder, "global_step": 7, "trainer": None}]
    load_memory({})
    trainer = SimpleNamespace(resume_mode="resume_path", resume_from_path=folder)
    load(SimpleNamespace(trainer=trainer), 7, guard)
    assert memory() == learnt
    assert not guard.failures


def test_a_training_from_scratch_remembers_nothing_of_an_earlier_one(learnt):
    load(SimpleNamespace(), 0, Guard(logging.getLogger("dissensus.verl")))
    assert memory() == {}


def test_a_memory_that_cannot_be_written_stops_nothing(tmp_path, learnt, caplog):
    (tmp_path / "file").write_text("")
    called = []
    callback = SimpleNamespace(on_save=lambda **given: called.append(given))
    saving = Saving(callback, Guard(logging.getLogger("dissensus.verl")))
    for _ in range(2):
        saving.on_save(checkpoint_dir=str(tmp_path / "file" / "global_step_7"))
    assert len(called) == 2
    (line,) = said(caplog)
    assert "could not save dissensus_state.json" in line


def test_half_precision_is_kept():
    assert estimate([1, 0], ["a", "a"], dtype=torch.bfloat16) == [1, -1]


# ---- reading a batch -------------------------------------------------------------------------


def read(rewards, uid, *, warnings, **more):
    prompts = more.pop("prompts", None)
    return read_rollouts(
        tables(rewards, more.pop("advantages", None)),
        columns(uid, prompts),
        say=lambda _, text: warnings.append(text),
        **more,
    )


def test_a_batch_as_it_should_be():
    warnings = []
    uid = ["a", "b", "a", PAD]
    found = read(
        [1, 0, 0, 7], uid, warnings=warnings, advantages=[1, 0, -1, 9], max_length=3, end=2
    )
    assert found.group_ids == ["a", "b", "a"]
    assert found.rewards.tolist() == [1, 0, 0]
    assert found.advantages.tolist() == [1, 0, -1]
    assert found.lengths.tolist() == [3, 3, 3]
    assert found.truncated is not None
    assert not found.truncated.any()  # they fill the room, and end with the end
    assert len(set(found.prompt_ids)) == 2
    assert found.references == ["4"] * 3
    (line,) = warnings
    assert "1 of 2 groups have one rollout" in line
    cut = read([1, 0], ["a", "a"], warnings=[], max_length=3, end=9)
    assert cut.truncated is not None
    assert cut.truncated.all()


def test_a_validation_of_one_answer_per_prompt_is_nothing_to_warn_of():
    warnings = []
    validation = tables([1, 0])
    del validation["advantages"]
    found = read_rollouts(
        validation, columns(["a", "b"]), say=lambda _, text: warnings.append(text)
    )
    assert found.advantages is None
    assert found.group_ids == ["a", "b"]
    assert not warnings


def test_one_uid_with_several_prompts():
    warnings = []
    found = read([1, 0], ["a", "a"], prompts=["2+2=", "3+1="], warnings=warnings)
    assert found.group_ids == ["a", "a"]
    assert len(set(found.prompt_ids)) == 2
    (line,) = warnings
    assert "1 uids hold different prompts (first 'a')" in line


def test_without_uid_equal_prompts_are_a_group():
    warnings = []
    given = columns(["a", "b", "a"])
    del given["uid"]
    found = read_rollouts(tables([1, 0, 0]), given, say=lambda _, text: warnings.append(text))
    assert found.group_ids == ["0", "1", "0"]
    assert "no uid" in warnings[0]


def test_a_number_that_only_some_rollouts_have():
    warnings = []
    extras = [{"acc": True, "pred": "4"}, {"acc": False, "bonus": 2, "pred": None}]
    found = read([1, 0], ["a", "a"], extras=extras, warnings=warnings)
    assert found.extras["acc"].tolist() == [1, 0]
    assert np.isnan(found.extras["bonus"][0])
    assert found.extras["bonus"][1] == 2
    assert "pred" not in found.extras
    (line,) = warnings
    assert "'bonus' is a number for 1 of 2 rollouts" in line


def test_a_number_of_any_number_of_digits():
    extras = [{"acc": 10**400, "guess": 10**30}, {"acc": 1, "guess": 0}]
    found = read([1, 0], ["a", "a"], extras=extras, warnings=[])
    assert np.isnan(found.extras["acc"][0])
    assert found.extras["acc"][1] == 1
    assert found.extras["guess"].tolist() == [1e30, 0]


def test_prompts_that_a_data_set_keeps_as_arrays(monkeypatch):
    ones = torch.ones(2, 3)
    prompt = np.array([{"role": "user", "content": "1 + 1"}], dtype=object)
    data = {
        "uid": ["a", "a"],
        "raw_prompt": [prompt, prompt],
        **dict.fromkeys(("response_mask", "rm_scores", "prompts", "responses"), ones),
    }
    queue = SimpleNamespace(kv_batch_get=lambda **_: data)
    monkeypatch.setitem(sys.modules, "transfer_queue", queue)
    batch = SimpleNamespace(partition_id="val", keys=["a_0_0", "a_1_0"], tags=[{}, {}])
    found = read_batch(batch, max_length=9, end=None, say=lambda *_: None)
    assert len(set(found.prompt_ids)) == 1
    assert found.prompts[0].tolist() == prompt.tolist()


# ---- recording -------------------------------------------------------------------------------


def test_metrics_and_run(tmp_path, caplog, capsys):
    """Four groups of two: split, all right, all wrong, split; 4 more rollouts were filtered."""
    rewards, advantages = [1, 0, 1, 1, 0, 0, 0, 1], [1, -1, 0, 0, 0, 0, -1, 1]
    batch = read(rewards, list("aabbccdd"), advantages=advantages, warnings=[])
    writer = recorder(tmp_path / "run")
    metrics = writer.observe(batch, step=3, generated=12, policy_version=2, decode=str)
    writer.close()
    assert not said(caplog)
    assert capsys.readouterr().out == f"Dissensus records into {tmp_path / 'run'}\n"
    assert metrics == {
        "dissensus/unanimous_frac": 0.5,
        "dissensus/all_wrong_frac": 0.25,
        "dissensus/all_correct_frac": 0.25,
        "dissensus/silent_frac": 0.5,
        "dissensus/group_std_mean": 0.25,
        "dissensus/effective_rollout_frac": 4 / 12,
        "dissensus/contrast_per_1000_rollouts": 1000 * (0.5 + 0.5) / 12,
        "dissensus/rollouts_generated": 12.0,
    }
    groups = Run(tmp_path / "run").groups().to_pandas()
    assert groups["step"].tolist() == [3] * 4
    assert groups["correct"].tolist() == [1, 2, 0, 1]
    rollouts = Run(tmp_path / "run").rollouts().to_pandas()
    assert rollouts["advantage_used"].tolist() == advantages
    assert rollouts["completion"].tolist() == ["[0 1 2]"] * 8


@pytest.mark.parametrize(("step", "words"), [(1, "up to step 3; from step 1 on"), (4, None)])
def test_a_launch_that_takes_the_place_of_an_earlier_one_says_so(tmp_path, caplog, step, words):
    batch = read([1, 0], ["a", "a"], warnings=[])
    for start in (3, step):
        writer = recorder(tmp_path / "run")
        writer.observe(batch, step=start)
        writer.close()
    assert [words in line for line in said(caplog)] == ([] if words is None else [True])
    steps = Run(tmp_path / "run").groups()["step"].to_pylist()
    assert steps == ([step] if words else [3, step])


def test_correctness_by_the_name_of_an_extra(tmp_path):
    extras = [{"acc": 0.0}, {"acc": 1.0}]
    batch = read([2.5, 1.5], ["a", "a"], extras=extras, warnings=[])
    writer = recorder(tmp_path / "run", correct="acc")
    writer.observe(batch, step=1)
    writer.close()
    rollouts = Run(tmp_path / "run").rollouts().to_pandas()
    assert rollouts["correct"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("1 uids hold different prompts (first 'a')", {"prompts": ["2+2=", "3+1=", "b", "b"]}),
        ("the batch has no uid; rollouts are grouped by equal prompts", {"lacks": "uid"}),
        ("2 of 3 groups have one rollout", {"uid": list("abcc")}),
        ("1 of 4 rewards are not finite", {"rewards": [1, float("inf"), 0, 1]}),
        ("no number 'acc' (there is: right)", {"extras": [{"right": 1}] * 4, "correct": "acc"}),
        ("'acc' is a number for 2 of 4 rollouts", {"extras": [{"acc": 1}, {}] * 2}),
        ("'acc' is a number for 3 of 4 rollouts", {"extras": [{"acc": 1}] * 3 + [None]}),
    ],
)
def test_a_bad_batch_is_one_line_and_is_recorded(tmp_path, caplog, text, how):
    """Twice, as a fault of the data comes in every batch."""
    uid = how.get("uid", list("aabb"))
    given = columns(uid, how.get("prompts"))
    if how.get("lacks"):
        del given[how["lacks"]]
    node = {"correct": how["correct"]} if "correct" in how else {}
    writer = recorder(tmp_path / "run", **node)
    for step in (1, 2):
        batch = read_rollouts(
            tables(how.get("rewards", [1, 0, 0, 1])),
            given,
            extras=how.get("extras"),
            say=writer.guard.say,
        )
        assert writer.observe(batch, step=step)["dissensus/group_std_mean"] > 0
    writer.close()
    assert not writer.guard.failures
    (line,) = said(caplog)
    assert text in line
    assert "\n" not in line
    recorded = Run(tmp_path / "run").rollouts().to_pandas()
    expected = [1, float("nan"), 0, 1] if "rewards" in how else [1, 0, 0, 1]
    np.testing.assert_array_equal(recorded["reward"], expected * 2)


def test_an_extra_that_is_not_there_leaves_it_to_the_rewards(caplog):
    batch = read([1, 0], ["a", "a"], extras=[{"accuracy": 1}, {"accuracy": 0}], warnings=[])
    metrics = recorder(correct="acc").observe(batch, step=1)
    assert metrics["dissensus/all_wrong_frac"] == 0
    (line,) = said(caplog)
    assert "no number 'acc' (there is: accuracy)" in line


def test_rounding_of_verls_own_rules_is_silence():
    """On eight rewards of 0.95 in float32 verl's grpo leaves about 0.05 instead of 0."""
    batch = read([0.95] * 8, ["a"] * 8, advantages=[0.05] * 8, warnings=[])
    assert recorder().observe(batch, step=1)["dissensus/silent_frac"] == 1
    whitened = recorder(estimator="reinforce_plus_plus_baseline").observe(batch, step=1)
    assert whitened["dissensus/silent_frac"] == 0


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    writer = recorder(tmp_path / "file" / "run")
    batch = read([1, 0], ["a", "a"], warnings=[])
    for step in (1, 2):
        assert writer.observe(batch, step=step)["dissensus/unanimous_frac"] == 0
    writer.close()
    assert len(said(caplog)) == 1
    assert "training goes on" in said(caplog)[0]


def test_text_that_cannot_be_decoded_stops_nothing(tmp_path, caplog):
    caplog.set_level(logging.WARNING)

    def decode(_):
        raise ValueError("no such token")

    writer = recorder(tmp_path / "run")
    writer.observe(read([1, 0], ["a", "a"], warnings=[]), step=1, decode=decode)
    writer.close()
    (line,) = said(caplog)
    assert "no such token" in line
    assert Run(tmp_path / "run").rollouts().to_pandas()["reward"].tolist() == [1, 0]


def test_the_audit_reads_the_launch_script_of_the_page(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "verl.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    for name, fragment in (
        ("record", "+dissensus=record"),
        ("both", "'+dissensus=[record,replace]'"),
    ):
        launch = tmp_path / f"{name}.sh"
        launch.write_text(script.replace("+dissensus=record", fragment).replace("…", ""))
        (settings,) = read_settings(launch)
        answer = resolve(settings, installed={})
        found = answer.estimator
        assert (found.denominator, found.ddof, found.eps) == ("group_std", 1, 1e-6)
        assert answer.silent == ("keep" if name == "record" else "resample")
        assert not {"MET403", "CFG901"} & {finding.code for finding in answer.findings}
        launch.write_text(launch.read_text().rstrip() + " trainer.v1.trainer_mode=colocate_async")
        (settings,) = read_settings(launch)
        found = [f for f in resolve(settings, installed={}).findings if f.code == "CFG901"]
        assert "nothing is recorded" in found[0].evidence


def test_the_fragment_says_what_the_options_read():
    package = files("dissensus.integrations.verl.conf")
    text = (package / "dissensus" / "record.yaml").read_text()
    assert text.startswith("# @package _global_\n")
    node = yaml.safe_load(text)
    assert Options.of(node["algorithm"]).run_dir == "${trainer.default_local_dir}/dissensus"
    mode = node["trainer"]["v1"]["trainer_mode"]
    assert mode.removeprefix(PREFIX) in MODES
