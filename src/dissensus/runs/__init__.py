"""A run on disk: `Recorder` writes it, `Run` reads it, `compact` makes it small in files.

The format is described in docs/run-format.md.
"""

from __future__ import annotations

from dissensus.runs.attempts import Attempt
from dissensus.runs.compaction import Compacted, compact
from dissensus.runs.recorder import Recorder
from dissensus.runs.run import Run
from dissensus.runs.schema import COLUMNS, SCHEMA_VERSION, SCHEMAS, Column

__all__ = [
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
