"""The page: self-contained, safe with hostile text, and complete for every kind of run."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser

import pytest

from dissensus import Recorder, Run
from dissensus.views.examples import split_groups
from dissensus.views.html import report_page
from dissensus.views.panels import run_panels
from dissensus.views.prompts import extreme_prompts
from dissensus.views.snapshot import Snapshot
from dissensus.views.summary import summarise_run

from .hostile import HOSTILE
from .synthetic import record_run
from .test_summary import record


class Page(HTMLParser):
    """Elements, attributes and texts of a page, as a browser's parser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._inside: dict[str, str | None] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = dict(attrs) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside is None:
            self.texts.append(data)
        elif self.elements[-1][0] == "script":
            self.scripts.append((self._inside, data))

    @property
    def policy(self) -> str:
        (found,) = [a["content"] for t, a in self.elements if "http-equiv" in a and t == "meta"]
        return found or ""


@pytest.fixture(scope="module")
def hostile(hostile_page) -> Page:
    return Page(hostile_page)


def test_only_our_elements_and_no_event_handlers(hostile):
    names = [name for name, _ in hostile.elements]
    assert names.count("script") == 4  # figures, colours, plotly.js, page.js
    assert not {"img", "iframe", "svg", "link", "object", "form", "base"} & set(names)
    attributes = {key for _, found in hostile.elements for key in found}
    assert not [key for key in attributes if key.startswith("on") or key in ("src", "srcdoc")]
    links = [found["href"] for name, found in hostile.elements if name == "a"]
    assert all(link.startswith("#") for link in links)


def test_the_policy_allows_our_scripts_by_hash_and_no_connection(hostile):
    code = [text for found, text in hostile.scripts if found.get("type") != "application/json"]
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in code
    }
    directives = {part.split()[0]: set(part.split()[1:]) for part in hostile.policy.split(";")}
    assert directives["default-src"] == {"'none'"}
    assert directives["script-src"] == hashes
    assert "connect-src" not in directives  # falls back to default-src


def test_hostile_texts_are_shown_as_text(hostile):
    text = "".join(hostile.texts)
    assert HOSTILE[0] in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\u2028" not in text
    assert "⟨202E⟩" in text
    assert "more characters)" in text


def test_no_untrusted_text_in_a_script(hostile):
    for found, text in hostile.scripts:
        if found.get("type") == "application/json":
            assert "pwned" not in text
            assert "<" not in text


def test_a_page_stays_small_beside_plotly(hostile_page):
    from plotly.offline import get_plotlyjs

    assert len(hostile_page) - len(get_plotlyjs()) < 300_000


def test_every_section_and_figure_is_there_and_named(tmp_path):
    page = Page(report_page(record_run(tmp_path, generations=8)))
    plots = [found for _, found in page.elements if (found.get("id") or "").startswith("plot-")]
    assert len(plots) == 5
    assert all(found["role"] == "img" and found["aria-label"] for found in plots)
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    labelled = [found["aria-labelledby"] for name, found in page.elements if name == "section"]
    assert set(labelled) <= set(ids)
    targets = {found["href"][1:] for name, found in page.elements if name == "a"}
    assert targets <= set(ids)
    headings = [int(name[1]) for name, _ in page.elements if re.fullmatch(r"h\d", name)]
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(headings))


def test_what_cannot_be_shown_says_why(tmp_path):
    run = record_run(tmp_path, generations=6, noise=0.5, heldout_every=0)
    source = Snapshot(run)
    panels = {p.name: p for p in run_panels(source, summarise_run(source))}
    assert panels["progress"].figure is not None
    assert panels["unanimous"].figure is not None
    for name in ("outcomes", "rates", "mass"):
        assert panels[name].figure is None
        assert "correct" in panels[name].absent
    text = "".join(Page(report_page(source)).texts)
    assert "No held-out evaluation was recorded" in text


def test_pages_of_runs_with_little_in_them(tmp_path):
    Recorder(tmp_path / "empty").close()
    assert "Not shown: nothing has been recorded yet." in report_page(Run(tmp_path / "empty"))
    one = record(tmp_path / "one", [("a", 0, [1.0])])
    assert "visited twice" in report_page(one)
    numbers = record_run(tmp_path / "bare", generations=2, texts=None, advantages=False)
    assert "no completion of a split group has been recorded" in report_page(numbers)


def test_an_empty_run_is_not_told_about_its_reward_values(tmp_path):
    Recorder(tmp_path).close()
    source = Snapshot(Run(tmp_path))
    for panel in run_panels(source, summarise_run(source)):
        assert panel.figure is None
        assert "recorded yet" in panel.absent
        assert "two values" not in panel.absent


def test_what_was_cut_is_counted_on_the_whole_text(tmp_path):
    with Recorder(tmp_path) as recorder:
        for step in range(2):
            recorder.record(
                step=step,
                group_ids=[0, 0, 1, 1],
                prompt_ids=[0, 0, 1, 1],
                rewards=[1.0, 0.0, 0.0, 0.0],
                prompts=["x" * 50_000] * 4,
                references=["y" * 5_000] * 4,
                completions=["z" * 50_000] * 4,
            )
    source = Snapshot(Run(tmp_path))
    example = split_groups(source)[0]
    assert example.prompt == "x" * 1200 + " … (48,800 more characters)"
    assert example.reference == "y" * 1200 + " … (3,800 more characters)"
    (never,) = extreme_prompts(source, solved=False)
    assert never.prompt == "x" * 400 + " … (49,600 more characters)"


def test_examples_are_split_and_of_different_prompts(tmp_path):
    found = split_groups(Snapshot(record_run(tmp_path, generations=12)))
    assert len(found) == 6
    assert len({group.prompt_id for group in found}) == 6
    assert [group.step for group in found] == sorted(group.step for group in found)
    for group in found:
        assert {answer.reward for answer in group.better} == {1.0}
        assert {answer.reward for answer in group.worse} == {0.0}
        assert all(answer.advantage > 0 for answer in group.better)
        assert group.prompt == f"What is {group.prompt_id} + 7?"
        assert group.reference == str(int(group.prompt_id) + 7)
