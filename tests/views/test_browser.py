"""The page in a real browser: it draws, asks for nothing, and hostile text does nothing."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from .hostile import MARK

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # /dev/shm is small in a container
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--no-first-run",
    "--enable-logging=stderr",
    "--virtual-time-budget=8000",
)


WAIT_S = 10.0


class Listener:
    """A proxy that answers nothing and remembers who asked.

    Each connection has its own thread: one that says nothing must not hold up the others.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._hear, args=[connection], daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(WAIT_S)
            try:
                self.asked.append(connection.recv(2000).decode("latin-1").split("\r\n")[0])
            except OSError:
                self.asked.append("?")

    def wait_for(self, text: str) -> None:
        """Wait until somebody asked for it: the browser may be done before we have heard it."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline and not any(text in line for line in self.asked):
            time.sleep(0.05)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def browser() -> str:
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    pytest.skip(f"no browser here: none of {', '.join(NAMES)} is on the path")


@pytest.fixture(scope="module")
def page(tmp_path_factory, hostile_page) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(hostile_page, encoding="utf-8")
    return path


def visit(browser, page, profile, *flags, expects=None):
    listener = Listener()
    try:
        done = subprocess.run(
            [
                browser,
                *FLAGS,
                *flags,
                f"--user-data-dir={profile}",
                f"--proxy-server=127.0.0.1:{listener.port}",
                "--proxy-bypass-list=<-loopback>",
                "--dump-dom",
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        if expects is not None:
            listener.wait_for(expects)
    finally:
        listener.close()
    console = re.findall(r"CONSOLE.*", done.stderr)
    return done.stdout, console, listener.asked


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (380, "dark")])
def test_the_page_draws_and_asks_for_nothing(browser, page, tmp_path, width, scheme):
    flags = [f"--window-size={width},900"]
    if scheme == "dark":
        flags.append("--blink-settings=preferredColorScheme=0")
    dom, console, asked = visit(browser, page, tmp_path, *flags)
    assert f'data-drawn="{scheme}"' in dom
    assert dom.count("main-svg") >= 5
    assert console == []
    # The browser itself may look for updates of its own; nothing may go where a completion pointed.
    assert not [line for line in asked if "example.test" in line]
    assert not [line for line in asked if "plot" in line or "cdn" in line]
    assert f"data-{MARK}" not in dom


def test_the_probe_sees_a_request_and_a_script_that_is_not_ours(browser, tmp_path):
    # Without the policy and the escaping, what the tests above look for does happen.
    page = tmp_path / "bad.html"
    page.write_text(
        f"<script>document.documentElement.dataset.{MARK}=1;console.error('x')</script>"
        '<img src="http://example.test/x">'
    )
    dom, console, asked = visit(browser, page, tmp_path / "profile", expects="example.test")
    assert f"data-{MARK}" in dom
    assert console
    assert [line for line in asked if "example.test" in line]


def test_the_policy_stops_a_script_that_was_not_escaped(browser, page, tmp_path):
    text = page.read_text(encoding="utf-8")
    script = f"<script>document.documentElement.dataset.{MARK}=1</script>"
    broken = tmp_path / "broken.html"
    broken.write_text(text.replace("<footer>", f"{script}<footer>"), encoding="utf-8")
    dom, console, _ = visit(browser, broken, tmp_path / "profile")
    assert f"data-{MARK}" not in dom
    assert any("Content Security Policy" in line for line in console)
