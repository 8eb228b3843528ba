"""Pages and numbers: what is on them, what they keep, and that hostile text stays text."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time
from html.parser import HTMLParser
from importlib.resources import files
from urllib.parse import urlencode

import pyarrow as pa
import pytest
from starlette.testclient import TestClient
from views.synthetic import record_run

from dissensus import Recorder, Run
from dissensus.dashboard import answers
from dissensus.dashboard.app import Dashboard
from dissensus.dashboard.pages import FIRST_VIEWS, RUN_VIEWS
from dissensus.dashboard.security import make_policy
from dissensus.views.live_views import VIEWS

HOSTILE = "<img src=x onerror=alert(1)>"
STATIC = files("dissensus.dashboard") / "static"
TEMPLATES = files("dissensus.dashboard") / "templates"


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def scripts(text):
    return [attributes for tag, attributes in Elements(text).found if tag == "script"]


def step_groups(client, run, step):
    table = client.get(f"/data/run/{run}/step", params={"step": step}).json()["table"]
    return [dict(zip((c[0] for c in table["columns"]), row, strict=True)) for row in table["rows"]]


def group_address(run, link):
    return f"/run/{run}/group?" + urlencode({"group_id": link[1], "generation": link[2]})


def hostile_addresses(client, run):
    found = ["/", f"/run/{run}", f"/run/{run}/prompts", f"/run/{run}/plan", f"/compare?run={run}"]
    found.append(f"/run/{run}/step/1")  # every prompt is in every step
    found += [group_address(run, row["group_id"]) for row in step_groups(client, run, 1)]
    found += [f"/run/{run}/prompt?prompt_id={prompt}" for prompt in range(17)]
    return found


def test_hostile_text_makes_no_element(client, ids):
    texts = []
    for address in hostile_addresses(client, ids[HOSTILE]):
        answer = client.get(address)
        assert answer.status_code == 200, address
        texts.append(answer.text)
        for tag, attributes in Elements(answer.text).found:
            assert tag not in {"img", "iframe", "svg", "object", "embed", "base"}
            assert not [name for name in attributes if name.startswith("on")]
            for name in ("href", "src", "action"):
                assert (attributes.get(name) or "/").startswith(("/", "#"))
        assert all(
            each["src"].startswith(("/static/", "/plotly-")) for each in scripts(answer.text)
        )
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", answer.text)
    shown = "".join(texts)
    assert "&lt;script&gt;document.documentElement.dataset.pwned=1&lt;/script&gt;" in shown
    assert "⟨202E⟩" in shown


def test_every_view_answers_in_both_themes(client, ids):
    for run in ids.values():
        for name in RUN_VIEWS:
            for theme in ("light", "dark"):
                answer = client.get(f"/data/run/{run}/{name}", params={"theme": theme})
                assert answer.status_code == 200, (name, answer.text)
                shown = answer.json()
                assert shown["figure"] or shown["table"] or shown["note"]
                assert "gl" not in {
                    t["type"][-2:] for t in (shown["figure"] or {"data": []})["data"]
                }
            assert client.get(f"/csv/run/{run}/{name}").status_code == 200


def test_a_view_is_where_it_belongs(client, ids):
    run = ids["grpo-0"]
    for path in (f"/data/run/{run}/compare", "/data/compare/reward", "/data/reward", "/data/plan"):
        assert client.get(path).status_code == 404
    assert client.get("/data/compare/compare").status_code == 400  # of which runs?
    twice = [("run", run), ("run", run)]
    assert client.get("/data/compare/compare", params=twice).status_code == 400
    both = [("run", run), ("run", ids["grpo-1"]), ("x", "rollouts")]
    assert client.get("/data/compare/compare", params=both).json()["figure"]


def test_the_catalogue_and_the_plan_have_figures(client, ids):
    shown = client.get("/data/catalogue", params={"estimator": "grpo", "theme": "dark"}).json()
    assert len(shown["figure"]["data"]) >= 2
    assert shown["more"]["advice"]
    for theme, colour in (("light", "#ffffff"), ("dark", "#0f1318")):
        address = f"/data/run/{ids['grpo-0']}/plan"
        shown = client.get(address, params={"theme": theme}).json()
        assert shown["figure"]["layout"]["paper_bgcolor"] == colour
    assert client.get("/estimators").status_code == 200


def test_the_line_of_a_run_counts_what_was_recorded(client, ids, root):
    line = client.get(f"/data/runs/{ids['grpo-0']}").json()
    groups = Run(root / "grpo-0").groups(split="train").to_pylist()
    assert line["state"] == "finished"
    assert line["method"] == "grpo(ddof=1, eps=1e-4)"
    assert line["steps"] == 12
    assert line["rollouts"] == sum(group["rollouts"] for group in groups) == 12 * 16 * 8
    for step in (0, 11):
        of_step = [group for group in groups if group["step"] == step]
        split = sum(group["max"] > group["min"] for group in of_step) / 16
        assert line["split"][step] == pytest.approx(split)
        mean = sum(group["mean"] for group in of_step) / 16
        assert line["reward"][step] == pytest.approx(mean)


def test_from_a_step_to_a_group_to_the_next_split_one(client, ids):
    run = ids["grpo-0"]
    rows = step_groups(client, run, 5)
    split = next(row for row in rows if row["kind"] == "split")
    page = client.get(group_address(run, split["group_id"])).text
    assert page.count("<article") == 8
    assert f'href="/run/{run}/step/5"' in page
    links = [attributes for tag, attributes in Elements(page).found if tag == "a"]
    following = next(each["href"] for each in links if each.get("rel") == "next")
    after = client.get(following)
    assert after.status_code == 200
    assert ": split" in after.text


def test_what_is_unchanged_is_not_sent_again(client, ids):
    address = f"/data/run/{ids['grpo-0']}/reward"
    first = client.get(address)
    tag = first.headers["etag"]
    assert "no-cache" in first.headers["cache-control"]
    again = client.get(address, headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")
    dark = client.get(address, params={"theme": "dark"}, headers={"if-none-match": tag})
    assert dark.status_code == 200


def test_a_new_step_is_a_new_version(tmp_path):
    dashboard = Dashboard(tmp_path, make_policy("127.0.0.1", None))
    with TestClient(dashboard.app, base_url="http://127.0.0.1") as client:
        assert "No run lies here yet" in client.get("/").text
        empty = client.get("/version").json()["version"]
        with Recorder(tmp_path / "run") as recorder:
            rows = {"group_ids": [1, 1], "prompt_ids": [1, 1], "rewards": [0.0, 1.0]}
            recorder.record(step=0, **rows)
            recorder.flush()
            dashboard.runs._good_until_s = 0.0  # as if a second had passed
            assert client.get("/version").json()["version"] != empty
            run = dashboard.runs.all()[0].id
            versions, steps = [], []
            for step in (1, 2):
                versions.append(client.get("/version", params={"run": run}).json()["version"])
                steps.append(client.get(f"/data/runs/{run}").json()["steps"])
                recorder.record(step=step, **rows)
                recorder.flush()
            assert versions[0] != versions[1]
            assert steps == [1, 2]
            answer = client.get("/version", params={"run": run})
            tag = {"if-none-match": answer.headers["etag"]}
            assert client.get("/version", params={"run": run}, headers=tag).status_code == 304


def test_a_run_without_groups_says_so(tmp_path):
    Recorder(tmp_path / "empty").close()
    dashboard = Dashboard(tmp_path, make_policy("127.0.0.1", None))
    with TestClient(dashboard.app, base_url="http://127.0.0.1") as client:
        run = dashboard.runs.all()[0].id
        for name in (*RUN_VIEWS, "prompts", "scatter", "step"):
            answer = client.get(f"/data/run/{run}/{name}")
            assert answer.status_code == 200, (name, answer.text)
        assert client.get(f"/run/{run}").status_code == 200
        assert client.get(f"/data/runs/{run}").json()["steps"] == 0
        missing = client.get(f"/run/{run}/group?group_id=x")
        assert missing.status_code == 200
        assert "There is no group" in missing.text


def test_the_first_figures_are_made_before_they_are_asked_for(tmp_path, monkeypatch):
    made = []

    def make(view, source, *_):
        made.append((source.run.path.name, view.name))
        return b"{}"

    monkeypatch.setattr(answers, "make_json", make)
    for number, name in enumerate(("new", "old")):
        record_run(tmp_path / name, seed=number, generations=2, n_prompts=8)
        os.utime(tmp_path / name / "run.json", (2e9 - number, 2e9 - number))
    dashboard = Dashboard(tmp_path, make_policy("127.0.0.1", None))
    with TestClient(dashboard.app, base_url="http://127.0.0.1:8765") as client:
        for name in ("new", "old"):  # the newest from the start, another when its page is asked for
            expected = {(name, view) for view in FIRST_VIEWS}
            run = next(each.id for each in dashboard.runs.all() if each.name == name)
            if name == "old":
                assert client.get(f"/run/{run}").status_code == 200
            deadline = time.monotonic() + 10
            while not expected <= set(made) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert expected <= set(made)
            for view in FIRST_VIEWS:
                assert client.get(f"/data/run/{run}/{view}?theme=light").content == b"{}"
            assert sorted(each for each in made if each[0] == name) == sorted(expected)


def test_a_damaged_run_hides_no_other(tmp_path):
    Recorder(tmp_path / "good").close()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    dashboard = Dashboard(tmp_path, make_policy("127.0.0.1", None))
    with TestClient(dashboard.app, base_url="http://127.0.0.1") as client:
        page = client.get("/")
        assert page.status_code == 200
        assert page.text.count("data-run=") == 2
        assert page.text.count('data-state="unreadable"') == 1
        bad = next(each.id for each in dashboard.runs.all() if each.name == "bad")
        answer = client.get(f"/run/{bad}")
        assert answer.status_code == 500
        assert "not readable JSON" in answer.text


def test_every_figure_says_which_files_are_left_out(tmp_path):
    record_run(tmp_path / "run", generations=3, n_prompts=8)
    broken = next((tmp_path / "run").glob("groups/**/*.parquet"))
    broken.write_bytes(b"PAR1 and nothing else")
    dashboard = Dashboard(tmp_path, make_policy("127.0.0.1", None))
    run = dashboard.runs.all()[0].id
    with TestClient(dashboard.app, base_url="http://127.0.0.1") as client:
        for view in ("reward", "outcomes", "prompts"):
            note = client.get(f"/data/run/{run}/{view}").json()["note"]
            assert note.startswith("Left out, because it cannot be read: ")
            assert broken.name in note


@pytest.mark.parametrize(
    ("file", "odd"),
    [
        ("run.json", {"metadata": [1, 2]}),
        ("run.json", {"metadata": {"estimator": {"<b>": [None]}}}),
        ("attempts/1.json", {"metadata": "text", "started_s": 1e300}),
        ("heartbeat.json", {"dropped": [3], "step": "ten", "state": "<b>", "time_s": "now"}),
        ("heartbeat.json", {"dropped": {"rows": "many"}, "state": "running", "host": 7}),
    ],
)
def test_what_a_run_says_about_itself_may_be_anything(tmp_path, file, odd):
    record_run(tmp_path / "run", generations=2, n_prompts=8)
    path = tmp_path / "run" / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **odd}))
    dashboard = Dashboard(tmp_path, make_policy("127.0.0.1", None))
    run = dashboard.runs.all()[0].id
    with TestClient(dashboard.app, base_url="http://127.0.0.1") as client:
        for address in ("/", f"/run/{run}", f"/data/runs/{run}"):
            answer = client.get(address)
            assert answer.status_code == 200, answer.text
            assert "<b>" not in answer.text or address.startswith("/data/")


def test_the_csv_is_the_numbers_and_no_formula(client, ids):
    answer = client.get(f"/csv/run/{ids['grpo-0']}/step", params={"step": 3})
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="step.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len([row for row in rows if row["split"] == "train"]) == 16
    given = ["=1+1", "+x", "-1", "-x", "@SUM(A1)", "plain", None, "\ttab"]
    table = answers._flat(pa.table({"text": given, "list": [[1.0]] * 8}))
    assert table["text"].to_pylist() == [
        "'=1+1", "'+x", "-1", "'-x", "'@SUM(A1)", "plain", None, "'\ttab",
    ]  # fmt: skip
    assert table["list"].to_pylist() == ["[1.0]"] * 8


# ---- our own sources -------------------------------------------------------------------------


def sources(folder, end):
    return {each.name: each.read_text() for each in folder.iterdir() if each.name.endswith(end)}


def test_the_scripts_stay_small_and_write_only_text():
    found = sources(STATIC, ".js")
    assert sum(text.count("\n") for text in found.values()) <= 1500
    for name, text in found.items():
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                     "new Function", "srcdoc", "http://", "https://"):  # fmt: skip
            allowed = name == "spark.js" and word == "http://"  # the name of SVG, not an address
            assert allowed or word not in text, (name, word)


def test_no_template_lets_text_through_unescaped():
    for name, text in sources(TEMPLATES, ".html").items():
        assert "safe" not in re.findall(r"\|\s*(\w+)", text), name
        assert "autoescape" not in text, name
        assert " onclick" not in text, name


def test_the_pages_name_views_that_there_are():
    assert set(RUN_VIEWS) <= set(VIEWS)
