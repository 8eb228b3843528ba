"""Serving the page: on this machine alone, unless told otherwise."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dissensus.dashboard.app import Dashboard
from dissensus.dashboard.security import make_policy
from dissensus.errors import InputError

__all__ = ["PORT", "Server"]

PORT = 8765
_NEXT_PORTS = 20
_MOST_CONNECTIONS = 400
_PATIENCE_S = 10.0


class Server:
    """A dashboard that listens from its making on, and answers while `run` runs.

    Args:
        root: Folder of runs.
        host: Address to bind.
        port: Port; 0 for any free one, None for the usual one or the next that is free.
        token: What a visitor must show; needed where others can reach the address.
        allowed: Further names this server answers to.

    Raises:
        InputError: The address cannot be had, or others can reach it and there is no token.
        RunError: There is no such folder.
    """

    def __init__(
        self,
        root: Path,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        token: str | None = None,
        allowed: tuple[str, ...] = (),
    ) -> None:
        self._dashboard = Dashboard(root, make_policy(host, token, allowed=allowed))
        self._token = token
        self._socket = _listen(host, port)
        bound = self._socket.getsockname()
        self._host, self.port = _reachable(host), int(bound[1])
        config = uvicorn.Config(
            self._dashboard.app,
            log_level="critical",
            access_log=False,
            server_header=False,
            http=_Impatient,
            ws="none",
            timeout_graceful_shutdown=2,
            limit_concurrency=_MOST_CONNECTIONS,
        )
        self._server = _Uvicorn(config, self._dashboard)

    @property
    def url(self) -> str:
        """What to open in a browser, with the token where there is one."""
        name = f"[{self._host}]" if ":" in self._host else self._host
        query = "" if self._token is None else f"?token={self._token}"
        return f"http://{name}:{self.port}/{query}"

    def count_runs(self) -> int:
        """How many runs lie under the root now."""
        return len(self._dashboard.runs.all())

    def run(self) -> None:
        """Answer until Ctrl-C, or until `stop` is called in another thread."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End `run`."""
        self._server.should_exit = True


class _Impatient(H11Protocol):
    """Lets go of whoever connects and asks nothing: there are only so many places."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called once for a connection."""
        super().connection_made(transport)
        self.loop.call_later(_PATIENCE_S, self._look, None)

    def _look(self, last: Any) -> None:
        is_answered = self.cycle is None or self.cycle.response_complete
        if is_answered and self.scope is last:
            self.transport.close()
        elif not self.transport.is_closing():
            self.loop.call_later(_PATIENCE_S, self._look, self.scope)


class _Uvicorn(uvicorn.Server):
    """Lets go of the pages that wait for news as soon as it is to end, and so ends at once."""

    def __init__(self, config: uvicorn.Config, dashboard: Dashboard) -> None:
        super().__init__(config)
        self._dashboard = dashboard

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by Ctrl-C."""
        self._dashboard.news.close()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called when `should_exit` was set."""
        self._dashboard.news.close()
        await super().shutdown(sockets)


def _listen(host: str, port: int | None) -> socket.socket:
    tried = [port] if port is not None else [*range(PORT, PORT + _NEXT_PORTS)]
    why, refused = "no port", None
    for each in tried:
        try:
            family, *_, address = socket.getaddrinfo(host, each, type=socket.SOCK_STREAM)[0]
            return _bind(family, address)
        except OSError as error:
            why, refused = error.strerror or str(error), error
            if error.errno != errno.EADDRINUSE:
                break
        except UnicodeError:
            why = "not a name of a machine"
            break
    raise InputError(
        f"cannot listen at {host} ({why})",
        where="--port" if port is not None else "--host",
        got=port,
        hint="--port 0 takes a free one",
    ) from refused


def _bind(family: int, address: Any) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening


def _reachable(host: str) -> str:
    """A name for the URL: nobody can open 0.0.0.0."""
    return socket.gethostname() if host in ("0.0.0.0", "::", "") else host  # noqa: S104
