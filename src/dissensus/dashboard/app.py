"""The application: which address gives which page or which numbers. It changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dissensus.dashboard import answers, asked
from dissensus.dashboard.discovery import Found, Runs
from dissensus.dashboard.live import News
from dissensus.dashboard.opened import Opened
from dissensus.dashboard.pages import FIRST_VIEWS, Pages
from dissensus.dashboard.results import Results
from dissensus.dashboard.security import Guard, Policy
from dissensus.dashboard.whatif import CATALOGUE, PLAN
from dissensus.errors import DissensusError, InputError
from dissensus.views.format import one_line
from dissensus.views.live_views import VIEWS, LiveSource, View
from dissensus.views.style import Theme

__all__ = ["Dashboard"]

_MOST_COMPARED = 16
_OF_SEVERAL = {name: view for name, view in VIEWS.items() if view.scope == "several"}
_OF_A_RUN = {PLAN.name: PLAN, **{n: v for n, v in VIEWS.items() if n not in _OF_SEVERAL}}
_FOR_A_YEAR = "public, max-age=31536000, immutable"
_ASK_AGAIN = "private, no-cache"


class Dashboard:
    """The application and what it holds.

    Args:
        root: Folder of runs.
        policy: Who may ask.

    Attributes:
        app: To be served; the guard is around it.
        news: To be closed when the server ends, so that nobody waits any more.

    Raises:
        RunError: There is no such folder.
    """

    def __init__(self, root: Path, policy: Policy) -> None:
        self.runs = Runs(root)
        self.opened = Opened()
        self.results = Results()
        self.news = News(self._version)
        self.pages = Pages(self.runs, self.opened)
        self._ahead: set[asyncio.Task[None]] = set()
        self.app = Guard(self._build(), policy)

    def _build(self) -> Starlette:
        pages = self.pages
        routes = [
            Route("/", _page(pages.runs_page)),
            Route("/compare", _page(pages.compare_page)),
            Route("/estimators", _page(pages.estimators_page)),
            Route("/run/{run}", self._run),
            Route("/run/{run}/plan", _page(pages.plan_page)),
            Route("/run/{run}/prompts", _page(pages.prompts_page)),
            Route("/run/{run}/prompt", _page(pages.prompt_page)),
            Route("/run/{run}/group", self._group),
            Route("/run/{run}/step/{step}", _page(pages.step_page)),
            Route("/data/runs/{run}", self._line),
            Route("/data/run/{run}/{view}", self._numbers),
            Route("/csv/run/{run}/{view}", self._csv),
            Route("/data/compare/{view}", self._numbers),
            Route("/csv/compare/{view}", self._csv),
            Route("/data/{view}", self._numbers),
            Route("/csv/{view}", self._csv),
            Route("/events", self._events),
            Route("/version", self._version_now),
            Route("/plotly-{version}.js", _plotly),
            Mount("/static", StaticFiles(packages=[("dissensus.dashboard", "static")])),
        ]
        errors: dict[Any, Callable[..., Any]] = {
            HTTPException: self._http_error,
            DissensusError: self._our_error,
            Exception: self._unexpected,
        }
        return Starlette(routes=routes, exception_handlers=errors, lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(_warm_up)
        self._read_ahead(self.runs.newest)
        try:
            yield
        finally:
            self.news.close()
            self.results.close()

    async def _run(self, request: Request) -> Response:
        """The page of a run; its first figures are made while the browser reads the page."""
        self._read_ahead(functools.partial(self.runs.get, request.path_params["run"]))
        return await run_in_threadpool(self.pages.run_page, request)

    async def _group(self, request: Request) -> Response:
        """The one page that makes a view itself: on the threads that views are made on."""
        return await self.results.run(functools.partial(self.pages.group_page, request))

    # ---- numbers -----------------------------------------------------------------------------

    async def _numbers(self, request: Request) -> Response:
        view = _view(request)
        theme, parameters = asked.read_view(view, _given(request, view))
        sources, version = await run_in_threadpool(self._sources, _run_ids(request, view))
        return await self._answer(request, *_job(view, theme, parameters, sources, version))

    async def _csv(self, request: Request) -> Response:
        view = _view(request)
        _, parameters = asked.read_view(view, _given(request, view))
        sources, _ = await run_in_threadpool(self._sources, _run_ids(request, view))
        make = functools.partial(answers.make_csv, view, _argument(view, sources), parameters)
        return Response(
            await self.results.run(make),
            media_type="text/csv; charset=utf-8",
            headers={
                "content-disposition": f'attachment; filename="{view.name}.csv"',
                "cache-control": "no-store",
            },
        )

    async def _line(self, request: Request) -> Response:
        found = await run_in_threadpool(self.pages.find, request.path_params["run"])
        run = await run_in_threadpool(self.pages.run_of, found)
        key = ("line", found.id, await run_in_threadpool(self._version, found.id))
        return await self._answer(request, key, functools.partial(answers.make_line, run))

    async def _answer(
        self, request: Request, key: tuple[Any, ...], make: Callable[[], bytes]
    ) -> Response:
        tag = f'"{hashlib.sha256(repr((answers.MADE_BY, key)).encode()).hexdigest()[:32]}"'
        headers = {"etag": tag, "cache-control": _ASK_AGAIN}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        made = await self.results.get(key, make)
        return Response(made, media_type="application/json", headers=headers)

    def _read_ahead(self, find: Callable[[], Found | None]) -> None:
        """Make the first figures of a run before they are asked for; the first opens the run."""

        async def read() -> None:
            with contextlib.suppress(Exception):  # whoever asks is told what is wrong
                found = await run_in_threadpool(find)
                if found is not None:
                    sources, version = await run_in_threadpool(self._sources, [found.id])
                    views = [VIEWS[name] for name in FIRST_VIEWS]
                    jobs = [_job(v, *asked.read_view(v, []), sources, version) for v in views]
                    await asyncio.gather(*(self.results.get(*job) for job in jobs))

        task = asyncio.create_task(read())
        self._ahead.add(task)
        task.add_done_callback(self._ahead.discard)

    def _sources(self, ids: list[str]) -> tuple[list[tuple[str, LiveSource]], str]:
        """These runs, each with its name, and which they are in what version."""
        found = [self.pages.find(run_id) for run_id in ids]
        sources = [(one_line(each.name, 80), self.opened.get(each)) for each in found]
        versions = [
            (each.id, each.made, source.refresh())
            for each, (_, source) in zip(found, sources, strict=True)
        ]
        return sources, hashlib.sha256(repr(versions).encode()).hexdigest()[:16]

    # ---- news --------------------------------------------------------------------------------

    def _version(self, topic: str) -> str:
        """Version of some runs, or of the list of runs; what is gone has one too."""
        try:
            if topic:
                runs = [self.pages.find(each) for each in topic.split(" ")]
                return "-".join(map(self.pages.version, runs))
            return self.pages.list_version()
        except Exception:  # noqa: BLE001 — one damaged run must not end the news of all others
            return "gone"

    async def _events(self, request: Request) -> Response:
        topic = await run_in_threadpool(self._topic, request)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self.news.is_full:
            raise HTTPException(503, "Too many pages wait for news.", {"retry-after": "30"})
        return StreamingResponse(
            self.news.events(topic),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    async def _version_now(self, request: Request) -> Response:
        topic = await run_in_threadpool(self._topic, request)
        version = await run_in_threadpool(self._version, topic)
        headers = {"etag": f'"{version}"', "cache-control": _ASK_AGAIN}
        if f'"{version}"' in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return JSONResponse({"version": version}, headers=headers)

    def _topic(self, request: Request) -> str:
        ids = request.query_params.getlist("run")
        if len(ids) > _MOST_COMPARED:
            raise InputError(f"name at most {_MOST_COMPARED} runs", got=len(ids))
        return " ".join(self.pages.find(run_id).id for run_id in ids)

    # ---- errors ------------------------------------------------------------------------------

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        return self._error(request, error.status_code, error.detail, error.headers)

    async def _our_error(self, request: Request, error: Exception) -> Response:
        status = 400 if isinstance(error, InputError) else 500
        return self._error(request, status, str(error))

    async def _unexpected(self, request: Request, error: Exception) -> Response:
        text = one_line(f"{type(error).__name__}: {error}", 300)
        path = one_line(request.scope["path"], 200)
        sys.stderr.write(f"dissensus: {path}: {text}\n")
        if os.environ.get("DISSENSUS_DEBUG"):
            traceback.print_exception(error)
        return self._error(request, 500, "Something went wrong; the terminal says what.")

    def _error(self, request: Request, status: int, text: str, headers: Any = None) -> Response:
        text = one_line(text, 600)
        head = {**(headers or {}), "cache-control": "no-store"}
        path = request.scope["path"]  # not of request.url: there an escaped "?" ends it
        if path.startswith(("/data/", "/version", "/csv/", "/events")):
            return JSONResponse({"error": text}, status, head)
        if path.startswith(("/static/", "/plotly-")):
            return PlainTextResponse(text, status, head)
        return self.pages.error_page(status, text, head)


def _page(make: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(make, request)

    return endpoint


def _view(request: Request) -> View:
    """The view that an address names, if it is one of those that the address can be about."""
    name, path = request.path_params["view"], request.scope["path"].split("/")[2]
    about = {"run": _OF_A_RUN, "compare": _OF_SEVERAL}.get(path, {CATALOGUE.name: CATALOGUE})
    if name not in about:
        raise HTTPException(404, "There is no such view.")
    return about[name]


def _given(request: Request, view: View) -> list[tuple[str, str]]:
    """What the query says, without which runs a view over several is about."""
    is_several = view.name in _OF_SEVERAL
    pairs = request.query_params.multi_items()
    return [pair for pair in pairs if not (is_several and pair[0] == "run")]


def _run_ids(request: Request, view: View) -> list[str]:
    """The runs that an address is about."""
    if view is CATALOGUE:
        return []
    is_several = view.scope == "several"
    ids = request.query_params.getlist("run") if is_several else [request.path_params["run"]]
    if not 0 < len(set(ids)) == len(ids) <= _MOST_COMPARED:
        raise InputError(f"name 1 to {_MOST_COMPARED} runs, each once", got=len(ids))
    return ids


def _job(
    view: View,
    theme: Theme,
    parameters: dict[str, Any],
    sources: list[tuple[str, LiveSource]],
    version: str,
) -> tuple[tuple[Any, ...], Callable[[], bytes]]:
    """What the numbers of a view are kept under, and what makes them."""
    make = functools.partial(
        answers.make_json, view, _argument(view, sources), theme, parameters, version
    )
    return (view.name, theme, version, *parameters.items()), make


def _argument(view: View, sources: list[tuple[str, LiveSource]]) -> Any:
    return sources if view.scope == "several" else sources[0][1]


async def _plotly(request: Request) -> Response:
    import plotly

    if request.path_params["version"] != plotly.__version__:
        raise HTTPException(404, "This is another version of plotly.")
    return Response(
        _plotly_source(),
        media_type="text/javascript; charset=utf-8",
        headers={"cache-control": _FOR_A_YEAR},
    )


def _warm_up() -> None:
    """Load what the first figure needs before the first visitor comes: half a second."""
    answers.warm_up()
    _plotly_source()


@functools.cache
def _plotly_source() -> bytes:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).encode("utf-8")
