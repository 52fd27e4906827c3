"""Every failure of the API is `{"detail": …}` with a status that says whose fault it was."""

import structlog
from dash.exceptions import PreventUpdate
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, OperationalError, SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.files import ConfigError
from core.errors import BadInput, Cancelled, TcpError, Unavailable
from dashboards.dagster_runs import RunFailed
from dashboards.failures import told
from dashboards.jobs import QueueFull, RunOver


class NotFound(Exception):
    """Nothing of that name: 404."""


class Failures:
    """Middleware: what nobody expected is logged with its stack and answered 500, of pages and API alike.

    Without it Dash would answer for both, and keep the cause to itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = structlog.get_logger("dashboards")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and answer for what is raised before an answer has begun."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except PreventUpdate:
            raise  # how a callback says that nothing changes
        except Exception:
            if scope["type"] != "http":
                raise
            self._log.exception("request_failed", method=scope["method"], path=scope["path"])
            if begun:
                raise
            answer = JSONResponse({"detail": "this failed: the dashboard's log says why"}, 500)
            await answer(scope, receive, send)


def install_errors(app: FastAPI) -> None:
    """404 unknown, 409 a run that is over, 422 bad parameter, 429 too much at once, 503 a server is away."""

    @app.exception_handler(NotFound)
    async def not_found(_request: Request, error: NotFound) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 404)

    @app.exception_handler(BadInput)
    async def bad_input(_request: Request, error: BadInput) -> JSONResponse:
        return JSONResponse({"detail": str(error), "field": error.field}, 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return JSONResponse({"detail": f"{field}: {first['msg']}", "field": field}, 422)

    @app.exception_handler(ConfigError)
    async def bad_config(_request: Request, error: ConfigError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(RunFailed)
    async def failed_elsewhere(_request: Request, error: RunFailed) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 500)

    @app.exception_handler(RunOver)
    @app.exception_handler(Cancelled)
    async def over(_request: Request, error: TcpError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

    @app.exception_handler(QueueFull)
    async def too_many(_request: Request, error: QueueFull) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 429)

    @app.exception_handler(Unavailable)
    async def unavailable(_request: Request, error: Unavailable) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503)

    @app.exception_handler(TcpError)
    async def expected(_request: Request, error: TcpError) -> JSONResponse:
        return JSONResponse({"detail": told(error)}, 422)

    @app.exception_handler(DataError)
    async def no_value(_request: Request, error: DataError) -> JSONResponse:
        return JSONResponse({"detail": told(error)}, 422)

    @app.exception_handler(OperationalError)
    async def database_away(_request: Request, error: OperationalError) -> JSONResponse:
        return JSONResponse({"detail": told(error)}, 503)

    @app.exception_handler(SQLAlchemyError)
    async def database_failed(_request: Request, error: SQLAlchemyError) -> JSONResponse:
        return JSONResponse({"detail": told(error)}, 503)
