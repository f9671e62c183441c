"""The label checks of the models folder, and a form that starts one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imgreg.config import LABEL_FOLDS, LABEL_RECIPE, LABEL_REPEATS
from imgreg.errors import UsageError
from imgreg.recipes.settings import build_settings
from imgreg.runs.listing import Entry, list_entries
from imgreg.serve.folders import find_folder, listed_folders, named_folders, photos_of_run
from imgreg.serve.pages import page
from imgreg.serve.runs_page import entry_folder
from imgreg.serve.train_page import training_options
from imgreg.serve.trainings import Trainings

_RUN = "run/"  # prefix of a run's name in the form's folder field


def labels_page_routes(trainings: Trainings, *, roots: Sequence[Path]) -> list[Route]:
    models = trainings.models

    async def show(_: Request) -> Response:
        entries, _damaged = await run_in_threadpool(list_entries, models)
        newest = entries[::-1]
        runs = await run_in_threadpool(_with_photos, newest, roots)
        return page(
            "label_checks.html.j2",
            at="/labels",
            checks=[entry for entry in newest if entry.kind == "label issues"],
            folders=named_folders(await run_in_threadpool(listed_folders, roots), roots=roots),
            roots=roots,
            runs=runs,
            repeats=LABEL_REPEATS,
            folds=LABEL_FOLDS,
            started=[one for one in trainings.started("label-issues") if one[1].state != "finished"],
        )

    async def start(request: Request) -> Response:
        query = request.query_params
        chosen, options = query.get("folder", ""), training_options(query, numbers=("epochs", "image_size"))
        run = chosen.removeprefix(_RUN) if chosen.startswith(_RUN) else None
        if run is None:
            data = find_folder(chosen, roots=roots)
            build_settings(LABEL_RECIPE, options)  # refuses now what is out of range
        elif options:
            raise UsageError(f"{', '.join(options)}: a run's own settings are used. Leave these fields empty.")
        elif (found := await run_in_threadpool(photos_of_run, entry_folder(models, run), roots=roots)) is None:
            raise UsageError(f"{run}: not a run, or its photos are missing or not below a --root.")
        else:
            data = found
        repeats = query.get("repeats") or str(LABEL_REPEATS)
        if not re.fullmatch("[1-9][0-9]?", repeats):
            raise UsageError(f"repeats {repeats!r}: expected 1 to 99.")
        number = trainings.start(
            data,
            name=query.get("name") or None,
            command="label-issues",
            recipe=LABEL_RECIPE,
            options=options,
            run=run,
            repeats=int(repeats),
        )
        return JSONResponse({"place": f"/train/{number}"})

    return [Route("/labels", show), Route("/labels/start", start, methods=["POST"])]


def _with_photos(entries: Sequence[Entry], roots: Sequence[Path]) -> list[str]:
    """The names of the runs whose photos are below a root."""
    return [one.name for one in entries if one.kind == "run" and photos_of_run(one.folder, roots=roots)]
