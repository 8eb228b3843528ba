"""Findings, and the catalogue of every code that an audit can give."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from dissensus.audit.numbers import fill
from dissensus.errors import InputError

__all__ = ["CatalogueEntry", "Finding", "Severity", "catalogue", "entry"]

_SUBJECTS = {
    "EST": "Estimator and denominator",
    "SIL": "Silent groups and refill",
    "LOS": "Loss aggregation",
    "MET": "Metrics that mislead",
    "SAM": "Sampling and filters",
    "LOG": "Logged advantages and black boxes",
    "CFG": "Settings without effect, and what stays unknown",
}


class Severity(StrEnum):
    """How much a finding matters; `error` is the most severe.

    Example:
        >>> Severity.ERROR.is_at_least(Severity.WARNING), Severity.NOTE.is_at_least("warning")
        (True, False)
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for a note, 1 for a warning, 2 for an error."""
        return ("note", "warning", "error").index(self.value)

    def is_at_least(self, other: Severity | str) -> bool:
        """Whether this is as severe as `other`, or more."""
        return self.rank >= Severity(other).rank


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    Args:
        code: Three letters of the subject and a number; stable for ever.
        severity: From the catalogue, unless the place gives a reason for another one.
        title: One line.
        where: `file:line`, or the name of a function, or a step and group of a log.
        evidence: What was read or measured there.
        consequence: What it does to training, in numbers.
        fix: The exact key, or the change to make.
    """

    code: str
    severity: Severity
    title: str
    where: str
    evidence: str
    consequence: str
    fix: str

    @classmethod
    def of(
        cls,
        code: str,
        *,
        where: str,
        evidence: str,
        consequence: str | None = None,
        fix: str | None = None,
        severity: Severity | str | None = None,
        group_size: int | None = None,
    ) -> Finding:
        """Make a finding from its catalogue entry; what is not given is taken from there.

        The catalogue's consequence holds numbers that are computed for `group_size` (8 if None).

        Raises:
            InputError: The catalogue has no such code.

        Example:
            >>> finding = Finding.of("LOG609", where="step 3, group 7", evidence="2 rows are NaN")
            >>> finding.code, finding.severity.value
            ('LOG609', 'error')
        """
        listed = entry(code)
        return cls(
            code,
            Severity(severity or listed.severity),
            listed.title,
            where,
            evidence,
            fill(listed.consequence, {}, group_size) if consequence is None else consequence,
            listed.fix if fix is None else fix,
        )

    def to_json(self) -> dict[str, str]:
        """Plain texts by field name."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "title": self.title,
            "where": self.where,
            "evidence": self.evidence,
            "consequence": self.consequence,
            "fix": self.fix,
        }


@dataclass(frozen=True)
class CatalogueEntry:
    """What the catalogue says about a code.

    Args:
        code: `EST101`.
        severity: Usual severity.
        title: One line.
        explanation: Why it matters; a paragraph.
        consequence: In words; a finding computes the numbers for its own case. May hold
            `{= …}` numbers (see `dissensus.audit.numbers`).
        fix: What to do, framework by framework where a finding does not say it.
        source: Where it is documented: code, thread, or paper.
    """

    code: str
    severity: Severity
    title: str
    explanation: str
    consequence: str
    fix: str
    source: str

    @property
    def subject(self) -> str:
        """Subject that the three letters stand for."""
        return _SUBJECTS[self.code[:3]]


@cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """Every code that an audit can give, in order.

    Raises:
        InputError: The catalogue file is malformed.

    Example:
        >>> catalogue()["EST101"].subject
        'Estimator and denominator'
    """
    text = files("dissensus.audit").joinpath("catalogue.toml").read_text(encoding="utf-8")
    entries = [_read(code, values) for code, values in tomllib.loads(text).items()]
    return MappingProxyType({item.code: item for item in sorted(entries, key=lambda e: e.code)})


def entry(code: str) -> CatalogueEntry:
    """Return what the catalogue says about one code.

    Raises:
        InputError: The catalogue has no such code.
    """
    try:
        return catalogue()[code]
    except KeyError:
        raise InputError("the catalogue has no such code", got=code) from None


def _read(code: str, values: Mapping[str, Any]) -> CatalogueEntry:
    if code[:3] not in _SUBJECTS or not (code[3:].isdigit() and len(code) == 6):
        raise InputError("a code is a subject and three digits", where="catalogue", got=code)
    try:
        texts = {key: " ".join(str(text).split()) for key, text in values.items()}
        return CatalogueEntry(code, Severity(texts.pop("severity")), **texts)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("a catalogue entry is malformed", where=code, got=str(error)) from error
