"""DuckDB over the files of a log; where it stops at a damaged file, that file is repaired."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from dissensus.errors import InputError
from dissensus.readers.base import BadRow, Layout
from dissensus.readers.damage import Damage, repair
from dissensus.readers.footers import check_footer
from dissensus.readers.reading import Reading
from dissensus.readers.sniff import ends_with_array
from dissensus.readers.sources import Source
from dissensus.runs.database import connect

__all__ = ["Engine"]

_MAX_THREADS = 8
_BASE_MIB = 224
_ALONE_MIB = 640
_MIB_PER_THREAD = 32  # the buffer of DuckDB's JSON reader


class Engine:
    """A connection, the SQL that reads the files, and what was found to be damaged.

    Args:
        source: The log.
        layout: The layout of most files, with every key a table needs.
        others: Layouts of the other files, alike.
        damage: Where to count and list rows that cannot be read.

    Attributes:
        reading: The files as SQL.
        damage: Rows that could not be read so far.
        repairs: Number of files repaired so far; what was made from them before is out of date.
    """

    def __init__(
        self, source: Source, layout: Layout, others: Mapping[Path, Layout], damage: Damage
    ) -> None:
        self.damage = damage
        self.repairs = 0
        self._is_frugal = False
        self._source, self._layout, self._others = source, layout, others
        folder = tempfile.TemporaryDirectory(prefix="dissensus-")
        self._folder = Path(folder.name)
        self._finalizer = weakref.finalize(self, folder.cleanup)
        threads = min(_MAX_THREADS, os.cpu_count() or 1)
        self.connection = connect(
            autoinstall_known_extensions=False,
            memory_limit=f"{_BASE_MIB + threads * _MIB_PER_THREAD}MiB",
            temp_directory=str(self._folder / "spill"),
            threads=threads,
        )
        self.reading = self._open()
        self.connection.execute(self.reading.prepare())

    def close(self) -> None:
        """Close the connection and remove temporary files."""
        self.connection.close()
        self._finalizer()

    def execute(self, query: str) -> None:
        """Run a statement; called from what `run` runs, so that its errors lead to a repair."""
        self.connection.execute(query)

    def allow(self, mib: int) -> None:
        """Let DuckDB use this much memory, where it has not been given more."""
        if not self._is_frugal:
            self.execute(f"SET memory_limit='{mib}MiB'")

    def row(self, query: str) -> tuple[Any, ...]:
        """The only row of a query."""
        found: tuple[Any, ...] = self.connection.execute(query).fetchone()
        return found

    def run(self, work: Callable[[], Any]) -> Any:
        """Do work that reads the log; where a file is damaged, repair it and do it again.

        Raises:
            InputError: DuckDB refuses the query, or cannot read the log even after repairs.
        """
        import duckdb

        of_the_query = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
        while True:
            try:
                return work()
            except duckdb.InterruptException:  # Ctrl-C is no damage
                raise KeyboardInterrupt from None
            except of_the_query as error:
                raise self._refused("DuckDB refuses the query", error) from error
            except duckdb.OutOfMemoryException as error:
                if not self._is_frugal:  # what one thread holds of long texts may still fit
                    self._is_frugal = True
                    self.connection.execute(f"SET threads=1; SET memory_limit='{_ALONE_MIB}MiB'")
                    continue
                raise self._refused("DuckDB has not enough memory for it", error) from error
            except duckdb.Error as error:
                if not self.repair(str(error)):
                    raise self._refused("DuckDB cannot read it", error) from error
            except UnicodeDecodeError as error:  # DuckDB's message quotes bytes of the file
                if not self.repair(""):
                    raise self._refused("DuckDB cannot read it", error) from error

    def query(self, make: Callable[[], str]) -> pa.Table:
        """The rows of a query, as an Arrow table; it is made again after a repair."""

        def work() -> pa.Table:
            relation = self.connection.sql(make())
            if relation is None:
                raise InputError("the query must give rows", where=str(self._source.path))
            return relation.to_arrow_table()

        found: pa.Table = self.run(work)
        return found

    def repair(self, message: str) -> bool:
        """Copy what can be read of the damaged file that an error names; of the next otherwise.

        Returns:
            Whether there was a file left to repair.
        """
        reading = self.reading
        left = [file for file in reading.files if file not in reading.repaired]
        if not left or self._source.format.convert is not None:
            return False
        file = next((file for file in left if f'"{file}"' in message), left[0])
        copy = self._folder / f"repaired-{self.repairs}.parquet"
        layout = self._others.get(file, self._layout)
        nullable = layout.columns.get("reward", "") + layout.columns.get("correct", "")
        repair(
            file,
            copy,
            container=reading.container,
            layout=layout,
            nullable=frozenset(
                raw
                for raw in layout.required
                if f'"{raw}"' in nullable and raw not in layout.unnest
            ),
            name=self._name(file),
            damage=self.damage,
        )
        reading.repaired[file] = copy
        self.repairs += 1
        return True

    # ---- private -----------------------------------------------------------------------------

    def _refused(self, what: str, error: Exception) -> InputError:
        got = str(error).splitlines()[0] if str(error) else type(error).__name__
        return InputError(what, where=str(self._source.path), got=got)

    def _open(self) -> Reading:
        source = self._source
        if source.format.convert is not None:
            return Reading(self._convert(), "parquet", self._layout, {})
        is_parquet = source.sample.container == "parquet"
        files = [file for file in source.files if self._is_sound(file, is_parquet=is_parquet)]
        if not files:
            raise InputError(f"nothing of it can be read ({self.damage.bad[-1]})")
        return Reading(files, source.sample.container, self._layout, self._others)

    def _is_sound(self, file: Path, *, is_parquet: bool) -> bool:
        if is_parquet:
            return check_footer(file, self._name(file), self.damage)
        if file.stat().st_size:
            if self._source.sample.container == "json" and not ends_with_array(file):
                kept = BadRow(self._name(file), 0, "nothing after the JSON array", "the array")
                self.damage.report(kept)
            return True
        self.damage.report(BadRow(self._name(file), 0, "at least one row (the file is empty)"))
        return False

    def _convert(self) -> list[Path]:
        """Convert every file to a Parquet copy, batch by batch."""
        import pyarrow.parquet as pq

        copies = []
        for number, file in enumerate(self._source.files):
            copy = self._folder / f"converted-{number}.parquet"
            writer = None
            for batch in self._batches(file):
                self.damage.rows_read += batch.num_rows
                self.damage.rows_kept += batch.num_rows
                writer = writer or pq.ParquetWriter(copy, batch.schema, compression="zstd")
                writer.write_batch(batch)
            if writer is not None:
                writer.close()
                copies.append(copy)
        if not copies:
            what = f" ({self.damage.bad[-1]})" if self.damage.bad else ""
            raise InputError(f"nothing of it can be read{what}", where=str(self._source.path))
        return copies

    def _batches(self, file: Path) -> Any:
        name = self._name(file)

        def report(row: int, expected: str, kept: str) -> None:
            self.damage.report(BadRow(name, row, expected, kept))

        convert = self._source.format.convert
        return convert(file, report) if convert is not None else ()

    def _name(self, file: Path) -> str:
        path = self._source.path
        return str(file.relative_to(path)) if file != path else file.name
