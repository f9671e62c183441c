"""One label check: what it found is shown, and decisions are saved beside it as a manifest."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imgreg.api.label_issues import SHOWN
from imgreg.api.label_review import FIXES, LabelReview, read_label_review, save_decisions
from imgreg.errors import ArtefactError
from imgreg.runs.files import read_regular
from imgreg.serve.body import body_of
from imgreg.serve.pages import page
from imgreg.serve.runs_page import entry_folder


def review_page_routes(models: Path) -> list[Route]:
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
            findings=found.findings,
            n_photos=len(found.rows),
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
        Route("/labels/{name}", review),
        Route("/labels/{name}/{sha256}.jpg", picture),
        Route("/labels/{name}/decisions", decide, methods=["POST"]),
    ]
