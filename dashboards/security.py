"""Who may talk to the dashboard: no foreign page, no foreign host name, and no one without the token.

One ASGI middleware in front of pages, API and websocket. Without a token the dashboard is for this machine:
the Host header must name loopback (a rebound DNS name does not). With `TCP_DASHBOARD_TOKEN`, everything but
/healthz and the login page asks for `Authorization: Bearer TOKEN` or the login cookie.
"""

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.settings import LOOPBACK
from dashboards.attempts import WINDOW_S, Attempts
from dashboards.bodies import bounded, too_large

COOKIE = "tcp_session"
OPEN_PATHS = frozenset({"/healthz", "/login"})
TOO_MANY = "too many wrong tokens: wait a minute"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        b"worker-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'self'",
    ),
)


def cookie_value(token: str) -> str:
    """What the login cookie holds: proof of the token, not the token."""
    return hmac.new(token.encode(), b"tcp-dashboard-login", hashlib.sha256).hexdigest()


def same_token(given: str, token: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode(), token.encode())


class Guard:
    """The middleware; it must be the outermost."""

    def __init__(self, app: ASGIApp, token: str | None, attempts: Attempts) -> None:
        self._app = app
        self._token = token
        self._attempts = attempts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400, 401, 403, 413 or 429, or hand on; with the security headers in any case."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if refusal is None and scope["type"] == "http":
            refusal = too_large(scope)
        if refusal is None and scope["type"] == "http":
            await self._app(scope, bounded(receive), _with_headers(send))
        elif refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4003, "reason": "refused"})
        else:
            await refusal(scope, receive, _with_headers(send))

    def refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that may not pass, or None."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = _parts(f"//{host}").hostname or ""
        if self._token is None and name not in LOOPBACK:
            return JSONResponse({"detail": f"host {name!r} is not this machine"}, 400)
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if changes and _is_foreign(headers, host):
            return JSONResponse({"detail": "requests from other sites are refused"}, 403)
        if self._token is None or scope["path"] in OPEN_PATHS or self._has_cookie(headers):
            return None
        if headers.get("authorization"):
            return self._judge_bearer(headers, client_of(scope))
        if "text/html" in headers.get("accept", "") and scope["type"] == "http":
            return RedirectResponse("/login", 303)
        return _needs_token()

    def _judge_bearer(self, headers: Headers, client: str) -> Response | None:
        if self._attempts.must_wait(client):
            return JSONResponse({"detail": TOO_MANY}, 429, {"Retry-After": f"{WINDOW_S:.0f}"})
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same_token(given.strip(), self._token or ""):
            return None
        self._attempts.wrong(client)
        return _needs_token()

    def _has_cookie(self, headers: Headers) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and same_token(cookie.value, cookie_value(self._token or ""))


def _needs_token() -> Response:
    detail = "a token is needed: Authorization: Bearer …"
    return JSONResponse({"detail": detail}, 401, {"WWW-Authenticate": "Bearer"})


def client_of(scope: Scope) -> str:
    """Address of whoever is connected, behind a proxy the proxy: not what the request says of itself."""
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else ""


def is_secure(scope: Scope) -> bool:
    """Whether the browser came by HTTPS, as the server or a proxy before it says. Who lies about that gets
    a cookie that its own browser may not send."""
    return scope["scheme"] == "https" or Headers(scope=scope).get("x-forwarded-proto", "") == "https"


def _is_foreign(headers: Headers, host: str) -> bool:
    """Whether a browser says that another site's page sent this."""
    if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
        return True
    origin = headers.get("origin")
    return origin is not None and _parts(origin).netloc != host


def _parts(address: str) -> SplitResult:
    """Of an address; what is none, such as an open bracket, has no parts."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *SECURITY_HEADERS]
        await send(message)

    return wrapped
