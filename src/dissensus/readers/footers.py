"""Checks on Parquet footers before anything is decompressed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.readers.base import BadRow
from dissensus.readers.damage import Damage

__all__ = ["check_footer"]

_MAX_RATIO = 1000
_MAX_UNPACKED_BYTES = 1 << 30
_MAX_ROWS_PER_BYTE = 1000
_FEW_ROWS = 50_000_000


def check_footer(file: Path, name: str, damage: Damage) -> bool:
    """Whether a Parquet file may be read; what speaks against it is listed in `damage`.

    A file whose footer promises to grow a thousandfold beyond 1 GiB, or far more rows than its
    bytes can hold, is left alone.
    """
    try:
        metadata = pq.read_metadata(file)
    except (OSError, ValueError, pa.ArrowException) as error:
        text = str(error).splitlines()[0][:120]
        damage.report(BadRow(name, 0, f"a Parquet file with a readable footer ({text})"))
        return False
    size = max(file.stat().st_size, 1)
    unpacked = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        unpacked += max(group.total_byte_size, 0)
    if unpacked > _MAX_UNPACKED_BYTES and unpacked / size > _MAX_RATIO:
        expected = f"at most {_MAX_RATIO} times its size unpacked, not {unpacked / size:,.0f} times"
        damage.report(BadRow(name, 0, expected))
        return False
    if metadata.num_rows > _FEW_ROWS and metadata.num_rows / size > _MAX_ROWS_PER_BYTE:
        damage.report(BadRow(name, 0, f"fewer rows than {metadata.num_rows:,} in {size:,} bytes"))
        return False
    return True
