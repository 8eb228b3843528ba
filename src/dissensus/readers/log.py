"""Log: rollouts that a framework wrote, queried where they lie, with the tables of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import pyarrow as pa

from dissensus.errors import InputError
from dissensus.readers.base import CANONICAL, Grouping, Layout
from dissensus.readers.damage import Damage
from dissensus.readers.engine import Engine
from dissensus.readers.grouping import note_on_reuse, regroup
from dissensus.readers.layouts import complete_layout, merge_layouts
from dissensus.readers.reading import FILE_INDEX
from dissensus.readers.sources import Source
from dissensus.readers.statistics import (
    KEYS,
    SCORED,
    TOL,
    Correctness,
    count_sums,
    groups_from_sums,
    rollout_sums,
)
from dissensus.runs.scan import check_columns, conditions, quote, quoted

__all__ = ["Log", "LogAttempt"]

_MAX_VISITS = 100_000_000
_SORT_MIB = 512
_NOTHING_READ = "--map COLUMN=FIELD says which column is what; numbers need a decimal point (0.5)"
_LARGE = 2.0**600
_LARGEST_ROOT = 1e150  # squares of larger rewards are infinite
_MEASURED = ("reward", "correct", "advantage", "length", "truncated", "trained", "policy_version")


class LogAttempt(NamedTuple):
    """A start of training; a log tells of none."""

    attempt: int
    details: Mapping[str, Any]


class Log:
    """A rollout log as if it were a run: the same tables, columns and definitions.

    Nothing is copied from a clean log: DuckDB reads it in place, and text only where it is asked
    for. Rows that cannot be read are in `damage`, and how groups are known is in `grouping`.

    Args:
        source: The log, recognised by `open_log`.
        strict: Raise at the first row that cannot be read.
    """

    def __init__(self, source: Source, *, strict: bool = False) -> None:
        self.path = source.path
        self.format = source.format.name
        self.title = source.format.title
        self._source = source
        step = FILE_INDEX if len(source.files) > 1 else "0::BIGINT"
        main = complete_layout(source.layout, without_step=step)
        completed = {id(each): each for each in source.others.values()}
        for key, each in completed.items():
            completed[key] = complete_layout(each, without_step=step)
        others = {file: completed[id(each)] for file, each in source.others.items()}
        self._layout = merge_layouts([main, *completed.values()])
        # A key that only some files have is no key that a row of another file lacks.
        given = [source.layout.columns, *(each.columns for each in source.others.values())]
        self._given = frozenset.intersection(*map(frozenset, given))
        self._engine = Engine(source, main, others, Damage(strict=strict))
        self._grouping = source.layout.grouping
        self._stepless = _about_steps(source)
        self._notes: list[str] = []
        self._regrouped: list[str] = []
        self._lists = (0, 0)
        self._scale = 1.0
        self._correctness = Correctness()
        self._made_after: int | None = None
        self._is_numbered = False
        self._probed: set[str] = {"prompt_id"}

    def __repr__(self) -> str:
        return f"Log({str(self.path)!r}, format={self.format!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove temporary files."""
        self._engine.close()

    # ---- about the log -----------------------------------------------------------------------

    @property
    def state(self) -> str:
        """A log is finished: whether its writer goes on is not known."""
        return "finished"

    @property
    def attempts(self) -> list[LogAttempt]:
        """None are known."""
        return []

    @property
    def info(self) -> dict[str, Any]:
        """What `Run.info` has: metadata (with how the log was read), state and dropped."""
        self._make_groups()
        grouping = self._grouping
        metadata = {
            **self._layout.metadata,
            "log_format": self.format,
            "log_groups": f"{grouping.text} ({grouping.certainty})",
            "log_notes": list(self._notes),
            "log_unreadable_rows": self._engine.damage.bad_count,
        }
        return {"state": self.state, "metadata": metadata, "dropped": {}}

    @property
    def grouping(self) -> Grouping:
        """How groups are known, and how sure that is."""
        return self._grouping

    @property
    def damage(self) -> Damage:
        """What could not be read; reads the log where that has not been done."""
        self._make_groups()
        return self._engine.damage

    @property
    def notes(self) -> list[str]:
        """What a reader of a report should know; reads the log where that has not been done."""
        self._make_groups()
        return list(self._notes)

    @property
    def columns(self) -> frozenset[str]:
        """Canonical columns that the log has."""
        return frozenset(self._layout.columns)

    @property
    def threshold(self) -> float | None:
        """Reward from which a rollout is correct; None where that is unknown or a column."""
        self._make_groups()
        known = self._correctness
        return None if known.low is None or known.high is None else (known.low + known.high) / 2

    # ---- tables ------------------------------------------------------------------------------

    def groups(self, columns: Sequence[str] | None = None, split: str | None = None) -> pa.Table:
        """One row per group, in order of step: the columns of a run's groups.

        Args:
            columns: Names to read; None: all.
            split: Only this split.
        """
        where = "" if split is None else f" WHERE split = {quote(split)}"
        names = quoted(check_columns("groups", columns))

        def query() -> str:
            self._make_groups()
            order = "step, generation, first, length(group_id), group_id"
            return f"SELECT {names} FROM groups{where} ORDER BY {order}"  # noqa: S608

        return self._engine.query(query)

    def rollouts(
        self,
        step: int | None = None,
        generation: int | None = None,
        group_id: int | str | None = None,
        columns: Sequence[str] | None = None,
        split: str | None = None,
    ) -> pa.Table:
        """One row per rollout, ordered by generation and row.

        Args:
            step: Only this step.
            generation: Only this generation.
            group_id: Only this group.
            columns: Names to read; None: all. Leave out `completion` where text is not needed.
            split: Only this split.
        """
        names = check_columns("rollouts", columns)
        where = conditions(step=step, generation=generation, group_id=group_id, split=split)
        wanted = list(dict.fromkeys([*names, "generation", "row"]))

        def query() -> str:
            rows = self._rollout_rows(wanted, " AND ".join(where))
            return f"SELECT {quoted(names)} FROM ({rows}) ORDER BY generation, row"  # noqa: S608

        return self._engine.query(query)

    def prompts(self) -> pa.Table:
        """One row per prompt: prompt_id, prompt, reference, and where it was first seen."""
        return self._engine.query(
            lambda: f"SELECT * FROM ({self._prompt_rows()}) ORDER BY generation, prompt_id"  # noqa: S608
        )

    def batches(self, columns: Sequence[str], rows_per_batch: int = 65_536) -> Iterator[Any]:
        """Rollouts as Arrow record batches in file order, in bounded memory.

        Args:
            columns: Columns of a run's rollouts, or `prompt`, `reference`, `advantage`.
            rows_per_batch: Largest number of rows of a batch.
        """
        self._make_groups()
        self._probe_text(columns)
        rows = self._rollout_rows(list(columns), "", ordered=False)
        relation = self._engine.connection.sql(f"SELECT {quoted(columns)} FROM ({rows})")  # noqa: S608
        yield from relation.to_arrow_reader(rows_per_batch)

    def _probe_text(self, columns: Sequence[str]) -> None:
        """Read once what grouping did not read: a stream that has begun cannot be repaired."""
        unread = {_FROM.get(name, name) for name in columns} - {*KEYS, *_MEASURED} - self._probed
        names = [name for name in CANONICAL if name in unread & set(self._layout.columns)]
        if not names:
            return
        sizes = ", ".join(
            f"max({'cardinality' if CANONICAL[name].startswith('MAP') else 'length'}({name}))"
            for name in names
        )
        self._engine.query(lambda: f"SELECT {sizes} FROM ({self._engine.reading.rows(names)})")  # noqa: S608
        self._probed |= set(names)

    def sorted_rollouts(self, folder: Path, columns: Sequence[str]) -> Iterator[Any]:
        """Rollouts as Arrow record batches, generation by generation and group by group.

        They are sorted by way of a file, so that memory stays bounded.

        Args:
            folder: Where the file may lie.
            columns: As in `batches`.
        """
        import pyarrow.parquet as pq

        file = folder / "sorted.parquet"

        def copy() -> None:
            rows = self._rollout_rows(list(dict.fromkeys([*columns, "row"])), "", ordered=False)
            self._engine.execute(
                f"""COPY (SELECT * FROM ({rows})
                    ORDER BY step, generation, split, round, group_id, row
                ) TO {quote(str(file))} (FORMAT parquet, ROW_GROUP_SIZE 8192)"""  # noqa: S608
            )

        # Sorting text takes more than grouping numbers, and nothing else is held meanwhile.
        self._engine.allow(_SORT_MIB)
        self._engine.run(copy)
        yield from pq.ParquetFile(file).iter_batches(4096)

    def sql(self, query: str) -> pa.Table:
        """Run a DuckDB query over the views groups, rollouts and prompts.

        Raises:
            InputError: DuckDB refuses the query.
        """

        def views() -> str:
            rows = self._rollout_rows(_VIEW_COLUMNS, "")
            self._engine.execute(f"CREATE OR REPLACE TEMP VIEW rollouts AS {rows}")
            self._engine.execute(f"CREATE OR REPLACE TEMP VIEW prompts AS {self._prompt_rows()}")
            return query

        return self._engine.query(views)

    # ---- private: statistics -----------------------------------------------------------------

    def _make_groups(self) -> None:
        """Make the table `groups`, again where a file was repaired since."""
        if self._made_after == self._engine.repairs:
            return
        self._engine.run(self._make_sums)
        if self._has_holes():
            # Null and missing look alike to DuckDB: a row without a reward is not an unscored one.
            before = self._engine.repairs
            while self._engine.repair(""):
                pass
            if self._engine.repairs > before:
                self._engine.run(self._make_sums)
        self._check_sums()
        self._correctness = self._find_correctness()
        self._notes = self._find_notes()
        groups = groups_from_sums("sums", self._correctness)
        self._engine.execute(
            f"""CREATE OR REPLACE TEMP VIEW groups AS
            SELECT *, 1::BIGINT AS attempt, 0::BIGINT AS rank FROM ({groups})"""  # noqa: S608
        )
        self._made_after = self._engine.repairs

    def _make_sums(self) -> None:
        lists = self._engine.reading.broken_lists()
        self._lists = (0, 0) if lists is None else self._engine.row(lists)
        kind = self._grouping.kind
        if kind == "counts":
            sums = count_sums(self._count_rows())
        elif kind == "key":
            has = frozenset(self._layout.columns) & {*_MEASURED, "prompt_id"}
            has |= {"file_index"} if self._may_mix_runs() else frozenset()
            keys = [name for name in KEYS if not _is_constant(self._layout, name)]
            keys = [name for name in keys if not (name == "generation" and self._same_generation())]
            sums = rollout_sums(
                self._engine.reading.rows([*keys, *sorted(has)]), has, keys, scale=self._scale
            )
            missing = [name for name in KEYS if name not in keys]
            # A step that is a key is at hand as a column, and generation may be the same.
            source = {**self._layout.columns, **{name: name for name in keys}}
            known = [
                f"{source['step'] if name == 'generation' else source[name]} AS {name}"
                for name in missing
            ]
            sums = sums._replace(fixed=(*known, *sums.fixed))
        else:
            self._make_numbers()
            has = frozenset(self._layout.columns) & {*_MEASURED, "prompt_id"} | {"line"}
            rows = "SELECT * FROM numbers JOIN assigned USING (line)"
            sums = rollout_sums(rows, has, scale=self._scale)
        self._engine.execute(f"CREATE OR REPLACE TEMP TABLE measured AS {sums.measured}")
        columns = ", ".join(["*", *sums.fixed])
        self._engine.execute(f"CREATE OR REPLACE TEMP VIEW sums AS SELECT {columns} FROM measured")  # noqa: S608

    def _check_sums(self) -> None:
        """Add up again where squares of rewards were infinite.

        Raises:
            InputError: There is no row, or none that can be read.
        """
        damage, where = self._engine.damage, str(self.path)
        count, is_finite = self._engine.row(
            "SELECT count(*), coalesce(bool_and(isfinite(mean) AND isfinite(std)), true) FROM sums"
        )
        if not count and damage.bad:
            what = f"no row of it can be read ({damage.bad[0]})"
            raise InputError(what, where=where, hint=_NOTHING_READ)
        if not count:
            raise InputError("the log holds no rollouts", where=where)
        if not is_finite:
            self._scale = _LARGE
            self._engine.run(self._make_sums)

    def _find_notes(self) -> list[str]:
        """What a reader of a report should know, of the log as it has been read."""
        source = self._source
        notes = [*source.notes, *source.layout.notes, *self._stepless, *self._regrouped]
        if self._grouping.kind == "key" and self._stepless:
            rows = self._engine.reading.rows(["file_index", "group_id"])
            notes.append(note_on_reuse(self._engine.connection, rows, "sums"))
        groups, spread, unjudged, unnamed = self._engine.row(
            """SELECT count(*), count(*) FILTER (is_spread), sum(unjudged),
            sum(rollouts) FILTER (prompt_id IS NULL) FROM sums"""
        )
        if empty := self._lists[1]:
            hold = "row holds" if empty == 1 else "rows hold"
            notes.append(f"{empty} {hold} no rollouts: the lists are empty")
        if spread:
            notes.append(
                f"{spread} of {groups} groups have rows in several files: an equal step and group "
                "id are one group, so give several runs one by one"
            )
        if unjudged:
            rollouts = "scored rollout is" if unjudged == 1 else "scored rollouts are"
            notes.append(
                f"{unjudged} {rollouts} neither right nor wrong by the log: how many of those "
                "groups are correct is unknown"
            )
        if unnamed and self._grouping.kind in ("prompt", "consecutive"):
            notes.append(f"{unnamed} rows without a prompt were taken for rows of one prompt")
        return [note for note in notes if note]

    def _may_mix_runs(self) -> bool:
        """Whether groups of several runs could have the same step and id."""
        is_one = len(self._engine.reading.files) == 1 or self._source.layout.has_group_steps
        return not (is_one or self._stepless)

    def _same_generation(self) -> bool:
        columns = self._layout.columns
        return columns["generation"] == columns["step"]

    def _make_numbers(self) -> None:
        """The numbers of every rollout in file order, and the group each belongs to."""
        has = [name for name in (*_MEASURED, "prompt_id") if name in self._layout.columns]
        keys = [name for name in KEYS if name != "group_id"]
        rows = self._engine.reading.rows(["file_index", *keys, *has])
        self._engine.execute(
            f"""CREATE OR REPLACE TEMP TABLE numbers AS
            SELECT row_number() OVER () AS line, * FROM ({rows})"""  # noqa: S608
        )
        found = regroup(self._engine.connection, self._source.layout.grouping)
        self._grouping = found.grouping
        self._regrouped = found.notes
        self._is_numbered = True

    def _count_rows(self) -> str:
        has = frozenset(self._layout.columns)
        names = ["step", "generation", "split", "round", "prompt_id", "correct_count", "size"]
        rows = self._engine.reading.rows([*names, *(["visits"] if "visits" in has else [])])
        rows = f"SELECT row_number() OVER () - 1 AS line, * FROM ({rows})"  # noqa: S608
        if "visits" in has:
            total = self._engine.row(f"SELECT sum(greatest(visits, 0)) FROM ({rows})")[0]  # noqa: S608
            if total is not None and total > _MAX_VISITS:
                raise InputError(
                    f"the counts stand for more than {_MAX_VISITS} groups",
                    where=str(self.path),
                    got=int(total),
                )
            # A row of no possible number of visits must be seen, to be listed.
            rows = f"""SELECT * REPLACE (CASE WHEN visits >= 0 THEN size END AS size),
                unnest(CASE WHEN visits >= 0 THEN range(visits) ELSE [0] END) AS copy
                FROM ({rows})"""  # noqa: S608
        copy = "'/' || copy" if "visits" in has else "''"
        prompt = f"coalesce(prompt_id, 'row ' || line || {copy})"
        return f"""SELECT * REPLACE ({prompt} AS prompt_id),
            concat_ws('/', generation, {prompt}, line) AS group_id FROM ({rows})"""  # noqa: S608

    def _has_holes(self) -> bool:
        """Whether any row lacks a key or a reward."""
        kind = self._grouping.kind
        if self._lists[0]:
            return True
        by_prompt = kind in ("prompt", "consecutive") and "prompt_id" in self._layout.columns
        named = self._given | ({"prompt_id"} if by_prompt else set())
        keys = [name for name in (*KEYS, "prompt_id") if name in named]
        holes = [f"count(*) FILTER ({name} IS NULL)" for name in keys]
        if kind == "counts":
            possible = "coalesce(size > 0 AND right_count BETWEEN 0 AND size, false)"
            holes.append(f"count(*) FILTER (NOT {possible})")
        elif self._engine.reading.container != "parquet" or self._layout.unnest:
            # In Parquet a column is there or not; a null in it is a null.
            holes.append("coalesce(sum(rollouts - size), 0)")
        if not holes:
            return False
        found = self._engine.row(f"SELECT {' + '.join(holes)} FROM sums")[0]  # noqa: S608
        return bool(found)

    def _find_correctness(self) -> Correctness:
        """Which reward is correct, over the whole log."""
        if self._grouping.kind == "counts":
            return Correctness(0.0, 1.0)
        if "correct" in self._layout.columns:
            return Correctness(is_column=True)
        low, high = self._engine.row("SELECT min(min), max(max) FROM sums")
        if low is None:
            return Correctness()
        span = high - low
        if span <= TOL:
            known = {0.0: (0.0, 1.0), 1.0: (0.0, 1.0), -1.0: (-1.0, 1.0)}
            pair = next((v for k, v in known.items() if abs(low - k) <= TOL), None)
            return Correctness(*pair) if pair else Correctness()
        if not math.isfinite(span):
            return Correctness()
        if max(abs(low), abs(high), span) > _LARGEST_ROOT:  # their products are infinite
            return Correctness(low, high) if self._are_two_values(low, high) else Correctness()
        # Σ(r − low)(high − r) is 0 exactly when every reward is one of the two.
        worst = self._engine.row(
            f"""SELECT max(size * ({low + high!r} * mean - std * std - mean * mean - {low * high!r})
                / {span * span!r}), max(size) FROM sums"""  # noqa: S608
        )
        doubt = 16 * 2.0**-53 * worst[1] * (max(abs(low), abs(high)) / span) ** 2
        limit = TOL / span
        if doubt < limit:
            return Correctness(low, high) if worst[0] <= limit else Correctness()
        return Correctness(low, high) if self._are_two_values(low, high) else Correctness()

    def _are_two_values(self, low: float, high: float) -> bool:
        rows = self._engine.reading.rows(["reward"])
        other = self._engine.row(
            f"""SELECT count(*) FROM ({rows}) WHERE isfinite(reward)
            AND reward - {low!r} > {TOL} AND {high!r} - reward > {TOL}"""  # noqa: S608
        )[0]
        return not other

    # ---- private: rollouts -------------------------------------------------------------------

    def _rollout_rows(self, names: Sequence[str], where: str, *, ordered: bool = True) -> str:
        """SQL of rollouts with columns of `runs.schema`, and `prompt`, `reference`, `advantage`."""
        self._make_groups()
        has = set(self._layout.columns)
        wanted = {_FROM.get(name, name) for name in names} & set(CANONICAL)
        keys = [name for name in KEYS if name != "group_id"]
        if self._grouping.kind == "counts":
            rows = f"""SELECT g.step, g.generation, g.split, g.round, g.group_id, g.prompt_id,
                i < g.correct AS correct, (i < g.correct)::DOUBLE AS reward, i AS line,
                {_nulls(wanted - {*KEYS, "prompt_id", "correct", "reward"})}
                FROM (SELECT *, unnest(range(size)) AS i FROM groups) AS g"""  # noqa: S608
        else:
            plain = [name for name in wanted - {*KEYS} if name != "group_id"]
            group = [] if self._is_numbered else ["group_id"]
            rows = self._engine.reading.rows(
                [*keys, *group, *sorted({*plain, "prompt_id", "reward"})]
            )
            rows = f"SELECT row_number() OVER () AS line, * FROM ({rows})"  # noqa: S608
            if self._is_numbered:
                rows = f"SELECT * FROM ({rows}) JOIN assigned USING (line)"  # noqa: S608
        picked = []
        for name in names:
            if name == "row":
                place = "row_number() OVER (PARTITION BY generation ORDER BY line) - 1"
                picked.append(f"{place if ordered else 'line - 1'} AS row")
            elif name in ("attempt", "rank"):
                picked.append(f"{1 if name == 'attempt' else 0}::BIGINT AS {name}")
            elif name == "reward":
                picked.append(f"{SCORED} AS reward")
            elif name == "correct" and "correct" not in has and self._grouping.kind != "counts":
                picked.append(f"{self._correct_sql()} AS correct")
            elif name == "trained" and "trained" not in has:
                picked.append("split = 'train' AS trained")
            else:
                picked.append(f"{_FROM.get(name, name)} AS {name}")
        condition = f" WHERE {where}" if where else ""
        return f"SELECT {', '.join(picked)} FROM ({rows}){condition}"  # noqa: S608

    def _correct_sql(self) -> str:
        known = self._correctness
        if known.low is None or known.high is None:
            return "NULL::BOOLEAN"
        return f"CASE WHEN isfinite(reward) THEN reward >= {known.low / 2 + known.high / 2!r} END"

    def _prompt_rows(self) -> str:
        self._make_groups()
        names = ["step", "generation", "prompt_id", "prompt", "reference"]
        if self._grouping.kind == "counts" and "visits" in self._layout.columns:
            return """SELECT min(step) AS step, min(generation) AS generation, prompt_id,
                NULL::VARCHAR AS prompt, NULL::VARCHAR AS reference
                FROM groups GROUP BY prompt_id"""
        rows = self._engine.reading.rows(names)
        return f"""SELECT min(step) AS step, min(generation) AS generation, prompt_id,
            any_value(prompt) AS prompt, any_value(reference) AS reference
            FROM ({rows}) WHERE prompt_id IS NOT NULL GROUP BY prompt_id"""  # noqa: S608


_FROM = {"advantage_used": "advantage", "advantage_framework": "advantage"}
_VIEW_COLUMNS = [
    "step", "generation", "split", "round", "row", "group_id", "prompt_id", "reward", "correct",
    "advantage_used", "advantage_framework", "length", "truncated", "trained",
    "rewards_by_function", "completion",
]  # fmt: skip


def _about_steps(source: Source) -> list[str]:
    columns = source.layout.columns
    if "step" in columns or "generation" in columns or source.layout.grouping.kind == "counts":
        return []
    if len(source.files) > 1:
        return ["no step numbers: step is the place of the file, from 0"]
    return ["no step numbers: all of it is step 0"]


def _is_constant(layout: Layout, name: str) -> bool:
    return layout.columns[name] in ("0::BIGINT", "'train'")


def _nulls(names: set[str]) -> str:
    nulls = [f"NULL::{CANONICAL[name]} AS {name}" for name in sorted(names)]
    return ", ".join(nulls) or "NULL AS nothing"
