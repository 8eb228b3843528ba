"""The table of all formats. A framework's format is one file beside this one and one line here."""

from __future__ import annotations

from dissensus.readers.areal import AREAL
from dissensus.readers.base import Format
from dissensus.readers.counts import ACCURACY_LISTS, HISTOGRAM, KOFN
from dissensus.readers.ms_swift import MS_SWIFT
from dissensus.readers.nemo_rl import NEMO_RL
from dissensus.readers.open_instruct import OPEN_INSTRUCT
from dissensus.readers.prime_rl import PRIME_RL
from dissensus.readers.roll import ROLL
from dissensus.readers.skyrl import SKYRL
from dissensus.readers.slime import SLIME
from dissensus.readers.tabular import TABLE
from dissensus.readers.tinker import TINKER
from dissensus.readers.trl import TRL
from dissensus.readers.verl import VERL, VERL_LEGACY

__all__ = ["FORMATS", "FRAMEWORK_FORMATS", "GENERIC_FORMATS", "format_names"]

FRAMEWORK_FORMATS: tuple[Format, ...] = (
    TRL,
    VERL,
    VERL_LEGACY,
    NEMO_RL,
    SLIME,
    MS_SWIFT,
    OPEN_INSTRUCT,
    PRIME_RL,
    AREAL,
    TINKER,
    ROLL,
    SKYRL,
)
"""Each recognises only its own logs: a log that two of them recognise is an error."""

GENERIC_FORMATS: tuple[Format, ...] = (ACCURACY_LISTS, HISTOGRAM, KOFN, TABLE)
"""Tried in this order when no framework's format recognises a log."""

FORMATS: tuple[Format, ...] = (*FRAMEWORK_FORMATS, *GENERIC_FORMATS)


def format_names() -> list[str]:
    """Names that `--format` accepts, besides "auto"."""
    return [each.name for each in FORMATS]
