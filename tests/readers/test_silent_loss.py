"""Rows that could vanish, merge or change without a word: each is counted, listed or noted."""

from __future__ import annotations

import bz2
import json
import lzma
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dissensus.errors import InputError
from dissensus.readers import damage, open_log
from dissensus.readers.importing import import_log
from dissensus.runs import Run
from tests.readers.logs import CONTAINERS, write

SYSTEM = {"role": "system", "content": "be brief"}


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def listed(log):
    return [(bad.row, bad.expected, bad.kept) for bad in log.damage.bad]


# ---- lists -----------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["jsonl", "json", "parquet"])
def test_a_prompt_of_several_messages_is_one_rollout(tmp_path, container):
    rows = [
        {
            "step": 0,
            "group_id": "a",
            "prompt": [SYSTEM, {"role": "user", "content": "q"}],
            "completion": [{"role": "assistant", "content": "x"}],
            "reward": float(reward),
        }
        for reward in (1, 0, 0)
    ]
    with open_log(write(tmp_path / "log", rows, container)) as log:
        assert log.groups(["rollouts", "mean"]).to_pylist() == [
            {"rollouts": 3, "mean": pytest.approx(1 / 3)}
        ]
        prompts = log.prompts()["prompt"].to_pylist()
        assert [json.loads(prompt) for prompt in prompts] == [rows[0]["prompt"]]


@pytest.mark.parametrize("container", ["jsonl", "parquet"])
def test_a_prompt_of_messages_beside_lists_of_rollouts(tmp_path, container):
    prompt = [SYSTEM, {"role": "user", "content": "q"}]
    rows = [{"prompt": prompt, "reward": [1.0, 0.0, 0.0], "completion": ["a", "b", "c"]}]
    with open_log(write(tmp_path / "log", rows, container)) as log:
        assert log.groups(["rollouts"]).to_pylist() == [{"rollouts": 3}]
        assert log.damage.bad_count == 0


def test_a_row_without_its_lists_is_listed(tmp_path):
    good = {"prompt": "q", "reward": [1, 0], "completion": ["x", "y"]}
    path = lines(
        tmp_path / "log",
        good,
        {**good, "reward": None},
        {"prompt": "t", "completion": ["x"]},
        {**good, "reward": []},
        {**good, "completion": ["x", "y", "z"]},
        {**good, "completion": ["x"]},
        {**good, "prompt": "r", "completion": None},
    )
    with open_log(path) as log:
        assert log.groups(["rollouts", "size"]).to_pylist() == [{"rollouts": 2, "size": 2}] * 2
        assert listed(log) == [
            (2, "a value in reward", "nothing"),
            (3, "a value in reward", "nothing"),
            *((n, "lists of one length in reward, completion", "nothing") for n in (4, 5, 6)),
        ]
        assert len(log.rollouts(columns=["completion"])) == 4


def test_rows_of_empty_lists_are_noted(tmp_path):
    good = {"prompt": "q", "reward": [1, 0]}
    with open_log(lines(tmp_path / "log", good, {**good, "reward": []})) as log:
        assert log.groups(["rollouts"]).to_pylist() == [{"rollouts": 2}]
        assert log.damage.bad_count == 0
        assert any("1 row holds no rollouts" in note for note in log.notes)


@pytest.mark.parametrize("name", ["scores", "global_step"])
def test_a_table_of_roll_without_a_list_is_listed(tmp_path, name):
    good = {"global_step": [1, 1], "id": ["p", "p"], "scores": [1, 0], "responses": ["x", "y"]}
    with open_log(lines(tmp_path / "log", good, {**good, name: None}, good)) as log:
        assert log.format == "roll"
        assert sum(log.groups(["rollouts"])["rollouts"].to_pylist()) == 4
        assert listed(log) == [(2, f"a value in {name}", "nothing")]


def test_an_episode_of_prime_rl_without_traces_is_listed(tmp_path):
    trace = {"ok": True, "rewards": {"r": {"score": 1.0, "weight": 1.0}}, "task": {"key": "k"}}
    run = {"work": {"step": 1, "type": "train"}}
    good = {"id": "e", "ok": True, "task": {}, "group": {"id": "g"}, "run": run, "traces": [trace]}
    broken = {**good, "traces": None}
    failed = {**good, "ok": False, "traces": []}
    with open_log(lines(tmp_path / "log", good, broken, failed)) as log:
        assert log.format == "prime-rl"
        assert log.groups(["rollouts"]).to_pylist() == [{"rollouts": 1}]
        assert listed(log) == [(2, "a value in traces", "nothing")]


# ---- prompts ---------------------------------------------------------------------------------


def test_rows_without_a_prompt_are_no_group(tmp_path):
    row = {"step": 0, "prompt": "q", "reward": 1}
    rows = [row, {**row, "prompt": None}, {"step": 0, "reward": 0}, {**row, "reward": 0}]
    with open_log(lines(tmp_path / "log", *rows)) as log:
        assert log.groups(["rollouts"]).to_pylist() == [{"rollouts": 2}]
        assert [bad.row for bad in log.damage.bad] == [2, 3]
        assert {bad.expected for bad in log.damage.bad} == {"a value in prompt"}


def test_rows_without_a_prompt_keep_their_group_where_there_is_an_id(tmp_path):
    rows = [{"group_id": g, "prompt": p, "reward": 1} for g, p in (("a", None), ("b", "q"))]
    clean = lines(tmp_path / "clean", *rows)
    cut = tmp_path / "cut"
    cut.write_text(clean.read_text() + "{")
    for path, bad in ((clean, 0), (cut, 1)):
        with open_log(path) as log:
            found = log.groups(["group_id", "prompt_id"]).to_pylist()
            assert [row["group_id"] for row in found] == ["a", "b"]
            assert [row["prompt_id"] is None for row in found] == [True, False]
            assert log.damage.bad_count == bad


def test_samples_of_nemo_rl_without_tokens_are_no_group(tmp_path):
    row = {
        "token_ids": [[1, 2, 3]],
        "token_loss_mask": [[0.0, 0.0, 1.0]],
        "sample_loss_mask": [1.0],
        "rewards": [1.0],
        "advantages": [[0.5, 0.5, 0.5]],
        "input_lengths": [3],
    }
    with open_log(lines(tmp_path / "log", row, {**row, "token_ids": None}, row)) as log:
        assert log.format == "nemo-rl"
        assert log.groups(["rollouts"]).to_pylist() == [{"rollouts": 2}]
        assert listed(log) == [(2, "a value in token_ids", "nothing")]


# ---- repaired and clean reading agree --------------------------------------------------------

CHAT = [SYSTEM, {"role": "user", "content": 'hé \x1f "/" \\u001f \u2028 \x7f\n'}]
NESTED = {
    "messages": CHAT,
    "numbers": {"a": [1, 1.5, 1e5], "b": None, "c": True},
    "text": "plain",
    "integer": 7,
    "fraction": 100000.0,
    "true": True,
}


@pytest.mark.parametrize("value", NESTED.values(), ids=NESTED)
def test_repaired_json_has_the_same_ids(tmp_path, value):
    rows = [{"step": 0, "prompt": value, "completion": value, "reward": r} for r in (1, 0)]
    clean = lines(tmp_path / "clean", *rows)
    cut = tmp_path / "cut"
    cut.write_text(clean.read_text() + "{")
    with open_log(clean) as one, open_log(cut) as other:
        names = ["prompt_id", "completion"]
        assert one.rollouts(columns=names).equals(other.rollouts(columns=names))
        assert one.prompts()["prompt"].equals(other.prompts()["prompt"])
        assert (one.damage.bad_count, other.damage.bad_count) == (0, 1)


@pytest.mark.parametrize("is_chat", [True, False])
def test_repaired_trl_completions_have_the_same_ids(tmp_path, is_chat):
    prompt = CHAT if is_chat else "q"
    rows = [
        {"step": 0, "prompt": prompt, "completion": prompt, "f": reward, "advantage": 0.0}
        for reward in (1.0, 0.0)
    ]
    clean = tmp_path / "clean"
    pq.write_table(pa.Table.from_pylist(rows), clean)
    broken = tmp_path / "broken"
    schema = pq.read_schema(clean)
    lost = {**rows[0], "step": None}
    pq.write_table(pa.Table.from_pylist([*rows, lost], schema=schema), broken)
    with open_log(clean) as one, open_log(broken) as other:
        assert one.format == other.format == "trl"
        names = ["prompt_id", "completion"]
        assert one.rollouts(columns=names).equals(other.rollouts(columns=names))
        assert one.prompts()["prompt"].equals(other.prompts()["prompt"])
        assert (one.damage.bad_count, other.damage.bad_count) == (0, 1)


# ---- truth values ----------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["jsonl", "csv", "parquet"])
def test_only_yes_and_no_are_truth_values(tmp_path, container):
    values = {"a": 1.0, "b": 0.0, "c": float("nan"), "d": 0.6, "e": -1.0}
    rows = [{"group_id": key, "reward": 0.3, "correct": value} for key, value in values.items()]
    with open_log(write(tmp_path / "log", rows, container)) as log:
        found = log.groups(["group_id", "correct"]).to_pylist()
        assert [row["correct"] for row in found] == [1, 0, None, None, 0]
        assert any(note.startswith("2 scored rollouts") for note in log.notes)


def test_accuracies_without_rewards_are_the_rewards(tmp_path):
    rows = [{"group_id": "a", "accuracy": value} for value in (0.6, 0.2)]
    with open_log(lines(tmp_path / "log", *rows)) as log:
        assert log.groups(["mean", "correct"]).to_pylist() == [{"mean": 0.4, "correct": None}]


def test_an_accuracy_of_verl_that_is_no_truth_value(tmp_path):
    row = {"input": "q", "output": "x", "score": 0.5, "step": 1, "acc": True}
    with open_log(lines(tmp_path / "log", *[row] * 9, {**row, "acc": 0.6})) as log:
        assert log.format == "verl-legacy"
        assert log.groups(["correct"])["correct"].to_pylist() == [None]
        assert any(note.startswith("1 scored rollout ") for note in log.notes)


# ---- files and folders -----------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
def test_names_of_folders_are_no_columns(tmp_path, container):
    folder = tmp_path / "step=7" / "group_id=z" / "reward=5"
    folder.mkdir(parents=True)
    rows = [{"step": 1, "group_id": "a", "reward": 1.0, "length": 3}]
    path = write(folder / "log", rows, container)
    cut = folder / "cut"
    cut.write_bytes(path.read_bytes())
    for source in (path, tmp_path):
        found = open_log(source).groups(["step", "group_id", "mean"]).to_pylist()
        assert found == [{"step": 1, "group_id": "a", "mean": 1.0}]


def test_equal_ids_in_two_files_are_noted(tmp_path):
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        rows = [
            {"step": step, "group_id": group, "reward": 1}
            for step in (0, 1)
            for group in ("a", run)
        ]
        lines(tmp_path / run / "log", *rows)
    with open_log(tmp_path) as log:
        assert len(log.groups()) == 6
        assert any(
            note.startswith("2 of 6 groups have rows in several files") for note in log.notes
        )
    assert not any("several files" in note for note in open_log(tmp_path / "one").notes)


def test_a_log_without_a_readable_row_is_an_error(tmp_path):
    (tmp_path / "log").write_text("group_id;reward\na;0,5\nb;1,0\n")
    with pytest.raises(InputError, match="no row of it can be read") as caught:
        open_log(tmp_path / "log").groups()
    said = str(caught.value)
    assert "row 2: expected a number in reward" in said
    assert "decimal point" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("group_id,reward\na,1\n".encode("utf-16"), "UTF-16"),
        ('{"group_id": "a", "reward": 1}\n'.encode("utf-16"), "UTF-16"),
        (pa.compress(b'{"group_id": "a", "reward": 1}\n', codec="zstd", asbytes=True), "zstd"),
        (bz2.compress(b'{"group_id": "a", "reward": 1}\n'), "bzip2"),
        (lzma.compress(b'{"group_id": "a", "reward": 1}\n'), "xz"),
    ],
)
def test_other_encodings_are_named(tmp_path, content, said):
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        open_log(tmp_path / "log")
    assert "Hint" in str(caught.value)
    assert "--map" not in str(caught.value)


# ---- numbers ---------------------------------------------------------------------------------


def test_rewards_within_the_tolerance_have_no_spread(tmp_path):
    rewards = {"a": (0.5, 0.5 + 5e-7), "b": (0.1, 0.9)}
    rows = [{"group_id": key, "reward": r} for key, pair in rewards.items() for r in pair]
    with open_log(lines(tmp_path / "log", *rows)) as log:
        found = log.groups(["std", "unanimous"]).to_pylist()
    assert found == [
        {"std": 0.0, "unanimous": True},
        {"std": pytest.approx(0.4), "unanimous": False},
    ]


@pytest.mark.parametrize(
    ("rewards", "mean", "std"),
    [
        ((1.5e308, 1.5e308), 1.5e308, 0.0),
        ((1.5e308, -1.5e308), 0.0, 1.5e308),
        ((1.5e308, 0.0), 0.75e308, 0.75e308),
        ((1e200, 0.0, 0.0, 1e200), 0.5e200, 0.5e200),
    ],
)
def test_rewards_at_the_end_of_the_range_are_averaged(tmp_path, rewards, mean, std):
    rows = [{"group_id": "a", "reward": r, "advantage": r} for r in rewards]
    with open_log(lines(tmp_path / "log", *rows)) as log:
        found = log.groups(["mean", "std", "contrast"]).to_pylist()[0]
    assert (found["mean"], found["std"]) == (pytest.approx(mean), pytest.approx(std))
    assert found["contrast"] is None or math.isfinite(found["contrast"])


def test_groups_come_in_the_order_of_the_log(tmp_path):
    ids = ["g2", "g10", "g1"]
    rows = [{"step": 0, "group_id": each, "reward": r} for r in (0, 1) for each in ids]
    with open_log(lines(tmp_path / "log", *rows)) as log:
        import_log(log, tmp_path / "run")
    assert Run(tmp_path / "run").groups(["group_id"])["group_id"].to_pylist() == ids


# ---- bounded memory --------------------------------------------------------------------------


def test_nested_values_are_written_in_small_batches(tmp_path, monkeypatch):
    written = []
    write_table = pq.ParquetWriter.write_table

    def spy(self, table, *args, **more):
        written.append(table.num_rows)
        return write_table(self, table, *args, **more)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", spy)
    monkeypatch.setattr("dissensus.readers.damage._BATCH_BYTES", 1 << 16)
    row = {
        "token_ids": [list(range(1000))],
        "token_loss_mask": [[1.0] * 1000],
        "sample_loss_mask": [1.0],
        "rewards": [1.0],
        "advantages": [[0.5] * 1000],
        "input_lengths": [1000],
    }
    path = lines(tmp_path / "log", *[row] * 50)
    path.write_text(path.read_text() + "{")
    with open_log(path) as log:
        assert log.groups(["rollouts"]).to_pylist() == [{"rollouts": 50}]
    assert max(written) <= 4


def test_large_row_groups_are_repaired_in_small_batches(tmp_path, monkeypatch):
    seen = []
    values = damage._values

    def spy(array):
        seen.append(len(array))
        return values(array)

    monkeypatch.setattr(damage, "_values", spy)
    monkeypatch.setattr(damage, "_BATCH_BYTES", 1 << 16)
    table = pa.table(
        {"group_id": ["a"] * 99 + [None], "reward": [1.0] * 100, "completion": ["x" * 8192] * 100}
    )
    for use_dictionary in (False, True):
        seen.clear()
        pq.write_table(table, tmp_path / "log", use_dictionary=use_dictionary)
        with open_log(tmp_path / "log") as log:
            assert log.groups(["rollouts"]).to_pylist() == [{"rollouts": 99}]
            assert listed(log) == [(100, "a value in group_id", "nothing")]
        assert max(seen) <= 8


@pytest.mark.parametrize("is_chat", [True, False])
def test_repeated_texts_are_in_memory_once(tmp_path, monkeypatch, is_chat):
    monkeypatch.setattr("dissensus.readers.damage._BATCH_BYTES", 1 << 20)
    n, text = 1500, "".join(chr(97 + i * 7919 % 26) for i in range(10_000))
    table = pa.table(
        {
            "step": [0] * (n - 1) + [None],
            "prompt": [[{"role": "user", "content": text}]] * n if is_chat else [text] * n,
            "completion": ["x"] * n,
            "first": [1.0, 0.0] * (n // 2),
            "second": [0.0] * n,
            "advantage": [0.5, -0.5] * (n // 2),
        }
    )
    pq.write_table(table, tmp_path / "log")
    del table
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        with open_log(tmp_path / "log") as log:
            assert log.groups(["rollouts"]).to_pylist() == [{"rollouts": n - 1}]
            assert listed(log) == [(n, "a value in step", "nothing")]
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < n * len(text) / 2


# ---- what follows the end of a document --------------------------------------------------------


@pytest.mark.parametrize("more", ['\n[{"group_id": "b", "reward": 1}]\n', " garbage", "]"])
def test_what_follows_an_array_is_listed(tmp_path, more):
    (tmp_path / "log").write_text('[{"group_id": "a", "reward": 1}]' + more)
    with open_log(tmp_path / "log") as log:
        assert log.groups(["group_id"])["group_id"].to_pylist() == ["a"]
        assert listed(log) == [(0, "nothing after the JSON array", "the array")]


def test_an_end_after_a_long_array_is_looked_at(tmp_path):
    rows = [{"group_id": "a", "reward": 1, "completion": "x" * 900}] * 100
    (tmp_path / "log").write_text(json.dumps(rows) + "\n\n")
    assert open_log(tmp_path / "log").damage.bad_count == 0
    (tmp_path / "log").write_text(json.dumps(rows) + "\n garbage")
    with open_log(tmp_path / "log") as log:
        assert listed(log) == [(0, "nothing after the JSON array", "the array")]


def test_what_follows_an_object_of_accuracies_is_listed(tmp_path):
    (tmp_path / "log").write_text('{"a": [0.5, 1]} {"b": [0.25]}')
    with open_log(tmp_path / "log", format="accuracies") as log:
        assert len(log.groups()) == 2
        assert listed(log) == [(2, "nothing after the JSON object", "the 1 prompts before")]


def test_objects_over_several_lines_are_no_damage(tmp_path):
    text = "".join(json.dumps({"group_id": "a", "reward": r}, indent=1) + "\n" for r in (0, 1))
    (tmp_path / "log").write_text(text)
    with open_log(tmp_path / "log") as log:
        assert log.groups(["rollouts", "mean"]).to_pylist() == [{"rollouts": 2, "mean": 0.5}]
        assert log.damage.bad_count == 0


# ---- columns ---------------------------------------------------------------------------------


def test_rows_without_a_split_are_training(tmp_path):
    row = {"step": 0, "group_id": "a", "reward": 1}
    rows = [{**row, "split": None}, {**row, "split": "eval"}, row, {**row, "split": "train"}]
    with open_log(lines(tmp_path / "log", *rows)) as log:
        found = log.groups(["split", "rollouts"]).to_pylist()
    assert sorted((each["split"], each["rollouts"]) for each in found) == [
        ("eval", 1),
        ("train", 3),
    ]


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "log").write_text("group_id,reward,note,note,reward\na,1,x,y,0\n")
    with pytest.raises(InputError, match="more than one column reward"):
        open_log(tmp_path / "log").groups()
    (tmp_path / "log").write_text("group_id,reward,note,note\na,1,x,y\n")
    assert open_log(tmp_path / "log").groups(["rollouts"]).to_pylist() == [{"rollouts": 1}]


@pytest.mark.parametrize("content", ["group_id,reward\n", '{"prompt": "q", "reward": []}\n'])
def test_a_log_without_rollouts_is_an_error(tmp_path, content):
    (tmp_path / "log").write_text(content)
    with pytest.raises(InputError, match="holds no rollouts"):
        open_log(tmp_path / "log").groups()
