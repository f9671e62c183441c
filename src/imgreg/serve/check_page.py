"""Problems of a photo folder, as `imgreg check` finds them, with the photos themselves."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imgreg.api.check import Check, check
from imgreg.config import Base
from imgreg.data import decode as decoding
from imgreg.data.issues import Finding
from imgreg.errors import BusyError, ImgregError, PhotoError
from imgreg.progress import Watcher
from imgreg.reports.pictures import jpeg
from imgreg.serve.classifiers import Classifiers
from imgreg.serve.folders import find_folder, listed_folders, named_folders
from imgreg.serve.pages import page
from imgreg.session import Session

_KEPT = 4  # results
_GROUPS = 24  # of a finding's files, shown
_PICTURE_PX = 320


@dataclass
class _Checking:
    """One check, at work or finished."""

    data: Path
    stage: str = ""
    done: int = 0
    total: int = 0
    found: Check | None = None
    error: str = ""
    paths: dict[str, Path] = field(default_factory=dict)  # by the photo's SHA-256
    hashes: dict[str, str] = field(default_factory=dict)  # by its name in the findings

    def run(self) -> None:
        try:
            # The bundled weights confirm near-duplicates well enough, and need no network.
            found = check(self.data, base=Base(weights="starter"), session=Session(watcher=Watcher(step=self._step)))
        except ImgregError as error:
            self.error = str(error)
        except Exception as error:  # noqa: BLE001 - shown on the page, which would else wait for ever
            self.error = f"{type(error).__name__}: {error}"
        else:
            self.paths = {photo.sha256: photo.path for photo in found.index.photos}
            self.hashes = {found.index.relative(photo): photo.sha256 for photo in found.index.photos}
            self.found = found

    def _step(self, stage: str, done: int, total: int, _: str) -> None:
        self.stage, self.done, self.total = stage, done, total

    @property
    def is_running(self) -> bool:
        return self.found is None and not self.error


def check_page_routes(classifiers: Classifiers, *, roots: Sequence[Path]) -> list[Route]:
    checks: OrderedDict[str, _Checking] = OrderedDict()

    async def show(_: Request) -> Response:
        folders = named_folders(await run_in_threadpool(listed_folders, roots), roots=roots)
        return page("check.html.j2", at="/check", folders=folders, roots=roots)

    async def start(request: Request) -> Response:
        data = find_folder(request.query_params.get("folder", ""), roots=roots)
        if any(one.is_running for one in checks.values()):
            raise BusyError("Another folder is being checked. Wait until it is done.")
        number = secrets.token_hex(8)
        checks[number] = _Checking(data)
        while len(checks) > _KEPT:
            checks.popitem(last=False)
        Thread(target=checks[number].run, daemon=True).start()
        return JSONResponse({"place": f"/check/{number}"})

    async def result(request: Request) -> Response:
        one = _find(request)
        groups = {} if one.found is None else {found.code: _groups(found, one) for found in one.found.findings}
        place = request.url.path
        return page("check_result.html.j2", at="/check", data=one.data.name, check=one, groups=groups, place=place)

    async def state(request: Request) -> Response:
        one = _find(request)
        return JSONResponse({"running": one.is_running, "stage": one.stage, "done": one.done, "total": one.total})

    async def picture(request: Request) -> Response:
        sha256 = request.path_params["sha256"]
        path = _find(request).paths.get(sha256)
        if path is None:
            raise HTTPException(404)
        try:
            data = await asyncio.to_thread(decoding.read_bytes, path)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise HTTPException(404, "The photo has changed.")
            pixels = await classifiers.decoded(partial(decoding.picture, longest_px=_PICTURE_PX), data)
        except PhotoError as error:
            raise HTTPException(404, str(error)) from error
        return Response(await asyncio.to_thread(jpeg, pixels), media_type="image/jpeg")

    def _find(request: Request) -> _Checking:
        one = checks.get(request.path_params["number"])
        if one is None:
            raise HTTPException(404, "This check is no longer available. Start it again.")
        return one

    return [
        Route("/check", show),
        Route("/check/start", start, methods=["POST"]),
        Route("/check/{number}", result),
        Route("/check/{number}/state", state),
        Route("/check/{number}/{sha256}.jpg", picture),
    ]


def _groups(found: Finding, one: _Checking) -> list[dict[str, Any]]:
    """The first files of a finding: copies together, each with its picture's hash where it can be read."""
    details = found.details or ("",) * len(found.files)
    return [
        {"files": [(path, one.hashes.get(path)) for path in group], "detail": detail}
        for group, detail in zip(found.files[:_GROUPS], details, strict=False)
    ]
