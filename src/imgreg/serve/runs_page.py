"""What is in the models folder: the list, each report, and curves of several runs on the same axes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from imgreg.errors import ArtefactError
from imgreg.reports.page import number
from imgreg.runs.files import read_regular
from imgreg.runs.history import epochs_of_csv
from imgreg.runs.listing import Entry, list_entries
from imgreg.serve.classifiers import Classifiers
from imgreg.serve.pages import page

MAX_COMPARED = 7  # as many as there are colours
CURVES = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
# A report may come from a stranger: it is opened as a page of no origin, which can ask this server for nothing.
_REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)


def runs_page_routes(classifiers: Classifiers) -> list[Route]:
    models = classifiers.models

    async def show(_: Request) -> Response:
        entries, damaged = await run_in_threadpool(list_entries, models)
        rows = [_row(entry) for entry in reversed(entries)]
        return page("runs.html.j2", at="/runs", rows=rows, damaged=[folder.name for folder in damaged])

    async def report(request: Request) -> Response:
        try:
            data = read_regular(entry_folder(models, request.path_params["name"]) / "report.html")
        except (OSError, ArtefactError) as error:
            raise HTTPException(404, "There is no such report.") from error
        return Response(data, media_type="text/html", headers={"Content-Security-Policy": _REPORT_POLICY})

    async def compare(request: Request) -> Response:
        names = list(dict.fromkeys(request.query_params.getlist("run")))
        if not 2 <= len(names) <= MAX_COMPARED:
            raise HTTPException(400, f"found {len(names)} runs, expected 2 to {MAX_COMPARED}.")
        entries, _ = await run_in_threadpool(list_entries, models)
        known = {entry.name: entry for entry in entries if entry.summary is not None}
        if unknown := [name for name in names if name not in known]:
            raise HTTPException(404, f"no run {unknown[0]!r}.")
        chosen = [known[name] for name in names]
        return page("curves.html.j2", at="/runs", runs=chosen, raw=[_curves(entry) for entry in chosen])

    return [Route("/runs", show), Route("/runs/compare", compare), Route("/runs/{name}/report.html", report)]


def entry_folder(models: Path, name: str) -> Path:
    """A folder in the models folder, by its name. raises HTTPException"""
    folder = models / name
    if name != Path(name).name or name.startswith(".") or not folder.is_dir():
        raise HTTPException(404, f"There is no {name!r}.")
    return folder


def _row(entry: Entry) -> dict[str, Any]:
    kept, last = (entry.summary.kept, entry.summary.last) if entry.summary else (None, None)
    sorts = {
        "created": entry.created,
        "name": entry.name.lower(),
        "loss": kept.val_loss if kept else math.inf,
        "accuracy": -kept.val_accuracy if kept else math.inf,
        "gap": last.gap if last else math.inf,
    }
    has_report = (entry.folder / "report.html").is_file()
    return {"entry": entry, "sorts": sorts, "points": _points(entry.val_losses), "has_report": has_report}


def _points(values: tuple[float, ...]) -> str:
    """A small curve in a box of 100 by 30, 0 at the bottom; what is not a number is left out.

    >>> _points((2.0, 1.0)), _points((1.0,)), _points((float("nan"), 1.0, 0.5))
    ('0.0,1.0 100.0,15.0', '', '50.0,1.0 100.0,15.0')
    """
    shown = [(i, value) for i, value in enumerate(values) if math.isfinite(value)]
    if len(shown) < 2:
        return ""
    top = max(value for _, value in shown) or 1.0
    return " ".join(f"{100 * i / (len(values) - 1):.1f},{29 - 28 * value / top:.1f}" for i, value in shown)


def _curves(entry: Entry) -> dict[str, Any]:
    text = read_regular(entry.folder / "history.csv").decode("utf-8", "surrogateescape")
    epochs = epochs_of_csv(text.splitlines())
    return {"name": entry.name} | {name: [number(getattr(row, name)) for row in epochs] for name in CURVES}
