"""Start a training on a folder of photos, watch its curves, stop and resume it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imgreg.errors import UsageError
from imgreg.recipes import recipe_names
from imgreg.recipes.settings import build_settings
from imgreg.serve.folders import find_folder, listed_folders, named_folders
from imgreg.serve.pages import page
from imgreg.serve.trainings import Training, Trainings

WEIGHTS = ("auto", "imagenet", "starter")


def train_page_routes(trainings: Trainings, *, roots: Sequence[Path]) -> list[Route]:
    async def show(_: Request) -> Response:
        folders = named_folders(await run_in_threadpool(listed_folders, roots), roots=roots)
        return page(
            "train.html.j2",
            at="/train",
            folders=folders,
            roots=roots,
            recipes=recipe_names(),
            started=trainings.started("train"),
        )

    async def start(request: Request) -> Response:
        query = request.query_params
        data = find_folder(query.get("folder", ""), roots=roots)
        recipe = query.get("recipe", "regularized")
        options = training_options(query, numbers=("epochs", "image_size", "folds"))
        if recipe not in recipe_names():
            raise UsageError(f"recipe {recipe!r}: unknown.")
        build_settings(recipe, options)  # refuses now what is out of range
        number = trainings.start(data, name=query.get("name") or None, command="train", recipe=recipe, options=options)
        return JSONResponse({"place": f"/train/{number}"})

    async def watch(request: Request) -> Response:
        training = _find(request)
        at = {"train": "/train", "label-issues": "/labels"}[training.asked["command"]]
        return page("training.html.j2", at=at, asked=training.asked, data=training.data_name)

    async def state(request: Request) -> Response:
        return JSONResponse(_find(request).document())

    async def stop(request: Request) -> Response:
        training = _find(request)
        await run_in_threadpool(training.stop)
        return JSONResponse(training.document())

    async def resume(request: Request) -> Response:
        training = _find(request)
        await run_in_threadpool(trainings.resume, training)
        return JSONResponse(training.document())

    def _find(request: Request) -> Training:
        training = trainings.all.get(request.path_params["number"])
        if training is None:
            raise HTTPException(404, "This training or label check is no longer available. Start it again.")
        return training

    return [
        Route("/train", show),
        Route("/train/start", start, methods=["POST"]),
        Route("/train/{number}", watch),
        Route("/train/{number}/state", state),
        Route("/train/{number}/stop", stop, methods=["POST"]),
        Route("/train/{number}/resume", resume, methods=["POST"]),
    ]


def training_options(given: Mapping[str, str], *, numbers: Sequence[str]) -> dict[str, Any]:
    """The form's values as build_settings takes them; empty fields are left to the recipe."""
    options: dict[str, Any] = {}
    for name in numbers:
        if text := given.get(name):
            if not text.isdecimal():
                raise UsageError(f"{name} {text!r}: expected a whole number.")
            options[name] = int(text)
    if weights := given.get("weights"):
        if weights not in WEIGHTS:
            raise UsageError(f"weights {weights!r}: expected one of {', '.join(WEIGHTS)}.")
        options["weights"] = weights
    return options
