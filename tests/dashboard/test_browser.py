"""The page in a real browser: drawn, followed, steered, and inert to what a model wrote."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from views.hostile import MARK, hostile_run
from views.synthetic import record_run

from dissensus import Recorder
from dissensus.dashboard.server import Server

playwright = pytest.importorskip(
    "playwright.sync_api", reason="no browser driver here: pip install playwright"
)

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
WAIT_S = 120.0  # for a busy machine; nothing here measures time


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)} is on the path")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=FLAGS, timeout=1000 * WAIT_S)
        yield found
        found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    record_run(folder / "plain", generations=10, metadata={"estimator": "grpo"})
    hostile_run(folder / "<img src=x onerror=alert(1)>")
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with serving(folder) as found:
        yield found


@contextlib.contextmanager
def serving(folder):
    server = Server(folder, port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(60)


class Visit:
    """A page of the browser, and all that went wrong on it."""

    def __init__(self, context, server) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(1000 * WAIT_S)
        self.base = server.url.rstrip("/")
        self.wrong: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.on("request", self._asked)

    def _hear(self, message) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(message.text)

    def _asked(self, request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and not request.url.startswith(self.base):
            self.wrong.append(request.url)

    def go(self, path: str) -> None:
        self.page.goto(self.base + path)
        self.settle()

    def settle(self) -> None:
        """Wait until every panel and every line of a list has what it asked for."""
        self.until(
            """() => document.readyState === "complete"
            && [...document.querySelectorAll("section.panel")].every((place) => {
                if (!place.dataset.drawn) place.scrollIntoView();
                return place.dataset.drawn;
            })
            && [...document.querySelectorAll("#runs tbody tr")].every((row) => row.dataset.read)"""
        )

    def until(self, condition: str, argument=None) -> None:
        # Playwright's own waiting evaluates a string in the page, which the policy forbids.
        deadline = time.monotonic() + WAIT_S
        while True:
            with contextlib.suppress(playwright.Error):  # while the page is being left
                if self.page.evaluate(condition, argument):
                    return
            assert time.monotonic() < deadline, (condition, self.page.url, self.wrong)
            self.page.wait_for_timeout(50)

    def click_point(self, view: str, number: int) -> None:
        """Click where a figure has drawn a point of its first curve."""
        self.page.locator(f"#{view}").scroll_into_view_if_needed()
        place = self.page.evaluate(
            """([view, number]) => {
                const plot = document.querySelector(`#${view} .plot`), layout = plot._fullLayout;
                const box = plot.getBoundingClientRect(), curve = plot._fullData[0];
                return [box.left + layout.xaxis._offset + layout.xaxis.d2p(curve.x[number]),
                        box.top + layout.yaxis._offset + layout.yaxis.d2p(curve.y[number])];
            }""",
            [view, number],
        )
        self.page.mouse.move(*place)
        self.page.wait_for_timeout(300)  # plotly takes for a click what it has hovered before
        self.page.mouse.click(*place)


@pytest.fixture
def visit(browser, server):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    found = Visit(context, server)
    yield found
    context.close()
    assert found.wrong == []


def run_id(server, name):
    return next(each.id for each in server._dashboard.runs.all() if each.name.startswith(name))


def test_from_a_curve_to_a_completion(visit, server):
    run = run_id(server, "plain")
    visit.go("/")
    visit.page.get_by_role("link", name="plain").click()
    visit.settle()
    visit.click_point("reward", 3)
    visit.until("() => location.pathname.includes('/step/')")
    visit.settle()
    assert urlsplit(visit.page.url).path == f"/run/{run}/step/3"
    assert visit.page.locator("#step tbody tr").count() > 10
    visit.page.locator("#step tbody a").first.click()
    visit.until("() => document.querySelectorAll('article.answer').length === 8")
    assert "answer" in visit.page.locator("article pre").first.text_content()
    assert visit.page.locator("article mark").count() > 0
    here = visit.page.url
    visit.page.keyboard.press("n")
    visit.until("(here) => location.href !== here && document.querySelector('article')", here)
    assert ": split" in visit.page.locator("main h2").first.text_content()
    visit.page.go_back()
    assert visit.page.url == here
    visit.page.keyboard.press("u")
    visit.until("() => location.pathname.endsWith('/step/3')")


def test_hostile_text_does_nothing_in_any_view(visit, server):
    run = run_id(server, "<img")
    pages = ["/", f"/run/{run}", f"/run/{run}/prompts", f"/run/{run}/step/1", f"/run/{run}/plan"]
    pages += [f"/compare?run={run}", "/estimators"]
    pages += [f"/run/{run}/prompt?prompt_id={i}" for i in range(0, 17, 4)]
    pages += [f"/run/{run}/group?group_id=train-1-{i}" for i in range(17)]
    for path in pages:
        visit.go(path)
        assert MARK not in visit.page.evaluate("({...document.documentElement.dataset})")
        assert visit.page.evaluate("document.querySelectorAll('main img, main iframe').length") == 0
        assert visit.page.url.startswith(visit.base)


def test_what_is_not_drawn_yet_cannot_be_copied(visit, server):
    visit.page.route("**/data/**", lambda route: None)  # never answered
    visit.page.goto(f"{visit.base}/run/{run_id(server, 'plain')}")
    assert visit.page.locator("#reward [data-do=python]").is_disabled()
    visit.page.unroute_all(behavior="ignoreErrors")
    visit.go(f"/run/{run_id(server, 'plain')}")
    assert visit.page.locator("#reward [data-do=python]").is_enabled()


def test_keys_reach_the_filter_and_leave_it(visit, server):
    visit.go(f"/run/{run_id(server, 'plain')}/prompts")
    focused = "document.activeElement.dataset.parameter ?? ''"
    visit.page.keyboard.press("/")
    assert visit.page.evaluate(focused) == "filter"
    visit.page.keyboard.press("Escape")
    assert visit.page.evaluate(focused) == ""


def test_choices_are_in_the_address_and_the_back_button_takes_them_back(visit, server):
    run = run_id(server, "plain")
    visit.go(f"/run/{run}")
    choice = visit.page.locator("#mass [data-parameter=estimator]")
    choice.select_option("rloo")
    visit.until("() => location.search.includes('mass.estimator=rloo')")
    address = visit.page.url
    visit.page.go_back()
    assert choice.input_value() == "grpo"
    visit.go("/")
    visit.page.goto(address)
    visit.settle()
    assert choice.input_value() == "rloo"
    visit.go(f"/run/{run}/prompts?prompts.filter=12")
    texts = visit.page.locator("#prompts tbody tr a").all_text_contents()
    assert texts
    assert all("12" in text for text in texts)


def test_a_column_sorts_and_an_end_of_the_cloud_filters(visit, server):
    visit.go(f"/run/{run_id(server, 'plain')}/prompts")
    visit.page.get_by_role("button", name="solve rate").click()
    visit.until("() => location.search.includes('prompts.sort=solve_rate')")
    visit.settle()
    first = "#prompts tbody tr:first-child [data-key=solve_rate]"
    visit.until(f"() => document.querySelector('{first}')?.textContent === '100 %'")
    visit.page.get_by_role("button", name="solve rate").click()
    visit.until(f"() => document.querySelector('{first}')?.textContent === '0 %'")
    visit.page.evaluate(
        """() => Plotly.relayout(document.querySelector("#scatter .plot"),
            {"xaxis.range[0]": 0.4, "xaxis.range[1]": 0.6})"""
    )
    visit.until("() => location.search.includes('prompts.low=0.400')")
    visit.until(f"() => parseFloat(document.querySelector('{first}')?.textContent) >= 40", None)


def test_a_new_step_appears_by_itself(browser, tmp_path):
    rng = np.random.default_rng(0)
    with serving(tmp_path) as server, Recorder(tmp_path / "live") as recorder:

        def record(step):
            recorder.record(
                step=step,
                group_ids=np.repeat(np.arange(8), 4).tolist(),
                prompt_ids=np.repeat(np.arange(8), 4).tolist(),
                rewards=(rng.random(32) < 0.5).astype(float),
            )
            assert recorder.flush()

        for step in range(3):
            record(step)
        visit = Visit(browser.new_context(), server)
        visit.go(f"/run/{run_id(server, 'live')}")
        visit.until("() => document.getElementById('live').textContent.startsWith('following')")
        record(3)
        last = "Math.max(...document.querySelector('#reward .plot')._fullData[0].x)"
        visit.page.locator("#reward").scroll_into_view_if_needed()
        visit.until(f"() => {last} === 3")
        state = "document.querySelector('[data-head=state]').textContent"
        assert visit.page.evaluate(state) == "running"
        recorder.close()
        visit.until(f"() => {state} === 'finished'")
        assert visit.wrong == []
        visit.page.context.close()


def test_both_themes_and_a_narrow_screen(browser, server):
    run = run_id(server, "plain")
    context = browser.new_context(viewport={"width": 380, "height": 800}, color_scheme="dark")
    visit = Visit(context, server)
    inside = ("", "/prompts", "/step/2", "/plan", "/group?group_id=train-2-3")
    paths = ["/", f"/compare?run={run}", "/estimators", *(f"/run/{run}{rest}" for rest in inside)]
    for path in paths:
        visit.go(path)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 380, path
        assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(15, 19, 24)"
        )
    visit.go(f"/run/{run}")
    colour = "() => document.querySelector('#reward .plot')._fullLayout.paper_bgcolor === '{}'"
    visit.until(colour.format("#0f1318"))
    visit.page.get_by_role("button", name="Light").click()
    visit.page.locator("#reward").scroll_into_view_if_needed()
    visit.until(colour.format("#ffffff"))
    visit.go("/")
    assert visit.page.evaluate("document.documentElement.dataset.theme") == "light"
    assert visit.wrong == []
    context.close()


@pytest.mark.slow
def test_a_hundred_thousand_prompts_scroll(browser, tmp_path):
    with Recorder(tmp_path / "many") as recorder:
        for step in range(10):
            ids = np.repeat(np.arange(10_000 * step, 10_000 * (step + 1)), 2).tolist()
            rewards = np.tile([0.0, 1.0], 10_000)
            recorder.record(step=step, group_ids=ids, prompt_ids=ids, rewards=rewards)
        assert recorder.flush()
    with serving(tmp_path) as server:
        visit = Visit(browser.new_context(viewport={"width": 1280, "height": 900}), server)
        visit.go(
            f"/run/{run_id(server, 'many')}/prompts?prompts.sort=prompt_id&prompts.descending=no"
        )
        assert "100,000 rows" in visit.page.locator("#prompts .count").text_content()
        names = sorted(map(str, range(100_000)))
        for share, index in ((0.5, 50_000), (1.0, 99_999), (0.0, 0)):
            visit.page.evaluate(
                """(share) => {
                    const scroller = document.querySelector("#prompts .scroll");
                    scroller.scrollTop = share * (scroller.scrollHeight - scroller.clientHeight);
                }""",
                share,
            )
            visit.until(
                """([name]) => [...document.querySelectorAll("#prompts tbody a")]
                    .some((link) => link.textContent === name)""",
                [names[index]] if share != 0.5 else [names[50_003]],
            )
            assert visit.page.locator("#prompts tbody tr").count() < 60
        assert visit.wrong == []
        visit.page.context.close()
