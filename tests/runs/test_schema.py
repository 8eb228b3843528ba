"""The format: it only grows, and every released version stays readable."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batches import plain_duckdb, record_steps

from dissensus import runs
from dissensus.runs import COLUMNS, SCHEMA_VERSION, SCHEMAS, Run

GOLDEN = Path(__file__).parent / "golden"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "run-format.md"


def test_public_names():
    assert runs.__all__ == [
        "COLUMNS",
        "SCHEMAS",
        "SCHEMA_VERSION",
        "Attempt",
        "Column",
        "Compacted",
        "Recorder",
        "Run",
        "compact",
    ]
    assert all(hasattr(runs, name) for name in runs.__all__)


@pytest.mark.parametrize("table", COLUMNS)
def test_columns_of_version_1_keep_their_names_types_and_order(table):
    """The golden file was written by version 1; a later version may only add columns behind."""
    released = pq.read_schema(GOLDEN / f"{table}.v1.parquet")
    current = SCHEMAS[table]
    assert current.names[: len(released)] == released.names
    for field in released:
        assert current.field(field.name).type == field.type
    assert released.metadata[b"dissensus_schema_version"] == b"1"


def test_a_run_of_version_1_is_read(tmp_path):
    """Files of version 1 in the folders of a run of this version."""
    record_steps(tmp_path, range(1))
    for table in COLUMNS:
        target = tmp_path / table / "attempt=1/rank=0/generation-000000000.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((GOLDEN / f"{table}.v1.parquet").read_bytes())
    run = Run(tmp_path)
    (group,) = run.groups().to_pylist()
    assert (group["group_id"], group["mean"], group["std"], group["contrast"]) == (
        "7",
        0.5,
        0.5,
        0.5,
    )
    first, second = run.rollouts().to_pylist()
    assert (first["completion"], first["reward"], first["advantage_used"]) == ("yes", 1.0, 1.0)
    assert second["rewards_by_function"] == [("accuracy", 0.0)]
    assert run.prompts().to_pylist()[0]["prompt"] == "Is it?"
    assert run.scalars().to_pylist()[0]["value"] == 0.25
    assert run.steps().to_pylist()[0]["effective_rollout_frac"] == 1.0
    assert plain_duckdb(tmp_path).execute("SELECT mean FROM groups").fetchall() == [(0.5,)]


def test_a_column_that_an_older_file_lacks_is_null(tmp_path):
    record_steps(tmp_path, range(2))
    path = tmp_path / "groups/attempt=1/rank=0/generation-000000000.parquet"
    table = pq.ParquetFile(path).read().drop_columns(["policy_version", "push"])
    pq.write_table(table, path)
    assert Run(tmp_path).groups()["push"].null_count == 4
    assert plain_duckdb(tmp_path).execute("SELECT count(*) FROM groups").fetchall() == [(4,)]


def test_every_file_says_its_version_units_and_meanings(tmp_path):
    record_steps(tmp_path, range(1))
    for path in tmp_path.glob("*/attempt=*/rank=*/*.parquet"):
        schema = pq.read_schema(path)
        assert schema.metadata[b"dissensus_schema_version"] == str(SCHEMA_VERSION).encode()
        assert schema.metadata[b"dissensus_table"].decode() == path.parents[2].name
        assert all(field.metadata[b"meaning"] for field in schema)
    assert pq.read_schema(path).field("step").type == pa.int64()


def test_the_document_lists_every_column():
    text = DOCUMENT.read_text(encoding="utf-8")
    for table, columns in COLUMNS.items():
        section = text.split(f"### {table}\n", 1)[1].split("\n### ", 1)[0].split("\n## ", 1)[0]
        for column in columns:
            row = f"| `{column.name}` | {column.type} | {column.unit} | {column.meaning} |"
            assert row in section, row
