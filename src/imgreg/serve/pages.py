"""What every page needs: templates, style and scripts, and how a browser sends the token."""

from __future__ import annotations

import hmac
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from imgreg.reports.page import TEMPLATES, page_templates, stylesheet
from imgreg.serve.guard import COOKIE, SIGN_IN, TOKEN_HEADER

_FOLDER = Path(__file__).parent
PAGES = {"/": "Predict", "/runs": "Runs", "/labels": "Labels", "/check": "Check", "/train": "Train"}


@cache
def _templates() -> Environment:
    return page_templates(_FOLDER / "templates")


def page(template: str, *, at: str, status_code: int = 200, **values: Any) -> Response:
    """A page from its template; `at` is its place in the navigation, empty for none."""
    text = _templates().get_template(template).render(pages=PAGES, at=at, **values)
    return HTMLResponse(text.encode("utf-8", "backslashreplace"), status_code)


def shared_routes(*, token: str | None) -> list[Route | Mount]:
    """Style, scripts, and the sign-in page."""

    async def style(_: Request) -> Response:
        return Response(stylesheet(), media_type="text/css")

    async def label_script(_: Request) -> Response:
        return FileResponse(TEMPLATES / "label_issues.js", media_type="text/javascript")

    async def sign_in(request: Request) -> Response:
        if token is None:
            return RedirectResponse("/", 303)
        if request.method == "GET":
            return page("sign_in.html.j2", at="")
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), token.encode()):
            return JSONResponse({"error": "This is not the token that imgreg serve printed."}, 401)
        response = Response(status_code=204)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response

    return [
        Route("/static/style.css", style),
        Route("/static/label_issues.js", label_script),
        Mount("/static", StaticFiles(directory=_FOLDER / "static")),
        Route(SIGN_IN, sign_in, methods=["GET", "POST"]),
    ]
