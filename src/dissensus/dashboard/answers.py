"""What is sent for a view: JSON for the page, CSV for everything else."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa

import dissensus
from dissensus.dashboard.heads import describe_run, sparks
from dissensus.runs import Run
from dissensus.views.format import one_line
from dissensus.views.live_views import View
from dissensus.views.style import Theme

__all__ = ["MADE_BY", "make_csv", "make_json", "make_line", "warm_up"]

MADE_BY: str = dissensus.__version__
"""Goes into the tag of every answer: another version may answer otherwise."""

_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def make_json(
    view: View, source: Any, theme: Theme, parameters: dict[str, Any], version: str
) -> bytes:
    """Make a view, and write it as the page reads it."""
    shown = view.make(source, theme, **parameters)
    document = shown._asdict()
    del document["csv"]
    if shown.table is not None:
        document["table"] = shown.table._asdict()
    document["more"] = dict(shown.more)
    document["note"] = f"{_left_out(source)}{shown.note}"
    return _encode({**document, "title": view.title, "version": version})


def make_csv(view: View, source: Any, parameters: dict[str, Any]) -> bytes:
    """Make a view, and write the numbers behind it.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    from pyarrow import csv

    table = _flat(view.make(source, "light", **parameters).csv)
    file = io.BytesIO()
    csv.write_csv(table, file)
    return file.getvalue()


def make_line(run: Run) -> bytes:
    """What the list of runs says of one."""
    head, curves = describe_run(run), sparks(run)
    return _encode({**head._asdict(), **curves._asdict()})


def warm_up() -> None:
    """Import what makes and writes a figure, in one thread.

    plotly takes pandas from the loaded modules, also when another thread has loaded half of it.
    """
    from dissensus.views.canvas import new_figure

    with contextlib.suppress(ImportError):
        import pandas  # noqa: F401, ICN001
    _encode(new_figure("light", "").to_plotly_json())


def _left_out(source: Any) -> str:
    """What every figure of a damaged run lacks, in words; nothing for the catalogue."""
    sources = [each for _, each in source] if isinstance(source, list) else [source]
    files = [Path(f) for each in sources if each is not None for f in each.run.unreadable]
    if not files:
        return ""
    first = one_line(f"{files[0].parent.name}/{files[0].name}", 80)
    others = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"Left out, because it cannot be read: {first}{others}. "


def _encode(document: dict[str, Any]) -> bytes:
    from plotly.utils import PlotlyJSONEncoder

    # Arrays become what plotly.js reads; what is not finite becomes null.
    text = json.dumps(document, cls=PlotlyJSONEncoder, separators=(",", ":"))
    return text.encode("utf-8")


def _flat(table: pa.Table) -> pa.Table:
    for i, field in enumerate(table.schema):
        if not _is_plain(field.type):
            texts = [None if v is None else json.dumps(_finite(v)) for v in table[i].to_pylist()]
            table = table.set_column(i, field.name, pa.array(texts, pa.string()))
        elif _is_text(field.type):
            texts = [_harmless(text) for text in table[i].to_pylist()]
            table = table.set_column(i, field.name, pa.array(texts, pa.string()))
    return table


def _harmless(text: str | None) -> str | None:
    if text is None or not text.startswith(_STARTS_FORMULA):
        return text
    try:
        float(text)  # "-1" is a number wherever it is read
    except ValueError:
        return f"'{text}"
    return text


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_plain(kind: pa.DataType) -> bool:
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return bool(plain or _is_text(kind))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
