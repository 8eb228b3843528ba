"""`dissensus paper` from the outside."""

from __future__ import annotations

import json

import pytest

from dissensus.cli.app import run


@pytest.fixture(autouse=True)
def small_run(monkeypatch):
    """The controlled run with fewer prompts and steps; everything else as it is."""
    from dissensus.lab.paper import controlled
    from dissensus.lab.paper import run as paper_run

    small = controlled.ControlledSettings(prompts=300, steps=10, mass_repeats=5)
    real = paper_run.PaperSettings

    def settings(**given):
        return real(controlled=small, **given)

    monkeypatch.setattr(paper_run, "PaperSettings", settings)


def test_json_holds_every_number_and_says_what_is_absent(capsys, tmp_path):
    page = tmp_path / "paper.html"
    arguments = ["--json", "--skip-model", "--seeds", "2", "--html", str(page)]
    assert run(["paper", *arguments, "--data", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err == ""
    assert document["paper"] == "arXiv:2607.00152"
    found = document["sections"]
    assert len(found["group-sizes"]["comparisons"]) == 26
    extreme = {c["name"]: c for c in found["big-math"]["comparisons"]}["extreme mass, GRPO, G → ∞"]
    assert extreme["paper"] == 0.247
    assert extreme["agreement"] == "same"
    assert extreme["difference"] == pytest.approx(extreme["ours"] - 0.247)
    assert len(found["controlled"]["numbers"]["hardest_quartile_grpo"]["values"]) == 2
    assert "--data" in found["dapo"]["absent"]
    assert "--skip-model" in found["language-model"]["absent"]
    text = page.read_text(encoding="utf-8")
    assert all(f"plot-figure-{n}" in text for n in (5, 8, "3-left", "10-c"))
    assert "plot-figure-6" not in text


def test_one_seed_is_too_few_for_an_interval(capsys):
    assert run(["paper", "--skip-model", "--seeds", "1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_terminal_shows_tables(capsys, shared_data):
    assert run(["paper", "--skip-model", "--seeds", "2", "--data", str(shared_data)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "extreme mass, GRPO, G → ∞" in out
    assert "0.92" in out
    assert "Paper and ours: " in out
