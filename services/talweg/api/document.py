"""The OpenAPI document: what FastAPI finds out by itself, and the specs, which are parsed by `talweg.spec`."""

from typing import Any

from fastapi import FastAPI

from talweg.api.guard import READING, needed_scope
from talweg.api.public import PUBLIC
from talweg.api.token_views import TokenSpec
from talweg.spec import ForkSpec, ResumeSpec, RunSpec, StudySpec

_REFERENCE = "#/components/schemas/{model}"


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the schemas that `parameters.body_of` refers to and the token that every route needs.

    Beside `token` stands the scope, as OpenAPI 3.1 allows it for roles of any kind.
    """
    document = app.openapi()
    components = document.setdefault("components", {})
    for kind in (RunSpec, StudySpec, ForkSpec, ResumeSpec, TokenSpec):
        schema = kind.model_json_schema(ref_template=_REFERENCE)
        components["schemas"] |= schema.pop("$defs", {}) | {kind.__name__: schema}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for path, routes in document["paths"].items():
        for method, route in routes.items():
            reading = method.upper() in READING
            route["security"] = [] if path in PUBLIC and reading else [{"token": [needed_scope(path, reading)]}]
    return document
