"""The API's own page: every route with its parameters and answers, to try from the browser.

Swagger UI comes from a package and is served from here: the page needs no other host.
"""

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

PATH = "/api/docs"
FILES = "/api/docs/files"


def install(app: FastAPI) -> None:
    """GET /api/docs and the files it needs; called before the routes that answer for unknown addresses."""
    app.mount(FILES, StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static"))

    @app.get(PATH, include_in_schema=False)
    async def page() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/api/openapi.json",
            title="API · TCP Dashboard",
            swagger_js_url=f"{FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{FILES}/swagger-ui.css",
            swagger_favicon_url="/_favicon.ico",
            swagger_ui_parameters={"docExpansion": "list", "defaultModelsExpandDepth": 0},
        )
