"""All that is served, as one ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imgreg.errors import BusyError, ImgregError, PhotoError, UsageError
from imgreg.progress import Watcher
from imgreg.serve.answers import answer_routes
from imgreg.serve.check_page import check_page_routes
from imgreg.serve.classifiers import Classifiers, FullError, UnknownRunError
from imgreg.serve.guard import LOCAL, Access, Guard, sign_in_route
from imgreg.serve.labels_page import labels_page_routes
from imgreg.serve.openapi import openapi_document
from imgreg.serve.pages import error_response, static_routes
from imgreg.serve.predict_page import predict_page_routes
from imgreg.serve.protocol import protocol_routes
from imgreg.serve.review_page import review_page_routes
from imgreg.serve.runs_page import runs_page_routes
from imgreg.serve.train_page import train_page_routes
from imgreg.serve.trainings import Trainings

_RETRY_SECONDS = 1


def make_app(
    models: Path,
    *,
    roots: Sequence[Path] = (),
    access: Access = LOCAL,
    n_places: int | None = None,
    watcher: Watcher | None = None,
) -> Starlette:
    """The pages and interfaces for a folder of runs.

    Parameters
    ----------
    roots : sequence of Path
        Folders of photos below these may be checked and trained on.
    n_places : int, optional
        Requests at work and waiting at most, as in Classifiers.
    """
    classifiers = Classifiers(models, n_places=n_places, watcher=watcher)
    trainings = Trainings(models)

    @asynccontextmanager
    async def kept(_: Starlette) -> AsyncIterator[None]:
        with classifiers:
            yield
        await run_in_threadpool(trainings.close)

    async def openapi(_: Request) -> Response:
        return JSONResponse(openapi_document())

    return Starlette(
        routes=[
            *static_routes(),
            sign_in_route(access.token),
            Route("/openapi.json", openapi),
            *answer_routes(classifiers),
            *protocol_routes(classifiers),
            *predict_page_routes(classifiers),
            *runs_page_routes(classifiers),
            *labels_page_routes(trainings, roots=roots),
            *review_page_routes(models),
            *check_page_routes(classifiers, roots=roots),
            *train_page_routes(trainings, roots=roots),
        ],
        lifespan=kept,
        middleware=[Middleware(Guard, access)],
        exception_handlers={HTTPException: _refused, ImgregError: _failed, FullError: _full},
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    unexplained = {404: "There is no such page.", 405: f"Method {request.method} is not allowed here."}
    bare = error.detail == HTTPStatus(error.status_code).phrase
    message = unexplained.get(error.status_code, error.detail) if bare else error.detail
    return error_response(request, message, error.status_code, error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    statuses = {UnknownRunError: 404, UsageError: 400, PhotoError: 422, BusyError: 409}
    status = next((status for kind, status in statuses.items() if isinstance(error, kind)), 500)
    return error_response(request, str(error), status)


async def _full(request: Request, _: Exception) -> Response:
    message = "The server is busy. Try again in a moment."
    return error_response(request, message, 503, {"Retry-After": str(_RETRY_SECONDS)})
