"""The login page: the token once, then a cookie that this browser keeps for a month."""

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dashboards.security import COOKIE, TOO_MANY, client_of, cookie_value, is_secure, same_token
from dashboards.services import Services
from dashboards.theme import stylesheet

KEPT_S = 30 * 86_400
MOST_BYTES = 4096

_PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>TCP Dashboard</title>
<style>%(tokens)s
body{background:var(--background);color:var(--text);font:14px var(--font);margin:0;
display:grid;place-items:center;height:100vh}
form{background:var(--surface);border:1px solid var(--border);border-radius:8px;padding:24px;
width:320px;display:grid;gap:12px}
input{background:var(--raised);border:1px solid var(--border);border-radius:8px;color:inherit;
padding:8px;font:inherit}
button{background:var(--accent);color:#fff;border:0;border-radius:8px;padding:9px;font:inherit}
p{margin:0;color:var(--muted)}p.wrong{color:var(--down-text)}h1{font-size:18px;margin:0}</style></head><body>
<form method="post" action="/login"><h1>TCP Dashboard</h1>%(message)s
<label for="token">Token</label><input id="token" name="token" type="password" autofocus required
autocomplete="current-password"><button>Log in</button></form></body></html>"""


def router(services: Services) -> APIRouter:
    """GET and POST /login, POST /logout; nothing without a token in the settings."""
    routes = APIRouter(include_in_schema=False)
    token = services.settings.dashboard_token
    if token is None:
        return routes

    @routes.get("/login")
    async def form() -> HTMLResponse:
        return _form("<p>TCP_DASHBOARD_TOKEN of the machine that runs it.</p>")

    @routes.post("/login")
    async def enter(request: Request) -> Response:
        client = client_of(request.scope)
        if services.attempts.must_wait(client):
            return _form(f'<p class="wrong">{TOO_MANY.capitalize()}.</p>', 429)
        body = await request.body()
        given = parse_qs(body[:MOST_BYTES].decode("utf-8", "replace")).get("token", [""])[0]
        if not same_token(given, token):
            services.attempts.wrong(client)
            return _form('<p class="wrong">That is not the token.</p>', 401)
        answer = RedirectResponse("/", 303)
        secure = is_secure(request.scope)
        answer.set_cookie(
            COOKIE, cookie_value(token), max_age=KEPT_S, httponly=True, samesite="strict", secure=secure
        )
        return answer

    @routes.post("/logout")
    async def leave() -> Response:
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE)
        return answer

    return routes


def _form(message: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE % {"tokens": stylesheet(), "message": message}, status)
