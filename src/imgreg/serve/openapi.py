"""The interfaces as an OpenAPI document: what programs may ask for. The pages' own requests are not in it."""

from __future__ import annotations

from typing import Any

from imgreg import __version__


def openapi_document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "imgreg serve",
            "version": __version__,
            "description": "Photos in, answers of trained runs out. No photo is kept.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            "/predict": {
                "post": {
                    "operationId": "predict",
                    "summary": "Classify a photo, as `imgreg predict --json` does.",
                    "parameters": [
                        _query("run", "A run under the models folder; by default the newest.", {"type": "string"}),
                        _query("name", "The photo's name, returned as `path`.", {"type": "string"}),
                        _query(
                            "confidence",
                            "Level of the prediction set.",
                            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                        ),
                    ],
                    "requestBody": {
                        "required": True,
                        "description": "An image file.",
                        "content": {"application/octet-stream": {}},
                    },
                    "responses": _responses("The answer.", _schema("Prediction")),
                }
            },
            "/v2": {"get": _get("serverMetadata", "Name and version.")},
            "/v2/health/live": {"get": _get("serverLive", "Whether the server answers.")},
            "/v2/health/ready": {"get": _get("serverReady", "Whether it takes photos.")},
            "/v2/models/{run}": {"get": _get("modelMetadata", "A run's input and outputs.", run=True)},
            "/v2/models/{run}/ready": {"get": _get("modelReady", "Load a run, and say that it is.", run=True)},
            "/v2/models/{run}/infer": {
                "post": {
                    "operationId": "modelInfer",
                    "summary": "Classify photos, by the Open Inference Protocol.",
                    "parameters": [_RUN],
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": _schema("InferenceRequest")}},
                    },
                    "responses": _responses("One row for each photo.", {"type": "object"}),
                }
            },
        },
        "components": {"schemas": _SCHEMAS},
    }


def _query(name: str, says: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": says, "schema": schema}


_RUN = {"name": "run", "in": "path", "required": True, "schema": {"type": "string"}}


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _get(name: str, says: str, *, run: bool = False) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": says}}
    if run:
        responses["404"] = _error("There is no such run.")
    return {"operationId": name, "summary": says, "responses": responses} | ({"parameters": [_RUN]} if run else {})


def _responses(says: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "200": {"description": says, "content": {"application/json": {"schema": schema}}},
        "400": _error("The request cannot mean anything."),
        "404": _error("There is no such run."),
        "413": _error("The request is too large."),
        "422": _error("A photo cannot be read; with the reason."),
        "503": _error("The server is busy: try again after Retry-After seconds."),
    }


def _error(says: str) -> dict[str, Any]:
    return {"description": says, "content": {"application/json": {"schema": _schema("Error")}}}


_NUMBER = {"type": "number"}
_SCHEMAS: dict[str, Any] = {
    "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
    "Prediction": {
        "type": "object",
        "required": ["path", "label", "probability", "probabilities"],
        "properties": {
            "path": {"type": "string"},
            "label": {"type": "string"},
            "probability": _NUMBER,
            "probabilities": {"type": "object", "additionalProperties": _NUMBER},
            "votes": {"type": "object", "additionalProperties": {"type": "integer"}},
            "prediction_set": {"type": "array", "items": {"type": "string"}},
            "abstained": {"type": "boolean"},
            "unlike_training": {"type": "boolean"},
            "training_distance": _NUMBER,
            "training_distance_threshold": _NUMBER,
        },
    },
    "InferenceRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "inputs": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": {
                    "type": "object",
                    "required": ["name", "datatype", "shape", "data"],
                    "properties": {
                        "name": {"const": "photo"},
                        "datatype": {"const": "BYTES"},
                        "shape": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 1},
                        "data": {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}},
                    },
                },
            },
        },
    },
}
