"""Who may talk to the dashboard: this machine, its own pages, and whoever has the token."""

import contextlib
import socket
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from dashboards.attempts import KEPT_CLIENTS, WINDOW_S, WRONG_ALLOWED, Attempts
from dashboards.bodies import MOST_BYTES
from pipelines.warehouse import tables
from tests.dashboard_seed import seed
from tests.dashboard_server import running

pytestmark = pytest.mark.servers
NOW_MS = 1_790_000_000_000
FORM = {"content_type": "application/x-www-form-urlencoded"}
WRITING = (
    ("POST", "/api/bot/bot_001/stop"),
    ("POST", "/api/kill-switch"),
    ("PUT", "/api/bot/bot_001/config"),
    ("DELETE", "/api/bot/bot_001"),
    ("POST", "/_dash-update-component"),
    ("POST", "/api/backtest"),
)


@pytest.fixture
def api(database_url, redis_url, unused_port, tmp_path):
    """A dashboard over a seeded database, without a token."""
    with running(database_url, redis_url, unused_port, tmp_path) as client:
        seed(client.database, NOW_MS, minutes=30)
        yield client


@pytest.fixture
def guarded(database_url, redis_url, unused_port, tmp_path):
    """A dashboard with a token."""
    with running(database_url, redis_url, unused_port, tmp_path, dashboard_token="secret-9") as client:
        yield client


def push(api, origin):
    """Open and close the push as a page of that origin would."""
    address = api.url.replace("http", "ws") + "/_dash-ws-callback"
    with connect(address, origin=origin, open_timeout=10):
        pass


def test_writing_requests_of_other_sites_are_refused(api):
    """Whatever the method and the path, a foreign page gets 403 and changes nothing; an own one passes."""
    for headers in ({"sec_fetch_site": "cross-site"}, {"origin": "http://evil.example"}, {"origin": "null"}):
        for method, path in WRITING:
            assert api.request(method, path, {"on": True}, headers).status == 403, (method, path, headers)
    with api.database.connect() as connection:
        assert set(connection.execute(sa.select(tables.bots.c.status)).scalars()) == {"active"}
    assert api.get("/api/kill-switch").json == {"on": False}
    own = {"origin": api.url, "sec_fetch_site": "same-origin"}
    assert api.post("/api/bot/bot_001/stop", **own).status == 200


def test_host_and_origin_are_checked_and_every_answer_carries_the_headers(api):
    """Without a token the host must be this machine; the push is for own pages; no answer may be framed."""
    assert api.get("/api/bots", host="evil.example").status == 400
    assert api.get("/api/bots", host="localhost:1").status == 200
    for odd in ("[", "[::1", "]", "a]b", "[" * 3_000):
        assert api.get("/api/bots", host=odd).status == 400, odd
        assert api.post("/api/bot/bot_001/stop", origin=f"http://{odd}").status == 403, odd
    with pytest.raises(InvalidStatus):
        push(api, "http://evil.example")
    push(api, api.url)
    answers = {path: api.get(path) for path in ("/", "/api/bots", "/api/nothing", "/assets/shell.css")}
    answers["another host"] = api.get("/api/bots", host="evil.example")
    answers["another site"] = api.post("/api/kill-switch", {"on": True}, origin="http://evil.example")
    answers["too long"] = api.post("/api/kill-switch", content_length="99999999999")
    assert [answer.status for answer in answers.values()] == [200, 200, 404, 200, 400, 403, 413]
    for what, answer in answers.items():
        assert_guarded(answer, what)


def assert_guarded(answer, what):
    """It may not be framed, nor guessed to be of another kind, nor load what is another site's."""
    assert answer.headers["x-frame-options"] == "DENY", what
    assert answer.headers["x-content-type-options"] == "nosniff", what
    assert "default-src 'self'" in answer.headers["content-security-policy"], what


def test_a_token_is_demanded_and_the_login_gives_a_cookie_that_is_not_it(guarded):
    """Everything but /healthz and the login wants it: as bearer, or as a cookie out of reach of scripts and
    other sites, until the logout."""
    assert guarded.get("/healthz").status == 200
    for path in ("/api/bots", "/metrics", "/_dash-layout", "/assets/shell.css", "/api/openapi.json"):
        assert guarded.get(path).status == 401, path
        assert_guarded(guarded.get(path), path)
    with pytest.raises(InvalidStatus):
        push(guarded, guarded.url)
    assert guarded.get("/api/bots", authorization="Bearer secret-9").status == 200
    page = guarded.get("/", accept="text/html")
    assert (page.status, page.headers["location"]) == (303, "/login")
    assert_guarded(page, "the way to the login")
    assert guarded.post("/login", b"token=secret-9", origin="http://evil.example", **FORM).status == 403

    cookie = guarded.post("/login", b"token=secret-9", **FORM).headers["set-cookie"]
    assert "secret-9" not in cookie
    assert "httponly" in cookie.lower() and "samesite=strict" in cookie.lower()
    assert "secure" not in cookie.lower()
    by_proxy = guarded.post("/login", b"token=secret-9", x_forwarded_proto="https", **FORM)
    assert "secure" in by_proxy.headers["set-cookie"].lower()
    pair = cookie.split(";")[0]
    assert guarded.get("/api/bots", cookie=pair).status == 200
    assert "Log out" in guarded.get("/_dash-layout", cookie=pair).text
    assert guarded.get("/api/bots", cookie="tcp_session=secret-9").status == 401
    left = guarded.post("/logout", cookie=pair)
    assert (left.headers["location"], left.headers["set-cookie"].split(";")[0]) == (
        "/login",
        'tcp_session=""',
    )


def test_repeated_wrong_tokens_are_slowed(guarded):
    """After a handful of wrong ones both ways in answer 429, even to the right one, and whatever address the
    guesser names; who is in stays in."""
    pair = guarded.post("/login", b"token=secret-9", **FORM).headers["set-cookie"].split(";")[0]
    guesses = [{"x_forwarded_for": f"203.0.113.{n}"} for n in range(7)]
    answers = [guarded.post("/login", b"token=guess", **FORM | other).status for other in guesses[:3]]
    answers += [
        guarded.get("/api/bots", authorization="Bearer guess", **other).status for other in guesses[3:]
    ]
    assert answers == [401] * WRONG_ALLOWED + [429] * 2
    assert guarded.post("/login", b"token=secret-9", **FORM).status == 429
    assert guarded.get("/api/bots", authorization="Bearer secret-9").status == 429
    assert guarded.get("/api/bots", cookie=pair).status == 200


def test_a_client_waits_for_a_minute_and_holds_up_nobody_else():
    """Five wrong tokens within the window count; the oldest leaves it; memory of clients is bounded."""
    now = 0.0
    attempts = Attempts(lambda: now)
    for _ in range(WRONG_ALLOWED):
        assert not attempts.must_wait("a")
        attempts.wrong("a")
    assert attempts.must_wait("a") and not attempts.must_wait("b")
    now = WINDOW_S
    assert not attempts.must_wait("a")
    for n in range(KEPT_CLIENTS + 5):
        attempts.wrong(f"c{n}")
    assert len(attempts) == KEPT_CLIENTS


def test_a_body_without_end_is_cut_off(api):
    """One that says its length is refused at once; one in pieces is not read to its end."""
    address = urlsplit(api.url)
    for headers in (
        b"Content-Length: 99999999999\r\n",
        b"Content-Length: x\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ):
        with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=20) as raw:
            raw.sendall(
                b"POST /api/kill-switch HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                + headers
                + b"\r\n"
            )
            with contextlib.suppress(OSError):  # the server hangs up while we talk
                for _ in range(2 * MOST_BYTES >> 16 if b"chunked" in headers else 0):
                    raw.sendall(b"10000\r\n" + b" " * 65_536 + b"\r\n")
            status = raw.recv(64).split(b" ")[1:2]
        assert status in ([b"413"], [b"400"], []), (headers, status)
    assert api.get("/api/kill-switch").json == {"on": False}
