"""Every failure of the API is `{"detail": …}` with a status that says whose fault it was."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from config.files import ConfigError
from core.errors import BadInput, Unavailable
from dashboards.jobs import QueueFull


class NotFound(Exception):
    """Nothing of that name: 404."""


def install_errors(app: FastAPI) -> None:
    """404 unknown, 422 bad parameter, 429 too much at once, 503 a server is away."""

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

    @app.exception_handler(QueueFull)
    async def too_many(_request: Request, error: QueueFull) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 429)

    @app.exception_handler(Unavailable)
    async def unavailable(_request: Request, error: Unavailable) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503)

    @app.exception_handler(OperationalError)
    async def database_away(_request: Request, error: OperationalError) -> JSONResponse:
        return JSONResponse({"detail": f"the database does not answer: {_line(error)}"}, 503)

    @app.exception_handler(SQLAlchemyError)
    async def database_failed(_request: Request, error: SQLAlchemyError) -> JSONResponse:
        return JSONResponse({"detail": f"the database refused: {_line(error)}"}, 503)


def _line(error: SQLAlchemyError) -> str:
    return (str(getattr(error, "orig", None) or error).strip().splitlines() or ["no reason given"])[0]
