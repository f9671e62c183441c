"""The Open Inference Protocol, version 2, over HTTP: what KServe, Triton and MLServer clients speak.

A run is a model; photos are a tensor of BYTES, each an image file in base64.

References
----------
https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imgreg import __version__
from imgreg.api.classifier import checked_card
from imgreg.api.prediction import Prediction
from imgreg.errors import PhotoError
from imgreg.heads.store import ModelCard
from imgreg.serve.body import body_of
from imgreg.serve.classifiers import Classifiers

MAX_PHOTOS = 64  # of a request


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: list[str]


class _Output(msgspec.Struct):
    name: str


class _Request(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None
    outputs: list[_Output] | None = None


def protocol_routes(classifiers: Classifiers) -> list[Route]:
    async def server(_: Request) -> Response:
        return JSONResponse({"name": "imgreg", "version": __version__, "extensions": []})

    async def live(_: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(_: Request) -> Response:
        return JSONResponse({"ready": True})

    async def model(request: Request) -> Response:
        run = classifiers.find(request.path_params["run"])
        return JSONResponse(_metadata(run, checked_card(run)))

    async def model_ready(request: Request) -> Response:
        classifier = await classifiers.loaded(request.path_params["run"])
        return JSONResponse({"name": classifier.runs[0].name, "ready": True})

    async def infer(request: Request) -> Response:
        run = request.path_params["run"]
        with classifiers.place():
            asked = _parsed(await body_of(request))
            photos = _photos(asked.inputs)
            named = [classifiers.predict(data, name=f"photo {i}", run=run) for i, data in enumerate(photos)]
            answers = await asyncio.gather(*named, return_exceptions=True)
        for i, answer in enumerate(answers):
            if isinstance(answer, PhotoError):
                return JSONResponse({"error": f"photo {i}: {answer}"}, 422)
            if isinstance(answer, BaseException):
                raise answer
        outputs = _outputs([one for one in answers if isinstance(one, Prediction)])
        if asked.outputs:
            wanted = {one.name for one in asked.outputs}
            if unknown := wanted - {one["name"] for one in outputs}:
                raise HTTPException(400, f"outputs: {', '.join(sorted(unknown))} unknown.")
            outputs = [one for one in outputs if one["name"] in wanted]
        document = {"model_name": run, "outputs": outputs} | ({"id": asked.id} if asked.id else {})
        return Response(json.dumps(document), media_type="application/json")

    return [
        Route("/v2", server),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        Route("/v2/models/{run}", model),
        Route("/v2/models/{run}/ready", model_ready),
        Route("/v2/models/{run}/infer", infer, methods=["POST"]),
    ]


def _metadata(run: Path, card: ModelCard) -> dict[str, Any]:
    outputs = [
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP64", "shape": [-1, len(card.classes)]},
    ]
    if card.calibration is not None and card.calibration.novelty_threshold is not None:
        outputs.append({"name": "unlike_training", "datatype": "BOOL", "shape": [-1]})
    return {
        "name": run.name,
        "platform": "imgreg",
        "inputs": [{"name": "photo", "datatype": "BYTES", "shape": [-1]}],
        "outputs": outputs,
        "parameters": {"classes": list(card.classes)},
    }


def _parsed(body: bytes) -> _Request:
    try:
        return msgspec.json.decode(body, type=_Request)
    except msgspec.MsgspecError as error:
        raise HTTPException(400, f"expected an inference request in JSON: {error}") from error


def _photos(inputs: Sequence[_Tensor]) -> list[bytes]:
    if len(inputs) != 1 or inputs[0].name != "photo" or inputs[0].datatype != "BYTES":
        raise HTTPException(400, "inputs: expected one tensor, photo, of BYTES.")
    (photos,) = inputs
    if photos.shape != [len(photos.data)] or not 1 <= len(photos.data) <= MAX_PHOTOS:
        raise HTTPException(400, f"photo: expected the shape [n] and n photos, 1 to {MAX_PHOTOS}.")
    try:
        return [base64.b64decode(text, validate=True) for text in photos.data]
    except (binascii.Error, ValueError) as error:
        raise HTTPException(400, f"photo: expected image files in base64 ({error}).") from error


def _outputs(answers: Sequence[Prediction]) -> list[dict[str, Any]]:
    n = len(answers)
    n_classes = len(answers[0].probabilities or ())
    flat = [share for one in answers for share in (one.probabilities or {}).values()]
    outputs = [
        {"name": "label", "datatype": "BYTES", "shape": [n], "data": [one.label for one in answers]},
        {"name": "probabilities", "datatype": "FP64", "shape": [n, n_classes], "data": flat},
    ]
    if answers[0].unlike_training is not None:
        unlike = [one.unlike_training for one in answers]
        outputs.append({"name": "unlike_training", "datatype": "BOOL", "shape": [n], "data": unlike})
    return outputs
