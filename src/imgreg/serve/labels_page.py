"""Doubtful labels: a label check is started, what it found is shown, decisions are saved beside it as a manifest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imgreg.api.label_issues import SHOWN
from imgreg.api.label_review import FIXES, LabelReview, read_label_review, save_decisions
from imgreg.config import LABEL_FOLDS, LABEL_RECIPE, LABEL_REPEATS
from imgreg.errors import ArtefactError, UsageError
from imgreg.recipes.settings import build_settings
from imgreg.runs.files import read_regular
from imgreg.runs.listing import Entry, list_entries
from imgreg.serve.body import body_of
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
        asked = {
            "command": "label-issues",
            "recipe": LABEL_RECIPE,
            "options": options,
            "run": run,
            "repeats": int(repeats),
        }
        number = trainings.start(data, name=query.get("name") or None, **asked)
        return JSONResponse({"place": f"/train/{number}"})

    async def review(request: Request) -> Response:
        found = await run_in_threadpool(_review, request)
        rows = (found.doubtful or found.rows)[:SHOWN]
        cards = [
            {"photo": found.hashes[row.photo], "decision": found.decisions.get(found.hashes[row.photo])} for row in rows
        ]
        place = request.url.path
        return page(
            "labels.html.j2",
            at="/labels",
            rows=rows,
            paths=[found.paths[row.photo] for row in rows],
            pictures={row.photo: f"{place}/{found.hashes[row.photo]}.jpg" for row in rows},
            answer=found.answer,
            notes=found.notes,
            n_photos=len(found.rows),
            command=found.command,
            fixes=str(found.folder / FIXES),
            raw={"cards": cards, "saveTo": f"{place}/decisions"},
        )

    async def picture(request: Request) -> Response:
        sha256 = request.path_params["sha256"]
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise HTTPException(404)
        try:
            data = read_regular(_folder(request) / "pictures" / f"{sha256}.jpg")
        except (OSError, ArtefactError) as error:
            raise HTTPException(404, "There is no such picture.") from error
        return Response(data, media_type="image/jpeg")

    async def decide(request: Request) -> Response:
        try:
            decisions = msgspec.json.decode(await body_of(request), type=dict[str, str | None])
        except msgspec.MsgspecError as error:
            raise HTTPException(400, f"expected photos' hashes with decisions, in JSON: {error}") from error
        found = await run_in_threadpool(_review, request)
        after = {photo: word for photo, word in {**found.decisions, **decisions}.items() if word is not None}
        written = await run_in_threadpool(save_decisions, found, after)
        return JSONResponse({"fixes": str(written), "n_decided": len(after)})

    def _folder(request: Request) -> Path:
        folder = entry_folder(models, request.path_params["name"])
        if not (folder / "label_issues.json").is_file():
            raise HTTPException(404, f"{folder.name} is no label check.")
        return folder

    def _review(request: Request) -> LabelReview:
        return read_label_review(_folder(request))

    return [
        Route("/labels", show),
        Route("/labels/start", start, methods=["POST"]),
        Route("/labels/{name}", review),
        Route("/labels/{name}/{sha256}.jpg", picture),
        Route("/labels/{name}/decisions", decide, methods=["POST"]),
    ]


def _with_photos(entries: Sequence[Entry], roots: Sequence[Path]) -> list[str]:
    """The names of the runs whose photos are below a root."""
    return [one.name for one in entries if one.kind == "run" and photos_of_run(one.folder, roots=roots)]
