"""The start page: photos in, classes out, with heatmaps. The page's script asks POST /predict for each photo."""

from __future__ import annotations

import asyncio
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from imgreg.api.explain import SHOWN_PX, explain_decoded, known_likeness, likeness_note
from imgreg.data import decode as decoding
from imgreg.data.listed import PHOTO_SUFFIXES
from imgreg.reports.pictures import jpeg, overlay
from imgreg.runs.folder import list_runs
from imgreg.serve.body import body_of
from imgreg.serve.classifiers import Classifiers
from imgreg.serve.pages import page

NOTE_HEADER = "X-Imgreg-Note"
_PREVIEW_PX = 500


def predict_page_routes(classifiers: Classifiers) -> list[Route]:
    one_at_a_time = asyncio.Lock()  # Keras takes all cores for one

    async def show(request: Request) -> Response:
        runs = sorted(list_runs(classifiers.models)[0], key=lambda run: run.created, reverse=True)
        asked = set(request.query_params.getlist("run")) & {run.name for run in runs}
        chosen = asked or {run.name for run in runs[:1]}
        return page("predict.html.j2", at="/", runs=runs, chosen=chosen, suffixes=PHOTO_SUFFIXES)

    async def heatmap(request: Request) -> Response:
        """The photo with what supports a class laid over it, as JPEG."""
        query = request.query_params
        with classifiers.place():
            data = await body_of(request)
            classifier = await classifiers.loaded(query.get("run"))
            pixels = await classifiers.decoded(partial(decoding.decode, size_px=classifier.size_px), data)
            shown = await classifiers.decoded(partial(decoding.picture, longest_px=SHOWN_PX), data)
            async with one_at_a_time:
                explained = await asyncio.to_thread(
                    explain_decoded, pixels, run=classifier.runs[0], label=query.get("label", "")
                )
            picture = await asyncio.to_thread(lambda: jpeg(overlay(shown, explained.map)))
        note = likeness_note(known_likeness(explained))
        return Response(picture, media_type="image/jpeg", headers={NOTE_HEADER: note})

    async def preview(request: Request) -> Response:
        """The photo at reduced size as JPEG, for a browser that cannot draw its format."""
        with classifiers.place():
            data = await body_of(request)
            pixels = await classifiers.decoded(partial(decoding.picture, longest_px=_PREVIEW_PX), data)
            return Response(await asyncio.to_thread(jpeg, pixels), media_type="image/jpeg")

    return [
        Route("/", show),
        Route("/heatmap", heatmap, methods=["POST"]),
        Route("/picture", preview, methods=["POST"]),
    ]
