"""Who is answered, and what every answer says to the browser."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import plotly
import pyarrow as pa
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dissensus import Recorder
from dissensus.dashboard import answers
from dissensus.dashboard.app import Dashboard
from dissensus.dashboard.security import make_policy
from dissensus.errors import InputError

from .conftest import TOKEN, assert_safe

COOKIE = "dissensus_token_8765"
OWN = "http://127.0.0.1:8765"
EVERYWHERE = "0.0.0.0"  # noqa: S104 — nothing is bound


def routes(ids):
    run = ids["grpo-0"]
    group = "group?group_id=train-5-3&generation=5"
    return [
        "/",
        "/compare",
        f"/compare?run={run}",
        f"/run/{run}",
        f"/run/{run}/prompts",
        f"/run/{run}/prompt?prompt_id=3",
        f"/run/{run}/step/3",
        f"/run/{run}/plan",
        f"/run/{run}/{group}",
        "/estimators",
        f"/data/runs/{run}",
        f"/data/run/{run}/reward",
        f"/csv/run/{run}/reward",
        f"/data/compare/compare?run={run}",
        f"/csv/compare/compare?run={run}",
        "/data/catalogue",
        "/csv/catalogue",
        f"/plotly-{plotly.__version__}.js",
        f"/version?run={run}",
        "/version",
        "/static/main.js",
        "/static/page.css",
        "/static/icon.svg",
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_answer_has_the_headers(client, ids, method):
    for path in routes(ids):
        answer = client.request(method, path)
        assert answer.status_code == 200, path
        assert_safe(answer)
        assert method == "GET" or answer.content == b""


def test_every_route_is_among_those_that_are_tried(dashboard, ids):
    tried = [*routes(ids), "/events"]
    for route in dashboard.app.app.routes:
        assert any(route.path_regex.match(path.partition("?")[0]) for path in tried), route.path


def test_refusals_and_errors_have_the_headers(dashboard, ids, monkeypatch):
    run = ids["grpo-0"]
    found = {
        "/absent": 404,
        "/run/absent": 404,
        "/data/run/absent/reward": 404,
        "/static/../app.py": 404,
        "/plotly-0.js": 404,
        "/run/": 404,
        f"/run/{run}/": 307,
        f"/data/run/{run}/reward?points=x": 400,
        f"/run/{run}/group": 400,
        "/": 500,
        f"/csv/run/{run}/reward": 500,
        "/events": 503,
    }

    def fail(*_):
        raise ZeroDivisionError("\x1b[31m<b>")

    monkeypatch.setattr(dashboard.pages, "runs_page", fail)
    monkeypatch.setattr(dashboard.opened, "get", fail)
    monkeypatch.setattr(dashboard.news, "_is_closed", True)
    monkeypatch.setattr(dashboard.app, "app", dashboard._build())
    visitor = TestClient(
        dashboard.app, base_url=OWN, raise_server_exceptions=False, follow_redirects=False
    )
    for path, status in found.items():
        answer = visitor.get(path)
        assert answer.status_code == status, path
        assert_safe(answer)
        assert status not in (500, 503) or answer.headers["cache-control"] == "no-store"
    for path in (f"/data/runs/{run}", "/version", "/static/main.js"):
        tag = visitor.get(path).headers["etag"]
        answer = visitor.get(path, headers={"if-none-match": tag})
        assert answer.status_code == 304
        assert_safe(answer)


def test_an_unexpected_error_is_said_without_what_could_steer_a_terminal(
    dashboard, monkeypatch, capsys
):
    monkeypatch.setattr(dashboard.runs, "all", lambda: 1 / 0)
    monkeypatch.setattr(dashboard.runs, "get", lambda _: 1 / 0)
    visitor = TestClient(dashboard.app, base_url=OWN, raise_server_exceptions=False)
    assert visitor.get("/").text.count("ZeroDivisionError") == 0
    visitor.get("/run/%1b[31m%0a?token=" + TOKEN)
    said = capsys.readouterr().err
    assert said.count("ZeroDivisionError") == said.count("\n") == 2
    assert "\x1b" not in said
    assert TOKEN not in said


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1:8765"])
def test_a_web_socket_is_closed(client, host):
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/events", headers={"host": host}),
    ):
        pass


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"])
def test_nothing_can_be_changed(client, ids, method):
    for path in routes(ids):
        answer = client.request(method, path)
        assert answer.status_code == 405
        assert answer.text.startswith("Nothing can be changed here")
        assert answer.headers["allow"] == "GET, HEAD"
        assert_safe(answer)


@pytest.mark.parametrize(
    "host",
    [
        "evil.test", "evil.test:8765", "127.0.0.1.evil.test", "localhost.evil.test", "", "[::1",
        "127.0.0.1@evil.test", "127.0.0.1:x", "10.0.0.7:8765", "localhost:1:2", "[127.0.0.1]x",
    ],
)  # fmt: skip
def test_another_name_is_not_answered(client, host):
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert answer.headers["cache-control"] == "no-store"
    assert "Runs" not in answer.text
    assert_safe(answer)


def test_one_name_is_given_and_not_two(client):
    both = [("host", "127.0.0.1:8765"), ("host", "evil.test")]
    assert client.get("/", headers=both).status_code == 421
    assert client.get("/", headers=both[::-1]).status_code == 421


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:9000", "LOCALHOST:9000", "localhost.", "127.0.0.1", "[::1]:8765"],
)
def test_a_tunnel_may_change_the_port(client, host):
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "https://127.0.0.1:8765"}, 403),
        ({"origin": "http://127.0.0.1:8765"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),  # another port of this machine is another program
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "no-cors",
                "sec-fetch-dest": "document",
            },
            403,
        ),
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "iframe",
            },
            403,
        ),
        (
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "document",
            },
            200,
        ),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
    ],
)
def test_other_sites_are_not_answered(client, headers, status):
    answer = client.get("/", headers=headers)
    assert answer.status_code == status
    assert_safe(answer)


@pytest.mark.parametrize("name", ["origin", "sec-fetch-site"])
def test_a_good_header_does_not_cover_a_bad_one(client, name):
    good = {"origin": OWN, "sec-fetch-site": "same-origin"}[name]
    for both in ([good, "cross-site"], ["cross-site", good]):
        assert client.get("/", headers=[(name, each) for each in both]).status_code == 403


def test_ids_are_looked_up_and_not_joined(client, ids, root):
    name = next(each for each in ids.values())
    for tried in (
        "..%2f..%2fetc%2fpasswd", "grpo-0",
        str(root / "grpo-0").replace("/", "%2f"),
        f"{name}%00", f"{name}%2f..", "%2fetc", "nothing",
    ):  # fmt: skip
        for path in (f"/run/{tried}", f"/data/run/{tried}/reward", f"/data/runs/{tried}"):
            assert client.get(path).status_code == 404, path
    assert client.get("/static/%2e%2e/app.py").status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        "theme=blue",
        "theme=" + "x" * 500,
        "nonsense=1",
        "theme=light&x=1&x=2",
        "theme=light&theme=dark",
        "points=100&points=200",
        "run=x",
        "token=x",
        "points=" + "9" * 5000,
        "points=1e309",
        "points=NaN",
        "points=%ff",
        "points=%00",
    ],
)
def test_parameters_have_limits(client, ids, query):
    answer = client.get(f"/data/run/{ids['grpo-0']}/reward?{query}")
    assert answer.status_code == 400
    assert len(answer.json()["error"]) < 700


@pytest.mark.parametrize("path", ["/events", "/version", "/data/compare/compare"])
def test_there_are_limits_to_how_many_runs(client, path):
    answer = client.get(path, params=[("run", str(i)) for i in range(17)])
    assert answer.status_code == 400  # before any of them is looked for


def test_a_long_query_is_refused(client, ids):
    assert client.get(f"/run/{ids['grpo-0']}?x={'y' * 45_000}").status_code == 414


@pytest.mark.parametrize(
    "path",
    [
        "step/-1", "step/x", "step/99999999999999999999", "step/1.5", "step/" + "9" * 5000,
        "prompt", "group", "group?group_id=1&group_id=2", "group?group_id=1&generation=-1",
    ],
)  # fmt: skip
def test_pages_refuse_what_makes_no_sense(client, ids, path):
    answer = client.get(f"/run/{ids['grpo-0']}/{path}")
    assert answer.status_code in (400, 404)
    assert "Not shown" in answer.text


# ---- the token -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(root):
    return Dashboard(root, make_policy(EVERYWHERE, TOKEN))


def visitor(guarded, host="192.168.1.5:8765"):
    return TestClient(guarded.app, base_url=f"http://{host}")


def test_others_can_reach_it_only_with_a_token():
    for host in (EVERYWHERE, "::", "192.168.1.5", "gpu-box"):
        with pytest.raises(InputError, match="needs a token"):
            make_policy(host, None)
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.2"):
        assert make_policy(host, None).token is None


@pytest.mark.parametrize(
    "token", ["", "short", "x" * 15, "x" * 300, "with space and more", "ü" * 20]
)
def test_a_poor_token_is_refused(token):
    with pytest.raises(InputError, match="a token is"):
        make_policy(EVERYWHERE, token)


def test_without_the_token_nothing_is_shown(guarded, ids):
    client = visitor(guarded)
    for path in routes(ids):
        assert client.get(path).status_code == 401
    for wrong in ("x", TOKEN[:-1], TOKEN + "x", ""):
        assert client.get("/", params={"token": wrong}).status_code == 401
        assert (
            client.get("/", headers={"cookie": f"dissensus_token_8765={wrong}"}).status_code == 401
        )


def test_the_link_sets_a_cookie_that_scripts_cannot_read(guarded, ids):
    client = visitor(guarded)
    answer = client.get(f"/run/{ids['grpo-0']}?token={TOKEN}&a=b")
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/" in cookie
    assert f"url=/run/{ids['grpo-0']}?a=b" in answer.text
    assert TOKEN not in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert client.get("/").status_code == 200  # the cookie


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://192.168.1.5:9000", "dissensus_token_9000="),
        ("http://192.168.1.5", "dissensus_token_80="),
        ("http://[fd00::1]:9000", "dissensus_token_9000="),
    ],
)
def test_two_pages_at_once_have_a_cookie_each(guarded, address, said):
    for scheme in ("http", "https"):
        client = TestClient(guarded.app, base_url=address.replace("http", scheme))
        cookie = client.get("/", params={"token": TOKEN}).headers["set-cookie"]
        assert cookie.startswith(said + TOKEN)
        assert ("secure" in cookie.lower()) == (scheme == "https")


def test_the_link_leads_nowhere_else(guarded):
    answer = visitor(guarded).get(f"http://192.168.1.5:8765//evil.test/?token={TOKEN}")
    assert "url=/evil.test/" in answer.text


def test_a_numeric_address_is_a_name_of_a_server_for_others(guarded):
    headers = {"cookie": f"dissensus_token_8765={TOKEN}"}
    assert visitor(guarded, "10.1.2.3:8765").get("/", headers=headers).status_code == 200
    assert visitor(guarded, "evil.test:8765").get("/", headers=headers).status_code == 421
    allowed = Dashboard(guarded.runs.root, make_policy(EVERYWHERE, TOKEN, allowed=["gpu.test"]))
    assert visitor(allowed, "gpu.test:8765").get("/", headers=headers).status_code == 200


def test_the_link_needs_one_token_and_the_whole_of_it(guarded):
    for query in (
        f"token=x&token={TOKEN}", f"token={TOKEN}&token={TOKEN}", f"token={TOKEN.upper()}",
        "token=%ff%00", "token=%ed%a0%80", "token=" + "x" * 30_000,
    ):  # fmt: skip
        answer = visitor(guarded).get(f"/?{query}")
        assert answer.status_code == 401
        assert_safe(answer)


def test_a_token_is_compared_in_constant_time(guarded, monkeypatch):
    compared = []

    def compare(given, token):
        compared.append((given, token))
        return given == token

    monkeypatch.setattr("hmac.compare_digest", compare)
    for place in ({"params": {"token": "x"}}, {"headers": {"cookie": f"{COOKIE}=x"}}):
        assert visitor(guarded).get("/", **place).status_code == 401
    assert compared == [(b"x", TOKEN.encode())] * 2


@pytest.mark.parametrize(
    "cookie",
    [
        f'jupyter={{"a": 1}}; {COOKIE}={TOKEN}',
        f"a b\x7f; =; {COOKIE}={TOKEN};",
        f"{COOKIE}=other; {COOKIE}={TOKEN}",
    ],
)
def test_a_cookie_of_another_program_takes_nothing_away(guarded, cookie):
    assert visitor(guarded).get("/", headers={"cookie": cookie}).status_code == 200


@pytest.mark.parametrize(
    "cookie",
    [
        f"{COOKIE}", f"{COOKIE}=", f"{COOKIE}={TOKEN} x", f"x{COOKIE}={TOKEN}",
        f"dissensus_token_8766={TOKEN}", f"x=y {COOKIE}={TOKEN}", f"{COOKIE}=\xff",
    ],
)  # fmt: skip
def test_a_cookie_that_is_not_the_token_opens_nothing(guarded, cookie):
    headers = {"cookie": cookie.encode("latin-1")}
    assert visitor(guarded).get("/", headers=headers).status_code == 401


def test_a_cookie_does_not_help_another_site(guarded):
    headers = {"cookie": f"{COOKIE}={TOKEN}"}
    for bad, status in (
        ({"origin": "http://evil.test"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"host": "evil.test"}, 421),
    ):
        assert visitor(guarded).get("/", headers={**headers, **bad}).status_code == status
        answer = visitor(guarded).get("/", params={"token": TOKEN}, headers=bad)
        assert answer.status_code == status
        assert_safe(answer)


@pytest.mark.parametrize("name", ["gpu.test", "GPU.test:8443", "gpu.test."])
def test_another_name_is_allowed_however_it_is_written(root, name):
    allowed = Dashboard(root, make_policy("127.0.0.1", None, allowed=[name]))
    assert visitor(allowed, "gpu.test").get("/").status_code == 200
    assert visitor(allowed, "gpu.test.evil.test").get("/").status_code == 421
    assert visitor(allowed, "10.0.0.7").get("/").status_code == 421


@pytest.mark.parametrize("name", ["", ":80", "."])
def test_no_name_is_no_name(root, name):
    allowed = Dashboard(root, make_policy(EVERYWHERE, TOKEN, allowed=[name]))
    for host in ("", "127.0.0.1@evil.test:x", "evil:test", "."):
        assert visitor(allowed).get("/", headers={"host": host}).status_code == 421


# ---- runs that are not what they should be ---------------------------------------------------


ROWS = {"group_ids": [1, 1], "prompt_ids": [1, 1], "rewards": [0.0, 1.0]}


@pytest.mark.parametrize("name", ["run.json", "heartbeat.json"])
@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, "null", "[1]", "9" * 5000, '{"state": 1, "dropped": 1, "metadata": 1}', "\0"],
)
def test_a_run_that_says_nonsense_hides_no_other(tmp_path, name, text):
    for each in ("good", "bad"):
        Recorder(tmp_path / each).close()
    (tmp_path / "bad" / name).write_text(text)
    dashboard = Dashboard(tmp_path, make_policy("127.0.0.1", None))
    visitor = TestClient(dashboard.app, base_url=OWN, raise_server_exceptions=False)
    page = visitor.get("/")
    assert page.status_code == 200
    assert page.text.count("data-run=") == 2
    for run in [each.id for each in dashboard.runs.all()]:
        for path in (f"/run/{run}", f"/version?run={run}", f"/data/runs/{run}"):
            answer = visitor.get(path)
            assert answer.status_code == 200 or run.startswith("bad"), path
            assert_safe(answer)


def test_what_a_run_says_of_its_state_is_no_header_and_short(tmp_path):
    state = "x\r\nset-cookie: a=b\u202e\ud800" + "y" * 100_000
    Recorder(tmp_path / "run").close()
    (tmp_path / "run" / "heartbeat.json").write_text(json.dumps({"state": state}))
    dashboard = Dashboard(tmp_path, make_policy("127.0.0.1", None))
    run = dashboard.runs.all()[0].id
    with TestClient(dashboard.app, base_url=OWN) as visitor:
        for path in ("/", f"/run/{run}", f"/version?run={run}", f"/data/runs/{run}"):
            answer = visitor.get(path)
            assert answer.status_code == 200, path
            assert_safe(answer)
            assert "\u202e" not in answer.text
            assert len(answer.content) < 50_000


def test_a_run_in_the_place_of_another_is_not_taken_for_it(tmp_path):
    def make(rewards):
        with Recorder(tmp_path / "run") as recorder:
            recorder.record(step=0, **{**ROWS, "rewards": rewards})

    make([0.0, 1.0])
    dashboard = Dashboard(tmp_path, make_policy("127.0.0.1", None))
    run = dashboard.runs.all()[0].id
    paths = (f"/data/run/{run}/reward", f"/data/runs/{run}", f"/version?run={run}")
    with TestClient(dashboard.app, base_url=OWN) as visitor:
        before = [visitor.get(path).text for path in paths]
        shutil.rmtree(tmp_path / "run")
        for path in (*paths, f"/run/{run}", f"/csv/run/{run}/reward"):
            assert visitor.get(path).status_code == 404
        make([5.0, 6.0])
        dashboard.runs._good_until_s = 0.0  # as if a second had passed
        after = [visitor.get(path).text for path in paths]
        assert json.loads(after[1])["reward"] == [5.5]
        assert "5.5" in after[0]
        assert "5.5" not in before[0]
        assert all(new != old for new, old in zip(after, before, strict=True))


def test_a_folder_of_any_name_is_shown_as_text(tmp_path):
    for name in (b"<b>&\"'", b"line\nline\x1b[31m", b"\xe2\x80\xae", b"..\\..", b"%2e%2e"):
        Recorder(Path(os.fsdecode(os.fsencode(tmp_path / "runs") + b"/" + name))).close()
    dashboard = Dashboard(tmp_path / "runs", make_policy("127.0.0.1", None))
    with TestClient(dashboard.app, base_url=OWN) as visitor:
        for path in ("/", *(f"/run/{each.id}" for each in dashboard.runs.all())):
            answer = visitor.get(path)
            assert answer.status_code == 200
            assert "<b>" not in answer.text
            assert not set("\x1b\u202e") & set(answer.text)
        for each in dashboard.runs.all():
            (each.path / "run.json").write_text("{")
            answer = visitor.get(f"/data/runs/{each.id}")
            assert answer.status_code == 500
            assert "not readable JSON" in answer.json()["error"]
            assert not set("\n\x1b\u202e") & set(answer.json()["error"])


def test_a_long_and_hostile_completion_is_cut(tmp_path):
    texts = ["a\0\u202e\x1b[31m " * 100_000, "b" * 1_000_000]
    with Recorder(tmp_path / "run") as recorder:
        recorder.record(step=0, completions=texts, **ROWS)
    dashboard = Dashboard(tmp_path, make_policy("127.0.0.1", None))
    with TestClient(dashboard.app, base_url=OWN) as visitor:
        run = dashboard.runs.all()[0].id
        page = visitor.get(f"/run/{run}/group?group_id=1")
        assert page.text.count("<article") == 2
        assert len(page.content) < 500_000
        assert not set("\0\x1b\u202e") & set(page.text)


def test_a_group_is_made_where_views_are_made(root, ids, monkeypatch):
    dashboard = Dashboard(root, make_policy("127.0.0.1", None))
    made, name = dashboard.pages.group_page, []

    def make(request):
        name.append(threading.current_thread().name)
        return made(request)

    monkeypatch.setattr(dashboard.pages, "group_page", make)
    address = f"/run/{ids['grpo-0']}/group?group_id=train-5-3&generation=5"
    with TestClient(dashboard.app, base_url=OWN) as visitor:
        assert visitor.get(address).status_code == 200
    assert name[0].startswith("dissensus-view")  # few at a time, whoever asks


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b"])
def test_no_text_of_a_csv_is_a_formula(start):
    table = answers._flat(pa.table({"text": [f"{start}x", "x"]}))
    assert table["text"].to_pylist() == [f"'{start}x", "x"]
