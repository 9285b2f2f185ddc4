"""The OpenAPI document: what FastAPI finds out by itself, and the specs, which are parsed by `talweg.spec`."""

from typing import Any

from fastapi import FastAPI

from talweg.spec import ForkSpec, ResumeSpec, RunSpec, StudySpec

_REFERENCE = "#/components/schemas/{model}"


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the schemas that `parameters.body_of` refers to and the token that every route needs."""
    document = app.openapi()
    components = document.setdefault("components", {})
    for kind in (RunSpec, StudySpec, ForkSpec, ResumeSpec):
        schema = kind.model_json_schema(ref_template=_REFERENCE)
        components["schemas"] |= schema.pop("$defs", {}) | {kind.__name__: schema}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    return document
