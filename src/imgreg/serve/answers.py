"""POST /predict: a photo as the body, and the JSON of `imgreg predict --json`."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imgreg.api.prediction import Prediction, prediction_document
from imgreg.errors import PhotoError, UsageError
from imgreg.serve.body import body_of
from imgreg.serve.classifiers import Classifiers


def answer_routes(classifiers: Classifiers) -> list[Route]:
    async def predict(request: Request) -> Response:
        query = request.query_params
        with classifiers.place():
            data = await body_of(request)
            name = query.get("name", "photo")
            try:
                answer = await classifiers.predict(
                    data, name=name, run=query.get("run"), confidence=_confidence(query.get("confidence"))
                )
            except PhotoError as error:
                return JSONResponse({"path": name, "error": str(error), "code": error.code}, 422)
        return Response(document_line(answer), media_type="application/json")

    return [Route("/predict", predict, methods=["POST"])]


def document_line(answer: Prediction) -> str:
    """As `imgreg predict --json` prints it."""
    return json.dumps(prediction_document(answer)) + "\n"


def _confidence(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError as error:
        raise UsageError(f"confidence={text}: expected a value between 0 and 1, exclusive.") from error
