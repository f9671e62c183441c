"""What every page needs: templates, style and scripts; and errors, as a page or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from imgreg.reports.page import TEMPLATES, page_templates, stylesheet

_FOLDER = Path(__file__).parent
PAGES = {"/": "Predict", "/runs": "Runs", "/labels": "Labels", "/check": "Check", "/train": "Train"}


@cache
def _templates() -> Environment:
    return page_templates(_FOLDER / "templates")


def page(template: str, *, at: str, status_code: int = 200, **values: Any) -> Response:
    """A page from its template; `at` is its place in the navigation, empty for none."""
    text = _templates().get_template(template).render(pages=PAGES, at=at, **values)
    return HTMLResponse(text.encode("utf-8", "backslashreplace"), status_code)


def error_response(request: Request, error: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """As JSON for scripts and programs, as a page for a person who follows a link."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        heading = {404: "Not found", 503: "Busy"}.get(status, "Error")
        return page("error.html.j2", at="", status_code=status, heading=heading, message=error)
    return JSONResponse({"error": error}, status, headers)


def static_routes() -> list[Route | Mount]:
    """Style and scripts."""

    async def style(_: Request) -> Response:
        return Response(stylesheet(), media_type="text/css")

    async def label_script(_: Request) -> Response:
        return FileResponse(TEMPLATES / "label_issues.js", media_type="text/javascript")

    return [
        Route("/static/style.css", style),
        Route("/static/label_issues.js", label_script),
        Mount("/static", StaticFiles(directory=_FOLDER / "static")),
    ]
