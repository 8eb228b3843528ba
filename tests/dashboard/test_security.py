"""Who is answered, and what every answer says to the browser."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from dissensus.dashboard.app import Dashboard
from dissensus.dashboard.security import make_policy
from dissensus.errors import InputError

from .conftest import TOKEN

EVERYWHERE = "0.0.0.0"  # noqa: S104 — nothing is bound
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def routes(ids):
    run = ids["grpo-0"]
    return [
        "/",
        "/compare",
        f"/compare?run={run}",
        f"/run/{run}",
        f"/run/{run}/prompts",
        f"/run/{run}/prompt?prompt_id=3",
        f"/run/{run}/step/3",
        f"/data/runs/{run}",
        f"/data/run/{run}/reward",
        f"/csv/run/{run}/reward",
        f"/version?run={run}",
        "/version",
        "/static/main.js",
        "/static/page.css",
        "/static/icon.svg",
    ]


def test_every_answer_has_the_headers(client, ids):
    refused = ["/absent", "/run/absent", "/data/run/absent/reward", "/static/../app.py", "/run"]
    for path in [*routes(ids), *refused]:
        answer = client.get(path)
        assert answer.status_code == (404 if path in refused else 200), path
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"])
def test_nothing_can_be_changed(client, ids, method):
    for path in routes(ids):
        answer = client.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["content-security-policy"] == POLICY


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
    assert "Runs" not in answer.text


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9000", "LOCALHOST:9000", "127.0.0.1", "[::1]:8765"]
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
    assert client.get("/", headers=headers).status_code == status


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
    ],
)
def test_parameters_have_limits(client, ids, query):
    answer = client.get(f"/data/run/{ids['grpo-0']}/reward?{query}")
    assert answer.status_code == 400
    assert len(answer.json()["error"]) < 700


def test_a_long_query_is_refused(client, ids):
    assert client.get(f"/run/{ids['grpo-0']}?x={'y' * 45_000}").status_code == 414


@pytest.mark.parametrize(
    "path", ["step/-1", "step/x", "step/99999999999999999999", "step/1.5", "prompt", "group"]
)
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


def test_the_link_leads_nowhere_else(guarded):
    answer = visitor(guarded).get(f"http://192.168.1.5:8765//evil.test/?token={TOKEN}")
    assert "url=/evil.test/" in answer.text


def test_a_numeric_address_is_a_name_of_a_server_for_others(guarded):
    headers = {"cookie": f"dissensus_token_8765={TOKEN}"}
    assert visitor(guarded, "10.1.2.3:8765").get("/", headers=headers).status_code == 200
    assert visitor(guarded, "evil.test:8765").get("/", headers=headers).status_code == 421
    allowed = Dashboard(guarded.runs.root, make_policy(EVERYWHERE, TOKEN, allowed=["gpu.test"]))
    assert visitor(allowed, "gpu.test:8765").get("/", headers=headers).status_code == 200
