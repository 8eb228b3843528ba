"""The generated pages are current."""

from __future__ import annotations

from pathlib import Path

from dissensus.audit.findings import catalogue
from dissensus.audit.findings_page import findings_page, with_defaults, write_pages

DOCS = Path(__file__).resolve().parents[2] / "docs"
HINT = "run python -m dissensus.audit.findings_page docs"


def test_the_page_of_findings_is_current():
    assert (DOCS / "findings.md").read_text(encoding="utf-8") == findings_page(), HINT


def test_the_table_of_defaults_is_current():
    page = (DOCS / "audit.md").read_text(encoding="utf-8")
    assert page == with_defaults(page), HINT


def test_every_code_has_its_section():
    page = findings_page()
    for code in catalogue():
        assert page.count(f"### {code}\n") == 1


def test_pages_are_written_into_a_folder(tmp_path):
    (tmp_path / "audit.md").write_text(
        "a\n<!-- defaults: generated -->\nold\n<!-- end of defaults -->\nb\n"
    )
    write_pages(tmp_path)
    page = (tmp_path / "audit.md").read_text(encoding="utf-8")
    assert page.startswith("a\n")
    assert page.endswith("\nb\n")
    assert "old" not in page
    assert "| TRL · GRPOTrainer |" in page
    assert (tmp_path / "findings.md").read_text(encoding="utf-8") == findings_page()
