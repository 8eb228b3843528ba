"""The pages, rendered on the server. Text of a model or a data set gets in by autoescape only."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import plotly
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

import dissensus
from dissensus.dashboard import asked
from dissensus.dashboard.discovery import Found, Runs
from dissensus.dashboard.heads import describe_run
from dissensus.dashboard.opened import Opened
from dissensus.dashboard.whatif import CATALOGUE, PLAN
from dissensus.errors import InputError
from dissensus.runs import Run
from dissensus.runs.attempts import read_info, run_state
from dissensus.views import format as formats
from dissensus.views.live_views import VIEWS, Parameter, View
from dissensus.views.style import DARK, LIGHT

__all__ = ["FIRST_VIEWS", "RUN_VIEWS", "Pages"]

RUN_VIEWS = (
    "reward", "unanimous", "group_std", "effective", "taught", "outcomes", "mass", "rollouts",
    "findings",
)  # fmt: skip
"""Views of the page of a run, in order."""

FIRST_VIEWS = RUN_VIEWS[:4]
"""Those in sight at once."""

_CLICKS = {
    "scatter": "prompt", "history": "group", "step": "group", "compare": "", "plan": "",
    "catalogue": "",
}  # fmt: skip
"""What a point leads to, where it is not a step."""

_PAGING = ("offset", "limit")


class _Panel(NamedTuple):
    """A view on a page: where its numbers are, and what a reader can choose.

    Attributes:
        view: The view.
        data: Address of its numbers.
        csv: Address of the same as CSV.
        fixed: Parameters that the page decides, as a query.
        choices: Parameters that the reader decides.
        shown: Names of those that are in sight at once.
        is_paged: Whether its table comes a part at a time.
        click: What a point of it leads to.
    """

    view: View
    data: str
    csv: str
    fixed: str
    choices: tuple[Parameter, ...]
    shown: frozenset[str]
    is_paged: bool
    click: str


class Pages:
    """Makes every page.

    Args:
        runs: What lies under the root.
        opened: The sources of runs.
    """

    def __init__(self, runs: Runs, opened: Opened) -> None:
        self._runs, self._opened = runs, opened
        self._environment = Environment(
            loader=PackageLoader("dissensus.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "clean": formats.clean_text,
            "line": formats.one_line,
            "count": formats.count,
            "number": formats.number,
            "fraction": formats.fraction,
            "query": urlencode,
            "zip": zip,
        }
        self._environment.globals |= {
            "version": dissensus.__version__,
            "plotly_version": plotly.__version__,
            "colours": [("light", LIGHT), ("dark", DARK)],
            "modules": _modules(),
        }

    def find(self, run_id: str) -> Found:
        """The run of that id.

        Raises:
            HTTPException: There is none.
        """
        found = self._runs.get(run_id)
        if found is None or not (found.path / "run.json").is_file():
            raise HTTPException(404, "There is no such run here; it may have been moved.")
        return found

    def run_of(self, found: Found) -> Run:
        """A run, to be read without its groups.

        Raises:
            RunError: It cannot be read.
        """
        return Run(found.path, on_unreadable="skip")

    def version(self, found: Found) -> str:
        """Changes when a run gets new rows, or ends."""
        known = (found.made, self.run_of(found).version, run_state(found.path))
        return hashlib.sha256(repr(known).encode()).hexdigest()[:16]

    def list_version(self) -> str:
        """Changes when a run comes, goes, or ends."""
        states = [(each.id, _state(each)) for each in self._runs.all()]
        return hashlib.sha256(repr(states).encode()).hexdigest()[:16]

    # ---- pages -------------------------------------------------------------------------------

    def runs_page(self, _: Request) -> Response:
        """The list of runs."""
        found = [(each, _state(each)) for each in self._runs.all()]
        return self._page("runs.html", runs=found, root=str(self._runs.root), topic="")

    def run_page(self, request: Request) -> Response:
        """One run: its panels."""
        found, head = self._run(request)
        panels = [_panel(found, VIEWS[name]) for name in RUN_VIEWS]
        return self._page("run.html", run=found, head=head, panels=panels, topic=found.id)

    def prompts_page(self, request: Request) -> Response:
        """The prompts of a run."""
        found, head = self._run(request)
        panels = [_panel(found, VIEWS[name]) for name in ("prompts", "scatter")]
        return self._page("prompts.html", run=found, head=head, panels=panels, topic=found.id)

    def step_page(self, request: Request) -> Response:
        """The groups of a step."""
        found, head = self._run(request)
        view = VIEWS["step"]
        step = asked.read_parameters(view, [("step", request.path_params["step"])])["step"]
        table = _panel(found, view, step=step)
        return self._page("step.html", run=found, head=head, table=table, step=step, topic=found.id)

    def prompt_page(self, request: Request) -> Response:
        """One prompt over time."""
        found, head = self._run(request)
        view = VIEWS["history"]
        prompt = _named(request, view, "prompt_id")["prompt_id"]
        panel = _panel(found, view, prompt_id=prompt)
        return self._page(
            "prompt.html", run=found, head=head, panels=[panel], prompt=prompt, topic=found.id
        )

    def group_page(self, request: Request) -> Response:
        """One group: its completions side by side."""
        found, head = self._run(request)
        view = VIEWS["group"]
        parameters = _named(request, view, "group_id")
        source = self._opened.get(found)
        source.refresh()
        shown = view.make(source, "light", **parameters)
        panel = _panel(found, view, **parameters)
        return self._page("group.html", run=found, head=head, shown=shown, panel=panel)

    def plan_page(self, request: Request) -> Response:
        """What another group size or estimator would give."""
        found, head = self._run(request)
        return self._page("plan.html", run=found, head=head, panel=_panel(found, PLAN))

    def estimators_page(self, _: Request) -> Response:
        """What the estimators of the catalogue reward."""
        panel = _make_panel(CATALOGUE, data="/data/catalogue", csv="/csv/catalogue", fixed=[])
        return self._page("estimators.html", panel=panel)

    def compare_page(self, request: Request) -> Response:
        """Several runs beside each other."""
        chosen = [self.find(run_id) for run_id in request.query_params.getlist("run")]
        panels = []
        if chosen:
            panels = [_compare_panel(chosen, VIEWS["compare"])]
        return self._page(
            "compare.html",
            chosen=chosen,
            runs=self._runs.all(),
            panels=panels,
            topic=" ".join(each.id for each in chosen) or None,
        )

    def error_page(self, status: int, text: str, headers: dict[str, str]) -> Response:
        """What went wrong, in words."""
        page = self._page("error.html", text=text)
        page.status_code = status
        page.headers.update(headers)
        return page

    # ---- private -----------------------------------------------------------------------------

    def _run(self, request: Request) -> tuple[Found, Any]:
        found = self.find(request.path_params["run"])
        return found, describe_run(self.run_of(found))

    def _page(self, template: str, *, topic: str | None = None, **values: Any) -> Response:
        text = self._environment.get_template(template).render(topic=topic, **values)
        return HTMLResponse(text, headers={"cache-control": "private, no-cache"})


def _modules() -> list[str]:
    """What main.js imports, so that a browser asks for all at once."""
    files = resources.files("dissensus.dashboard").joinpath("static").iterdir()
    names = {file.name for file in files if file.name.endswith(".js")}
    return sorted(names - {"main.js", "theme.js"})


def _state(found: Found) -> str:
    try:
        read_info(found.path)
        return run_state(found.path)
    except Exception:  # noqa: BLE001 — whatever is wrong with one run, the others are listed
        return "unreadable"


def _named(request: Request, view: View, name: str) -> dict[str, Any]:
    """What a page is about, from its address; the state of its panels stands there too."""
    given = [pair for pair in request.query_params.multi_items() if "." not in pair[0]]
    if not request.query_params.get(name):
        raise InputError("the address does not say what to show", hint=f"?{name}=…")
    return asked.read_parameters(view, given)


def _panel(found: Found, view: View, **fixed: Any) -> _Panel:
    run = quote(found.id)
    return _make_panel(
        view,
        data=f"/data/run/{run}/{view.name}",
        csv=f"/csv/run/{run}/{view.name}",
        fixed=[(name, value) for name, value in fixed.items() if value is not None],
    )


def _compare_panel(chosen: list[Found], view: View) -> _Panel:
    return _make_panel(
        view,
        data=f"/data/compare/{view.name}",
        csv=f"/csv/compare/{view.name}",
        fixed=[("run", each.id) for each in chosen],
    )


def _make_panel(view: View, *, data: str, csv: str, fixed: list[tuple[str, Any]]) -> _Panel:
    known = {*_PAGING, *(name for name, _ in fixed)}
    choices = tuple(each for each in view.parameters if each.name not in known)
    return _Panel(
        view,
        data=data,
        csv=csv,
        fixed=urlencode(fixed),
        choices=choices,
        shown=frozenset(each.name for each in choices if each.kind in ("choice", "text")),
        is_paged=all(name in {each.name for each in view.parameters} for name in _PAGING),
        click=_CLICKS.get(view.name, "step"),
    )
