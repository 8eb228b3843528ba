"""Who may ask, and what a browser may do with the answer.

What a page shows was written by a model, and a browser that has the page open also visits others.
So: only names of this machine are answered to (a name that an attacker points here is not one),
no other site's page may read anything, nothing can be changed, and no answer can run a script that
is not ours.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlencode

from dissensus.errors import InputError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADERS", "Guard", "Policy", "is_loopback", "make_policy"]

_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: tuple[tuple[str, str], ...] = (
    ("content-security-policy", _CONTENT_POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
)
"""On every answer, errors included, except what the server says by itself before anybody is asked:
to what is not HTTP, and where too many are connected. That is a fixed sentence of plain text."""

_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")
_HOST = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::[0-9]+)?")
_MOST_QUERY = 40_000


class Policy(NamedTuple):
    """What the guard goes by.

    Attributes:
        hosts: Names this server answers to, in lower case, without a port.
        any_address: Whether every numeric address is answered to as well: an attacker can point a
            name at this machine, and cannot make a browser send an address in the name's place.
        token: What a visitor must show; None where only this machine can reach the server.
    """

    hosts: frozenset[str]
    any_address: bool
    token: str | None


def is_loopback(host: str) -> bool:
    """Whether an address to bind can only be reached from this machine.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_policy(host: str, token: str | None, *, allowed: Iterable[str] = ()) -> Policy:
    """Decide who may ask.

    Args:
        host: Address the server binds.
        token: What a visitor must show.
        allowed: Further names this server answers to.

    Raises:
        InputError: Others can reach the server and there is no token, or it is easy to guess.
    """
    if token is None and not is_loopback(host):
        raise InputError(
            "an address that others can reach needs a token",
            where="--host",
            got=host,
            hint="--token \"$(python -c 'import secrets; print(secrets.token_urlsafe())')\"",
        )
    if token is not None and not _TOKEN.fullmatch(token):
        raise InputError(
            "a token is 16 to 200 letters, digits and -._~",
            where="--token",
            got=f"{len(token)} characters",
        )
    names = {"localhost", "127.0.0.1", "::1", host.lower()}
    if not is_loopback(host):
        names.add(socket.gethostname().lower())
    names |= {_name(each) or each.lower() for each in allowed}
    return Policy(frozenset(names - {""}), any_address=not is_loopback(host), token=token)


class _Refusal(NamedTuple):
    status: int
    text: str


class Guard:
    """Stands before the application: refuses, asks for the token, and adds the headers.

    Args:
        app: The application.
        policy: From `make_policy`.
    """

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self.app, self.policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in HEADERS]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        refusal = self._refuse(scope)
        if refusal is None and self.policy.token is not None:
            entry = _from_link(scope, self.policy.token)
            if entry is not None:
                await _let_in(entry, self.policy.token, scope, receive, send_safely)
                return
            if not _has_token(scope, self.policy.token):
                refusal = _Refusal(
                    401, "A token is needed: open the address that the command printed, whole."
                )
        if refusal is not None:
            from starlette.responses import PlainTextResponse

            headers = {"cache-control": "no-store"}
            if refusal.status == 405:
                headers["allow"] = "GET, HEAD"
            answer = PlainTextResponse(f"{refusal.text}\n", refusal.status, headers)
            await answer(scope, receive, send_safely)
            return
        await self.app(scope, receive, send_safely)

    def _refuse(self, scope: Scope) -> _Refusal | None:
        if scope["method"] not in ("GET", "HEAD"):
            return _Refusal(405, "Nothing can be changed here: only GET and HEAD are answered.")
        hosts = _headers(scope, b"host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return _Refusal(
                421, "This server does not go by that name. --allow-host NAME adds one to its own."
            )
        origins = _headers(scope, b"origin")
        if origins and origins != [f"{scope.get('scheme', 'http')}://{hosts[0]}"]:
            return _Refusal(403, "Pages of other sites are not answered.")
        if not _is_own_fetch(scope):
            return _Refusal(403, "Pages of other sites are not answered.")
        if len(scope.get("query_string", b"")) > _MOST_QUERY:
            return _Refusal(414, f"The query is longer than {_MOST_QUERY:,} characters.")
        return None

    def _is_ours(self, host: str) -> bool:
        # The port is not looked at: a tunnel changes it, and an attacker's name stays a name.
        name = _name(host)
        if name in self.policy.hosts:
            return True
        if not self.policy.any_address:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _name(host: str) -> str:
    """A host in lower case and without its port; empty where it is none."""
    match = _HOST.fullmatch(host)
    return "" if match is None else (match[1] or match[2]).lower().rstrip(".")


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _is_own_fetch(scope: Scope) -> bool:
    """Whether the browser says that our own page asks, or a person who opens a page of ours."""
    sites = _headers(scope, b"sec-fetch-site")
    if not sites or all(site in ("same-origin", "none") for site in sites):
        return True  # what sends no such header is no browser, or so old that Origin has to do
    # A link from elsewhere may open a page: it can be neither framed nor read.
    modes, places = _headers(scope, b"sec-fetch-mode"), _headers(scope, b"sec-fetch-dest")
    return modes == ["navigate"] and places == ["document"]


def _cookie_name(scope: Scope) -> str:
    # Browsers share cookies between ports, and two of these pages can be open at once.
    port = "".join(_headers(scope, b"host")).rpartition(":")[2]
    return f"dissensus_token_{port if port.isdecimal() else 80}"


def _has_token(scope: Scope, token: str) -> bool:
    # Not http.cookies: it gives up at the first cookie that it does not like, and other programs of
    # this machine set cookies for the same name.
    wanted = _cookie_name(scope)
    for pair in ";".join(_headers(scope, b"cookie")).split(";"):
        name, _, value = pair.partition("=")
        if name.strip() == wanted and _is_same(value.strip(), token):
            return True
    return False


def _is_same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def _from_link(scope: Scope, token: str) -> str | None:
    """Where a link with the right token leads, without the token in it."""
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    given = [value for name, value in query if name == "token"]
    if len(given) != 1 or not _is_same(given[0], token):
        return None
    rest = urlencode([(name, value) for name, value in query if name != "token"])
    # Of "//evil.test/" a browser would make another site.
    path = "/" + scope.get("raw_path", b"/").decode("latin-1").lstrip("/\\")
    return f"{path}?{rest}" if rest else path


async def _let_in(to: str, token: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Set the cookie and go on: a strict cookie is not sent along a redirect from another site."""
    from starlette.responses import HTMLResponse

    from dissensus.views.markup import tag

    head = tag("head", tag("meta", http_equiv="refresh", content=f"0; url={to}"))
    page = tag("html", head, tag("body", tag("a", "Go on", href=to)), lang="en")
    answer = HTMLResponse(f"<!doctype html>\n{page}\n", headers={"cache-control": "no-store"})
    answer.set_cookie(
        _cookie_name(scope),
        token,
        path="/",
        secure=scope.get("scheme") == "https",
        httponly=True,
        samesite="strict",
    )
    await answer(scope, receive, send)
