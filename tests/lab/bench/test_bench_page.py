"""The benchmark on a page and in a terminal: ties as ties, hostile names as text."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from dissensus.lab.bench.analysis import analyse
from dissensus.lab.bench.records import Arm
from dissensus.views.bench import AXES
from dissensus.views.bench_page import bench_page
from dissensus.views.bench_tables import bench_view, effect_rows
from dissensus.views.bench_words import bench_sentences

from .simulated import simulated_bench, simulated_record


@pytest.fixture(scope="module")
def analysis():
    return analyse(simulated_bench(prompts=60), source="runs/serious")


@pytest.fixture(scope="module")
def page(analysis):
    return bench_page(analysis)


def figures(page):
    return json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])


def test_every_arm_stands_in_its_table_once(page, analysis):
    for family in analysis.families:
        table = re.search(rf'<section id="{family.name}-table".*?</section>', page, re.DOTALL)[0]
        cells = re.findall(r'<td class="name">(.*?)</td>', table)
        assert cells == [row[0] for row in effect_rows(analysis, family)]
        assert len(cells) == len(family.comparisons) + 1


def test_curves_can_be_drawn_against_every_cost(page, analysis):
    shown = figures(page)
    for name in ("allocators-curves", "estimators-curves"):
        options = re.search(rf'<select data-plot="{name}">(.*?)</select>', page)[1]
        values = re.findall(r'value="(.*?)"', options)
        assert values[0] == name
        titles = [shown[value]["layout"]["xaxis"]["title"]["text"] for value in values]
        assert titles == list(AXES.values())


def test_the_command_and_the_claims_are_on_the_page(page, analysis):
    assert "dissensus bench runs/serious --plan simulated" in page
    text = page.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
    for sentence in bench_sentences(analysis):
        assert sentence in text


def test_words_claim_only_what_intervals_exclude(analysis):
    said = " ".join(bench_sentences(analysis))
    for family in analysis.families:
        for each in family.comparisons:
            name = analysis.short(each.name, family.name)
            claim = f"{family.name.capitalize()}: {name} ends "
            assert (claim in said) == (each.final.low > 0 or each.final.high < 0)


def test_names_from_a_file_are_text():
    hostile = Arm("grpo", '<img src=x onerror="alert(1)">')
    records = [
        simulated_record(arm, seed, prompts=20)
        for arm in (Arm("grpo", "uniform"), hostile)
        for seed in range(2)
    ]
    page = bench_page(analyse(records))
    assert "<img src" not in page
    assert "<img" not in json.dumps(figures(page))


def test_the_terminal_has_80_columns(analysis):
    out = io.StringIO()
    Console(file=out, width=80, markup=False, emoji=False, highlight=False).print(
        bench_view(analysis)
    )
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("…" in line for line in lines) == 0
    assert any("tie" in line for line in lines)


def test_one_seed_can_be_shown():
    records = [simulated_record(Arm("grpo", name), 0, prompts=20) for name in ("uniform", "dapo")]
    analysis = analyse(records)
    assert "no interval" not in " ".join(bench_sentences(analysis))
    assert "–" in bench_page(analysis)
