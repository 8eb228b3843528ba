"""Damaged logs: every row that cannot be read is counted and listed, the others are kept."""

from __future__ import annotations

import json
import random

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dissensus.errors import DissensusError, InputError
from dissensus.readers import open_log
from dissensus.readers.damage import MAX_LISTED
from tests.readers.logs import CONTAINERS, rollouts, write

GOOD = b'{"group_id": "a", "reward": 1, "note": "fine"}\n'
BAD_LINES = {
    "cut off": (b'{"group_id": "a", "reward": 1', "a JSON object (the last line is cut off)"),
    "no JSON": (b"hello\n", "a JSON object"),
    "no object": (b"[1, 2]\n", "a JSON object"),
    "a scalar": (b"5\n", "a JSON object"),
    "null": (b"null\n", "a JSON object"),
    "zeros": (b"\0\0\0\0\n", "a JSON object"),
    "text reward": (b'{"group_id": "a", "reward": "much"}\n', "a number in reward"),
    "list reward": (b'{"group_id": "a", "reward": [1]}\n', "a number in reward"),
    "no reward": (b'{"group_id": "a"}\n', "a value in reward"),
    "no group": (b'{"reward": 1}\n', "a value in group_id"),
    "null group": (b'{"group_id": null, "reward": 1}\n', "a value in group_id"),
    "two objects": (b'{"group_id": "a", "reward": 1}{"group_id": "a"}\n', "a JSON object"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_listed_and_the_rest_kept(tmp_path, name):
    line, expected = BAD_LINES[name]
    (tmp_path / "log").write_bytes(GOOD + GOOD + line)
    log = open_log(tmp_path / "log")
    assert log.groups(["size", "mean"]).to_pylist() == [{"size": 2, "mean": 1.0}]
    damage = log.damage
    assert damage.bad_count == 1
    assert (damage.bad[0].row, damage.bad[0].expected) == (3, expected)
    assert damage.bad[0].kept == "nothing"
    assert damage.rows_kept == 2
    with pytest.raises(InputError, match="row 3"):
        open_log(tmp_path / "log", strict=True).groups()


KEPT_LINES = {
    "broken UTF-8": (b'{"group_id": "a", "reward": 1, "completion": "\xff"}\n', "valid UTF-8"),
    "text length": (
        b'{"group_id": "a", "reward": 1, "length": "long"}\n',
        "an integer in length",
    ),
}


@pytest.mark.parametrize("name", KEPT_LINES)
def test_a_row_whose_numbers_are_sound_is_kept_and_listed(tmp_path, name):
    line, expected = KEPT_LINES[name]
    good = b'{"group_id": "a", "reward": 1, "length": 3, "completion": "x"}\n'
    (tmp_path / "log").write_bytes(good + line)
    log = open_log(tmp_path / "log")
    assert log.groups(["size"])["size"].to_pylist() == [2]
    assert [(bad.row, bad.expected) for bad in log.damage.bad] == [(2, expected)]
    assert log.damage.bad[0].kept.startswith("the row")


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b'{"group_id": "a", "reward": null}\n',
        b'{"group_id": "a", "reward": NaN}\n',
        b'\xef\xbb\xbf{"group_id": "a", "reward": 0}\n',
        b'{"group_id": "a", "reward": "0"}\r\n',
        b'{"group_id": "a", "reward": 0, "completion": "\\ud800"}\n',
        b'{"group_id": "a", "reward": true}\n',
    ],
)
def test_what_is_odd_but_sound_is_no_damage(tmp_path, line):
    (tmp_path / "log").write_bytes(line + GOOD)
    log = open_log(tmp_path / "log")
    assert log.damage.bad_count == 0
    assert log.groups(["mean"])["mean"].to_pylist() in ([1.0], [0.5])


def test_a_first_line_that_is_damaged(tmp_path):
    (tmp_path / "log").write_bytes(b'{"group_id": "a", "rew\n' + GOOD * 3)
    log = open_log(tmp_path / "log")
    assert log.groups(["size"])["size"].to_pylist() == [3]
    assert [bad.row for bad in log.damage.bad] == [1]


def test_mixed_schemas(tmp_path):
    other = b'{"id": 1, "loss": 0.5}\n'
    (tmp_path / "log").write_bytes(GOOD + other + GOOD + other)
    log = open_log(tmp_path / "log")
    assert log.groups(["size"])["size"].to_pylist() == [2]
    assert [bad.row for bad in log.damage.bad] == [2, 4]


def test_a_gigantic_line(tmp_path, monkeypatch):
    monkeypatch.setattr("dissensus.readers.damage.MAX_ROW_BYTES", 1 << 20)
    line = b'{"group_id": "a", "reward": 1, "completion": "' + b"x" * (40 << 20) + b'"}\n'
    (tmp_path / "log").write_bytes(GOOD + line + GOOD + b"oops\n")
    log = open_log(tmp_path / "log")
    assert log.groups(["size"])["size"].to_pylist() == [2]
    assert [(bad.row, bad.expected) for bad in log.damage.bad] == [
        (2, "a line of at most 1 MiB"),
        (4, "a JSON object"),
    ]


def test_many_bad_rows_are_counted_and_the_first_listed(tmp_path):
    (tmp_path / "log").write_bytes(GOOD + b"x\n" * 1000 + GOOD)
    damage = open_log(tmp_path / "log").damage
    assert damage.bad_count == 1000
    assert len(damage.bad) == MAX_LISTED
    assert damage.rows_read == damage.rows_kept + damage.bad_count == 1002


def test_only_the_damaged_file_of_a_folder_is_read_slowly(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(GOOD * 2 + (b"{" if name == "b" else b""))
    log = open_log(tmp_path)
    assert log.groups(["size"])["size"].to_pylist() == [2, 2, 2]
    assert [(bad.file, bad.row) for bad in log.damage.bad] == [("b", 3)]
    assert log.damage.rows_read == 3


def test_empty_files(tmp_path):
    (tmp_path / "one").touch()
    with pytest.raises(InputError, match="the file is empty"):
        open_log(tmp_path / "one")
    with pytest.raises(InputError, match="holds no files"):
        open_log(write_nothing(tmp_path / "none"))
    with pytest.raises(InputError, match="no such"):
        open_log(tmp_path / "absent")
    (tmp_path / "two").write_bytes(GOOD)
    assert len(open_log(tmp_path).groups()) == 1


def write_nothing(folder):
    folder.mkdir()
    return folder


CSV_ROWS = {
    "too few": ("b\n", "3 cells, got 1"),
    "too many": ("b,1,x,y\n", "3 cells, got 4"),
    "wrong type": ("b,much,x\n", "a number in reward"),
    "no group": (",1,x\n", "a value in group_id"),
}


@pytest.mark.parametrize("name", CSV_ROWS)
def test_csv_rows(tmp_path, name):
    line, expected = CSV_ROWS[name]
    (tmp_path / "log").write_text(f'group_id,reward,acc\na,1,true\n{line}a,0,"no"\na,,True\n')
    log = open_log(tmp_path / "log")
    assert log.groups(["rollouts", "size"]).to_pylist() == [{"rollouts": 3, "size": 2}]
    assert [(bad.row, bad.expected) for bad in log.damage.bad] == [(3, expected)]


def test_csv_flags_that_are_none(tmp_path):
    (tmp_path / "log").write_text("group_id,reward,acc\na,1,yes\na,0,perhaps\n")
    log = open_log(tmp_path / "log")
    assert log.groups(["size", "correct"]).to_pylist() == [{"size": 2, "correct": None}]
    bad = log.damage.bad[0]
    assert (bad.expected, bad.kept) == ("true or false in acc", "the row without it")


def test_csv_text_over_lines_and_broken_utf8(tmp_path):
    (tmp_path / "log").write_bytes(
        b'group_id;reward;completion\na;1;"x\ny;z"\na;0;"\xff"\na;1;ok\n'
    )
    log = open_log(tmp_path / "log")
    assert log.groups(["size"])["size"].to_pylist() == [3]
    # Text is read only when it is asked for, and its damage is found then.
    assert len(log.rollouts(columns=["completion"])) == 3
    assert [bad.expected for bad in log.damage.bad] == ["valid UTF-8"]


def test_parquet_with_words_for_numbers(tmp_path):
    table = pa.table({"group_id": ["a"] * 3, "reward": ["1", "0.5", "none"]})
    pq.write_table(table, tmp_path / "log")
    log = open_log(tmp_path / "log")
    assert log.groups(["size"])["size"].to_pylist() == [2]
    assert [(bad.row, bad.expected) for bad in log.damage.bad] == [(3, "a number in reward")]


def test_parquet_with_a_broken_page(tmp_path):
    path = write(tmp_path / "log", rollouts(steps=40), "parquet")
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=200, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(1).column(3).data_page_offset
    data[start : start + 30] = b"\xff" * 30
    path.write_bytes(data)
    log = open_log(path)
    assert sum(log.groups(["rollouts"])["rollouts"].to_pylist()) == 600
    assert log.damage.bad_count == 1
    assert "rows 201 to 400" in log.damage.bad[0].expected


def test_parquet_without_its_end(tmp_path):
    path = write(tmp_path / "log", rollouts(), "parquet")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="footer"):
        open_log(path).groups()
    whole = write(tmp_path / "other", rollouts(), "parquet")
    log = open_log(tmp_path)
    assert len(log.groups()) == 15
    assert [bad.file for bad in log.damage.bad] == ["log"]
    assert whole.exists()


def test_a_parquet_bomb_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("dissensus.readers.footers._MAX_UNPACKED_BYTES", 1 << 20)
    text = pa.array(["x" * (8 << 20)])
    table = pa.table({"group_id": ["a"], "reward": [1.0], "completion": text})
    pq.write_table(table, tmp_path / "log", compression="zstd", use_dictionary=False)
    with pytest.raises(InputError, match="times its size"):
        open_log(tmp_path / "log")


def test_a_parquet_file_of_too_many_rows_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("dissensus.readers.footers._FEW_ROWS", 100)
    monkeypatch.setattr("dissensus.readers.footers._MAX_ROWS_PER_BYTE", 10)
    table = pa.table({"group_id": ["a"] * 3_000_000, "reward": [1.0] * 3_000_000})
    pq.write_table(table, tmp_path / "log")
    with pytest.raises(InputError, match="fewer rows than 3,000,000"):
        open_log(tmp_path / "log")


def test_an_unreadable_gzip(tmp_path):
    import gzip

    data = gzip.compress(GOOD * 20_000)
    (tmp_path / "log").write_bytes(data[: len(data) // 2])
    log = open_log(tmp_path / "log")
    assert 0 < log.groups(["size"])["size"].to_pylist()[0] < 20_000
    assert log.damage.bad_count == 1


# ---- fuzz ------------------------------------------------------------------------------------


def survive(path):
    """Whatever is in a file: numbers that add up, or one line that says what is wrong."""
    try:
        with open_log(path) as log:
            table = log.groups()
            damage = log.damage
            log.rollouts(columns=["reward", "completion"])
            assert log.prompts() is not None
    except DissensusError as error:
        said = str(error)
    else:
        said = None
    if said is not None:
        assert "\n" not in said
        return None
    assert len(damage.bad) == min(damage.bad_count, MAX_LISTED)
    assert all("\n" not in str(bad) for bad in damage.bad)
    return sum(table["rollouts"].to_pylist()), damage


@pytest.mark.parametrize("container", CONTAINERS)
@settings(max_examples=6)
@given(data=st.data())
def test_fuzz_bytes(tmp_path_factory, container, data):
    path = write(tmp_path_factory.mktemp("fuzz") / "log", rollouts(), container)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    survive(path)


@pytest.mark.parametrize("container", CONTAINERS)
@settings(max_examples=5)
@given(fraction=st.floats(0, 1))
def test_fuzz_truncation(tmp_path_factory, container, fraction):
    path = write(tmp_path_factory.mktemp("fuzz") / "log", rollouts(), container)
    content = path.read_bytes()
    cut = content[: int(fraction * len(content))]
    path.write_bytes(cut)
    found = survive(path)
    if container == "jsonl" and found is not None:
        rows, damage = found
        assert rows == cut.count(b"\n") + (cut.endswith(b"}"))
        assert damage.bad_count == (not cut.endswith((b"\n", b"}")))


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(["step", "group_id", "reward", "advantage", "length", "prompt", "acc", "x"])


STRANGE_ROWS = st.lists(st.dictionaries(NAMES, VALUES, max_size=6), min_size=1, max_size=5)


@settings(max_examples=14)
@given(STRANGE_ROWS)
def test_fuzz_types_and_schemas(tmp_path_factory, rows):
    check_strange_rows(tmp_path_factory, rows)


@pytest.mark.slow
@settings(max_examples=400)
@given(STRANGE_ROWS)
def test_fuzz_types_and_schemas_for_long(tmp_path_factory, rows):
    check_strange_rows(tmp_path_factory, rows)


def check_strange_rows(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("fuzz") / "log"
    rows = [{"step": 0, "group_id": "a", "reward": 1.0, "advantage": 0.5, "length": 2}, *rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = survive(path)
    assert found is not None
    kept, damage = found
    lost = sum(bad.kept == "nothing" for bad in damage.bad)
    assert kept + lost == len(rows)


@settings(max_examples=10)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"PAR1", b"{", b"[", b"PK\x03\x04", b"a,b\n"])
)
def test_fuzz_garbage(tmp_path_factory, content, head):
    path = tmp_path_factory.mktemp("fuzz") / "log"
    path.write_bytes(head + content)
    survive(path)


@settings(max_examples=10)
@given(st.dictionaries(st.text(max_size=4), st.lists(VALUES, max_size=4) | VALUES, max_size=5))
def test_fuzz_count_documents(tmp_path_factory, document):
    path = tmp_path_factory.mktemp("fuzz") / "log"
    path.write_text(json.dumps({"first": [0.5, 1.0], **document}))
    survive(path)


def test_random_lines_of_a_long_log(tmp_path):
    rng = random.Random(0)
    rows = rollouts(steps=200)
    lines = [json.dumps(row) + "\n" for row in rows]
    broken = sorted(rng.sample(range(len(lines)), 37))
    for i in broken:
        lines[i] = lines[i][: rng.randrange(1, 30)] + "\n"
    (tmp_path / "log").write_text("".join(lines))
    damage = open_log(tmp_path / "log").damage
    assert [bad.row for bad in damage.bad] == [i + 1 for i in broken]


def test_a_parquet_row_without_a_group(tmp_path):
    table = pa.table({"group_id": ["a", None, "a"], "reward": [1.0, 1.0, None]})
    pq.write_table(table, tmp_path / "log")
    log = open_log(tmp_path / "log")
    assert log.groups(["rollouts", "size"]).to_pylist() == [{"rollouts": 2, "size": 1}]
    assert [(bad.row, bad.expected) for bad in log.damage.bad] == [(2, "a value in group_id")]


def test_a_damaged_array_keeps_what_came_before(tmp_path, monkeypatch):
    monkeypatch.setattr("dissensus.readers.jsonstream.READ_BYTES", 11)
    text = '[{"group_id": "ä", "reward": 1},\n{"group_id": "ä", "reward": "x"}, 7,\n'
    text += '{"group_id": "ä", "reward": 0}, {"group_id": "ä", "rew'
    (tmp_path / "log").write_text(text, encoding="utf-8")
    log = open_log(tmp_path / "log")
    assert log.groups(["group_id", "size"]).to_pylist() == [{"group_id": "ä", "size": 2}]
    assert [bad.row for bad in log.damage.bad] == [2, 3, 5]


def test_a_folder_of_runs_is_not_a_log(tmp_path):
    from dissensus.runs import Recorder

    Recorder(tmp_path / "runs" / "one").close()
    with pytest.raises(InputError, match="holds recorded runs"):
        open_log(tmp_path / "runs")


def test_csv_with_windows_lines_and_a_byte_order_mark(tmp_path):
    (tmp_path / "log").write_bytes(b"\xef\xbb\xbfgroup_id,reward\r\na,1\r\na,0\r\n")
    log = open_log(tmp_path / "log")
    assert log.groups(["size", "mean"]).to_pylist() == [{"size": 2, "mean": 0.5}]
    assert log.damage.bad_count == 0


def test_csv_with_a_column_twice_is_one_line(tmp_path):
    (tmp_path / "log").write_text("group_id,reward,reward\na,1,0\n")
    survive(tmp_path / "log")


def test_a_long_document_takes_linear_time(tmp_path):
    document = {f"prompt {i}": [0.5] * 8 for i in range(10_000)}
    (tmp_path / "log").write_text(json.dumps(document))
    # Quadratic time would not end before the test's own limit does.
    assert len(open_log(tmp_path / "log").groups(["size"])) == 80_000


# ---- integers --------------------------------------------------------------------------------


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("files", [1, 2])
def test_a_fraction_is_no_integer(tmp_path, container, files):
    rows = [{"step": 3.0, "group_id": "a", "reward": 1.0, "length": 5.0} for _ in range(3)]
    bad = [{**rows[0], "step": 2.5}, {**rows[0], "length": 2.7}]
    for number in range(files - 1):
        write(tmp_path / f"{number}", rows, container)
    write(tmp_path / "9", [*rows, *bad], container)
    with open_log(tmp_path) as log:
        groups = log.groups(["step", "rollouts", "length_mean"]).to_pylist()
        listed = [(each.file, each.expected, each.kept) for each in log.damage.bad]
    assert groups == [{"step": 3, "rollouts": 3 * files + 1, "length_mean": 5.0}]
    assert listed == [
        ("9", "an integer in step", "nothing"),
        ("9", "an integer in length", "the row without it"),
    ]


@pytest.mark.parametrize("container", ["jsonl", "csv"])
def test_an_integer_that_a_double_cannot_hold_is_kept(tmp_path, container):
    rows = [{"step": (1 << 53) + i, "group_id": "a", "reward": 1.0} for i in (1, 2)]
    with open_log(write(tmp_path / "log", rows, container)) as log:
        assert log.groups(["step"]).column(0).to_pylist() == [(1 << 53) + 1, (1 << 53) + 2]
        assert log.damage.bad_count == 0


def test_fractions_in_lists(tmp_path):
    row = {"step": 0, "group_id": "a", "reward": [1, 0], "length": [2, 2.5]}
    with open_log(write(tmp_path / "log", [{**row, "length": [2, 4.0]}, row], "jsonl")) as log:
        assert log.groups(["rollouts", "length_mean"]).to_pylist() == [
            {"rollouts": 4, "length_mean": 3.0}
        ]
        assert [(bad.row, bad.kept) for bad in log.damage.bad] == [(2, "the row without it")]


def test_ctrl_c_repairs_nothing(tmp_path):
    def work():
        raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")

    log = open_log(write(tmp_path / "log", rollouts(), "jsonl"))
    with pytest.raises(KeyboardInterrupt):
        log._engine.run(work)
    assert log._engine.repairs == 0


# ---- fuzz of lists and of rows that are grouped by their prompts -------------------------------

LISTS = st.none() | st.lists(VALUES, max_size=3) | VALUES
PROMPTS = st.sampled_from(["p", "q", None]) | VALUES
LIST_ROW = {"global_step": [1, 1], "id": ["p", "p"], "scores": [1.0, 0.0], "responses": ["x", "y"]}
SWIFT_ROW = {
    "step": ["1", "1"],
    "prompt": ["p", "p"],
    "completion": ["x", "y"],
    "score": [1.0, 0.0],
    "advantages": [0.5, -0.5],
}
ODD_TABLES = st.sampled_from(
    [LIST_ROW, SWIFT_ROW, {"prompt": "p", "reward": [1.0, 0.0], "completion": ["x", "y"]}]
).flatmap(
    lambda row: st.tuples(
        st.just(row),
        st.lists(
            st.dictionaries(st.sampled_from(list(row)), LISTS, max_size=3).map(
                lambda other: {**row, **other}
            ),
            max_size=4,
        ),
    )
)
ODD_PROMPTS = st.lists(
    st.fixed_dictionaries({}, optional={"prompt": PROMPTS, "reward": VALUES, "step": VALUES}),
    max_size=5,
)


def check_lists(tmp_path_factory, row, rows):
    """Each odd row is listed, or gives as many rollouts as its lists are long."""
    path = tmp_path_factory.mktemp("fuzz") / "log"
    path.write_text("".join(json.dumps(each) + "\n" for each in [row, *rows]))
    found = survive(path)
    assert found is not None
    kept, damage = found
    lost = {bad.row for bad in damage.bad if bad.kept == "nothing"}
    score = next(name for name in ("scores", "score", "reward") if name in row)
    whole = [each[score] for i, each in enumerate([row, *rows], start=1) if i not in lost]
    assert kept == sum(map(len, whole))


def check_prompts(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("fuzz") / "log"
    rows = [{"step": 0, "prompt": "p", "reward": 1.0}, *rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = survive(path)
    assert found is not None
    kept, damage = found
    assert kept + sum(bad.kept == "nothing" for bad in damage.bad) == len(rows)


@settings(max_examples=8)
@given(ODD_TABLES)
def test_fuzz_lists(tmp_path_factory, table):
    check_lists(tmp_path_factory, *table)


@settings(max_examples=8)
@given(ODD_PROMPTS)
def test_fuzz_prompts(tmp_path_factory, rows):
    check_prompts(tmp_path_factory, rows)


@pytest.mark.slow
@settings(max_examples=300)
@given(ODD_TABLES)
def test_fuzz_lists_for_long(tmp_path_factory, table):
    check_lists(tmp_path_factory, *table)


@pytest.mark.slow
@settings(max_examples=300)
@given(ODD_PROMPTS)
def test_fuzz_prompts_for_long(tmp_path_factory, rows):
    check_prompts(tmp_path_factory, rows)


def test_a_damaged_parquet_file_with_a_column_of_nulls(tmp_path):
    groups = pa.table({"group_id": ["a", None], "reward": [1.0, 1.0]})
    table = groups.append_column("completion", pa.nulls(2, pa.string()))
    pq.write_table(table, tmp_path / "log")
    log = open_log(tmp_path / "log")
    assert log.rollouts(columns=["reward", "completion"]).to_pylist() == [
        {"reward": 1.0, "completion": None}
    ]
