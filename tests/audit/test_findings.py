"""The catalogue and the findings made from it."""

from __future__ import annotations

import pytest

from dissensus.audit.findings import CatalogueEntry, Finding, Severity, _read, catalogue, entry
from dissensus.audit.numbers import fill
from dissensus.errors import InputError


def test_severities_are_ordered():
    assert [s.rank for s in (Severity.NOTE, Severity.WARNING, Severity.ERROR)] == [0, 1, 2]
    assert Severity.WARNING.is_at_least("note")
    assert not Severity.NOTE.is_at_least(Severity.WARNING)
    with pytest.raises(ValueError, match="fatal"):
        Severity.NOTE.is_at_least("fatal")


def test_the_catalogue_is_complete_and_its_texts_can_be_filled():
    assert list(catalogue()) == sorted(catalogue())
    for code, item in catalogue().items():
        assert isinstance(item, CatalogueEntry)
        assert item.code == code
        assert item.subject
        assert fill(item.consequence, {}, 8)
        assert not item.title.endswith(".")


def test_a_finding_takes_from_the_catalogue_what_is_not_given():
    finding = Finding.of("LOG602", where="step 4", evidence="2 prompts in group 7")
    assert finding.title == entry("LOG602").title
    assert finding.fix == entry("LOG602").fix
    assert finding.severity is Severity.ERROR
    milder = Finding.of("LOG602", where="a", evidence="b", severity="note", fix="none")
    assert (milder.severity, milder.fix) == (Severity.NOTE, "none")
    assert set(finding.to_json()) == {
        "code",
        "severity",
        "title",
        "where",
        "evidence",
        "consequence",
        "fix",
    }


def test_a_code_that_is_not_listed_is_refused():
    with pytest.raises(InputError, match="no such code"):
        Finding.of("EST999", where="a", evidence="b")


@pytest.mark.parametrize("code", ["XXX101", "EST1", "est101"])
def test_malformed_entries_are_refused(code):
    with pytest.raises(InputError):
        _read(code, {"severity": "note"})
    with pytest.raises(InputError, match="malformed"):
        _read("EST101", {"severity": "grave"})
