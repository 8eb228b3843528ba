"""How long the dashboard takes in a real browser, how much memory, and how fast it follows a run.

    python -m benchmarks.dashboard_run FOLDER
    python -m benchmarks.dashboard_browser [FOLDER] [--calls 30] [--json]

FOLDER is a run, 10,000,000 groups for the figures of docs/numbers.md; without one a run of 200,000
groups is made for the occasion. The server is a process of its own, started for this. Measured are

- first page: from the address to the figures in sight drawn, of a server that has opened no run
  yet, in a browser that has read plotly.js before; and in one started for this, which has not;
- views: from a reader's choice to the new figure or table on the screen, every time another choice;
- viewers: twenty clients at once that each ask for another view of the same run, over HTTP;
- following: from `flush()` of a new step, in a small run beside it, to the point in the figure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from benchmarks.dashboard_run import Size, write_run
from dissensus import Recorder
from dissensus.core import advantages
from dissensus.dashboard.discovery import Runs

SMALL = Size(groups=200_000, prompts=20_000)
LIMITS = {"first_page_s": 1.5, "view_p95_s": 0.3, "viewers_p95_s": 1.0, "following_s": 2.0,
          "memory_mb": 1024}  # fmt: skip
VIEWERS = 20
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
WAIT_S = 120.0

# Runs in the page: makes a choice of a panel, and waits for what it asked for to be drawn.
CHOOSE = """
async ([view, choices, limit]) => {
    const place = document.querySelector(`#${view}`), panel = place.panel;
    const frame = () => new Promise(requestAnimationFrame);
    const given = performance.now() + 1000 * limit;
    const until = async (holds) => {
        while (!holds()) {
            if (performance.now() > given) throw new Error(`${view} is not drawn`);
            await frame();
        }
    };
    place.scrollIntoView(); // panels above may have grown meanwhile
    await until(() => panel.isInSight && !panel.asking);
    const query = String(panel.query()), before = panel.loaded;
    const began = performance.now();
    panel.choose(choices);
    if (String(panel.query()) === query) return null; // by chance what it is already
    await until(() => panel.loaded !== before && !panel.asking);
    await frame();
    return (performance.now() - began) / 1000;
}
"""
DRAWN = """
() => [...document.querySelectorAll("section.panel")]
    .filter((place) => place.getBoundingClientRect().top < innerHeight)
    .every((place) => place.dataset.drawn)
"""


def choices(rng: random.Random, steps: int) -> dict[str, Callable[[], dict[str, str]]]:
    """What a reader chooses in each view: another thing every time."""

    def window() -> dict[str, str]:
        start = rng.randrange(steps)
        return {"first_step": str(start), "last_step": str(start + rng.randrange(1, steps))}

    return {
        "reward": window,
        "unanimous": lambda: {"stretches": str(rng.randrange(8, 96))},
        "group_std": lambda: {"stretches": str(rng.randrange(20, 1000))},
        "effective": window,
        "mass": lambda: {"estimator": rng.choice(advantages.names())},
        "rollouts": window,
        "findings": lambda: {"generations": str(rng.randrange(6, 14))},
        "prompts": lambda: {
            "sort": rng.choice(("visits", "solve_rate", "trend", "contrast", "last_step")),
            "low": f"{rng.random() / 2:.4f}",
        },
        "scatter": lambda: {"cells": str(rng.randrange(8, 96))},
    }


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[tuple[str, int]]:
    """The server as a user starts it: its address, and the id of its process."""
    command = [sys.executable, "-m", "dissensus", "dashboard", str(folder), "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            if not line:
                sys.exit("the dashboard does not start")
            text += line
        yield json.loads(text)["url"].rstrip("/"), process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def browse() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit(f"no browser here: none of {', '.join(BROWSERS)} is on the path")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(1000 * WAIT_S)
        yield page
        browser.close()


def until(page: Any, condition: str, pause_s: float = 0.005) -> None:
    """Wait for a condition; playwright's own waiting needs `eval`, which the policy forbids."""
    deadline = time.monotonic() + WAIT_S
    while not page.evaluate(condition):
        if time.monotonic() > deadline:
            sys.exit(f"not drawn after {WAIT_S:g} s: {condition}")
        time.sleep(pause_s)


def first_page(page: Any, address: str) -> float:
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    until(page, f"() => document.readyState === 'complete' && ({DRAWN})()")
    return time.perf_counter() - began


def time_views(page: Any, base: str, run: str, calls: int) -> dict[str, list[float]]:
    rng = random.Random(0)  # noqa: S311
    with urllib.request.urlopen(f"{base}/data/runs/{run}") as answer:  # noqa: S310 — our own server
        steps = json.load(answer)["steps"]
    found: dict[str, list[float]] = {}
    for view, choose in choices(rng, steps).items():
        where = "/prompts" if view in ("prompts", "scatter") else ""
        page.goto(f"{base}/run/{run}{where}")
        until(
            page,
            f"""() => {{
                const place = document.getElementById("{view}");
                place?.scrollIntoView();
                return place?.dataset.drawn;
            }}""",
        )
        taken = [page.evaluate(CHOOSE, [view, choose(), WAIT_S]) for _ in range(calls)]
        found[view] = [each for each in taken if each is not None]
    return found


def time_viewers(base: str, run: str) -> list[float]:
    """Twenty at once, each with another choice."""
    rng = random.Random(1)  # noqa: S311
    asked = choices(rng, 1000)
    names = [name for name in asked if name != "findings"]

    def ask(number: int) -> float:
        view = names[number % len(names)]
        query = urlencode(asked[view]())
        began = time.perf_counter()
        with urllib.request.urlopen(f"{base}/data/run/{run}/{view}?{query}") as answer:  # noqa: S310
            answer.read()
        return time.perf_counter() - began

    with ThreadPoolExecutor(VIEWERS) as pool:
        return list(pool.map(ask, range(VIEWERS)))


def time_following(page: Any, folder: Path, steps: int = 8) -> list[float]:
    """From a flushed step to its point in the figure."""
    found = []
    newest = "Math.max(...document.querySelector('#reward .plot')._fullData[0].x)"
    ids = np.repeat(np.arange(64), 8).tolist()
    rng = np.random.default_rng(0)
    with Recorder(folder / "live") as recorder, serve(folder) as (base, _):
        for step in range(steps):
            recorder.record(
                step=step, group_ids=ids, prompt_ids=ids, rewards=(rng.random(512) < 0.5) * 1.0
            )
            recorder.flush()
            if step < 2:
                continue
            if step == 2:
                page.goto(f"{base}/run/{Runs(folder).all()[0].id}")
                until(page, DRAWN)
                until(page, "() => document.getElementById('live').textContent === 'following'")
                continue
            began = time.perf_counter()
            until(page, f"() => {newest} === {step}")
            found.append(time.perf_counter() - began)
            time.sleep(2.0)
    return found


def peak_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    line = next(each for each in status.splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def measure(folder: Path, scratch: Path, calls: int) -> dict[str, Any]:
    run = Runs(folder).all()[0].id
    with browse() as page, serve(folder) as (base, _):
        cold = first_page(page, f"{base}/run/{run}")
    with browse() as page:
        with serve(folder) as (base, process):
            page.goto(f"{base}/estimators")
            until(page, "() => !!window.Plotly")
            opened = first_page(page, f"{base}/run/{run}")
            views = time_views(page, base, run, calls)
            viewers = time_viewers(base, run)
            memory = peak_mb(process)
        following = time_following(page, scratch)
    every = [value for values in views.values() for value in values]
    return {
        "first_page_s": opened,
        "first_page_in_a_new_browser_s": cold,
        "view_p95_s": float(np.quantile(every, 0.95)),
        "viewers_p95_s": float(np.quantile(viewers, 0.95)),
        "following_s": max(following),
        "memory_mb": memory,
        "views_p95_s": {name: float(np.quantile(v, 0.95)) for name, v in views.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder
        if folder is None:
            folder = Path(scratch) / "run"
            write_run(folder, SMALL)
        live = Path(scratch) / "runs"
        live.mkdir()
        found = measure(folder, live, given.calls)
    if given.json:
        print(json.dumps(found))
        return
    for name, limit in LIMITS.items():
        verdict = "met" if found[name] < limit else "NOT met"
        print(f"{name:>14} {found[name]:10.3f}   limit {limit:g}: {verdict}")
    print(f"{'new browser':>14} {found['first_page_in_a_new_browser_s']:10.3f}   first page")
    for name, value in found["views_p95_s"].items():
        print(f"{name:>14} {value:10.3f}   95th percentile")


if __name__ == "__main__":
    main()
