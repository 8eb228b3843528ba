"""News reaches those who wait; what is made is made once."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time

import pytest

from dissensus import Recorder
from dissensus.dashboard import live
from dissensus.dashboard.beside import beside
from dissensus.dashboard.live import News
from dissensus.dashboard.results import Results
from dissensus.dashboard.server import Server
from dissensus.errors import InputError, RunError

from .conftest import assert_safe


def test_all_who_wait_hear_of_a_new_version_once():
    versions = {"a": "1", "b": "1"}

    async def listen(news, topic, heard):
        async for event in news.events(topic):
            if event.startswith("event: version"):
                heard.append(json.loads(event.partition("data: ")[2]))

    async def scene():
        news = News(lambda topic: versions[topic])
        heard = {name: [] for name in ("a1", "a2", "b")}
        tasks = [asyncio.create_task(listen(news, name[0], heard[name])) for name in heard]
        await wait_for(lambda: all(heard.values()))
        versions["a"] = "2"
        await wait_for(lambda: heard["a1"][-1] == heard["a2"][-1] == "2")
        news.close()
        await asyncio.wait_for(asyncio.gather(*tasks), 30)
        assert heard["b"] == ["1"]
        assert heard["a1"].count("2") == 1
        assert news.is_full  # nobody may begin to wait now

    asyncio.run(scene())


async def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_identical_requests_share_one_making():
    made = []
    gate = threading.Event()

    def make():
        gate.wait(60)
        made.append(1)
        return b"x"

    async def scene():
        results = Results()
        waiting = [asyncio.create_task(results.get("key", make)) for _ in range(20)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # one visitor leaves
        gate.set()
        assert await asyncio.gather(*waiting[1:]) == [b"x"] * 19
        assert await results.get("key", make) == b"x"
        results.close()

    asyncio.run(scene())
    assert len(made) == 1


def test_what_fails_is_not_kept_and_the_oldest_is_forgotten():
    asked = []

    def fail():
        asked.append("fail")
        raise InputError("no")

    async def scene():
        results = Results(limit_bytes=100)
        for _ in range(2):
            with pytest.raises(InputError):
                await results.get("bad", fail)
        for key in range(6):
            await results.get(key, lambda: b"x" * 20)
        await results.get(5, lambda: b"other")
        assert await results.get(0, lambda: b"made again") == b"made again"
        assert await results.get(5, lambda: b"other") == b"x" * 20
        await results.get("large", lambda: b"x" * 80)
        assert await results.get("large", lambda: b"not kept") == b"not kept"
        results.close()

    asyncio.run(scene())
    assert len(asked) == 2


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path, port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server
    server.stop()
    thread.join(60)
    assert not thread.is_alive()


def test_a_step_is_announced_over_a_connection(server, tmp_path):
    with Recorder(tmp_path / "run") as recorder:
        rows = {"group_ids": [1, 1], "prompt_ids": [1, 1], "rewards": [0.0, 1.0]}
        recorder.record(step=0, **rows)
        recorder.flush()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        run = server._dashboard.runs.all()[0].id
        connection.request("GET", f"/events?run={run}")
        answer = connection.getresponse()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert_safe(answer)
        first = next_version(answer)
        recorder.record(step=1, **rows)
        recorder.flush()
        assert next_version(answer) != first
        connection.close()


def next_version(answer):
    while True:
        line = answer.readline().decode()
        if line.startswith("data: "):
            return line


def test_a_server_that_ends_lets_go_of_those_who_wait(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/events")
    answer = connection.getresponse()
    next_version(answer)
    server.stop()  # the fixture sees that it ends
    connection.close()


def connect(server, sent):
    found = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    found.sendall(sent)
    return found


def read_all(connection):
    """Until the server closes it."""
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_who_leaves_makes_room_for_another(server, monkeypatch):
    monkeypatch.setattr(live, "_MOST_WAITING", 2)
    asked = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def is_let_in():
        with connect(server, asked) as another:
            return b" 200 " in another.recv(65536)

    with connect(server, asked) as first, connect(server, asked) as second:
        assert b" 200 " in first.recv(65536)
        assert b" 200 " in second.recv(65536)
        assert not is_let_in()
    asyncio.run(wait_for(is_let_in))
    asyncio.run(wait_for(lambda: not server._dashboard.news._known))


@pytest.mark.parametrize(
    "before", [b"", b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["first", "second"]
)
def test_who_connects_and_asks_nothing_is_let_go(server, monkeypatch, before):
    monkeypatch.setattr("dissensus.dashboard.server._PATIENCE_S", 0.1)
    answer = read_all(connect(server, before + b"GET / HT"))
    assert answer.count(b"HTTP/1.1 200") == bool(before)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /<script> \xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n\r\n",
        b"GET /?x=" + b"y" * 1_000_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"\x16\x03\x01\x02\r\n\r\n",
    ],
)
def test_what_is_not_http_is_answered_by_a_fixed_sentence(server, sent):
    try:
        head, _, body = read_all(connect(server, sent)).partition(b"\r\n\r\n")
    except ConnectionError:
        return  # nor by anything: it left while the rest was being sent
    assert b" 400 " in head
    assert b"text/plain" in head
    assert body == b"Invalid HTTP request received."


def test_a_port_that_is_taken_is_refused_or_passed_over(server, tmp_path):
    with pytest.raises(InputError, match="cannot listen"):
        Server(tmp_path, port=server.port)
    with pytest.raises(InputError, match="cannot listen"):
        Server(tmp_path, host="192.0.2.1", token="x" * 20)  # not one of ours


def test_a_dashboard_beside_a_training_ends_with_it(tmp_path):
    folder = tmp_path / "new" / "runs"
    with beside(folder) as url:
        port = int(url.rsplit(":", 1)[1].strip("/"))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        connection.close()
    assert not folder.exists()
    with pytest.raises(OSError, match="refused"):
        http.client.HTTPConnection("127.0.0.1", port, timeout=5).connect()


def test_a_file_is_no_folder_of_runs(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RunError, match="not a file"):
        Server(file, port=0)
