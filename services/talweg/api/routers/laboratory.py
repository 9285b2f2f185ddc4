"""The laboratory as a whole: is it alive, is it ready, how does it stand, what does its API look like."""

import json
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from talweg.api.answers import refuse
from talweg.api.context import Here
from talweg.api.document import openapi
from talweg.api.metrics import MEDIA_TYPE
from talweg.api.views import Status, mlflow_url
from talweg.errors import TalwegError, Unreachable
from talweg_core import numerics

router = APIRouter(tags=["laboratory"])

METRICS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus's text format."}
}


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """This process answers; open to everyone."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(here: Here) -> Response:
    """The database answers, with the schema that this version knows; open to everyone, so it says little.

    Whether the broker answers is told, and no reason not to be ready: what is handed in meanwhile is stored, and
    published later.
    """
    try:
        here.store.check()
    except TalwegError as error:
        return refuse(Unreachable(f"not ready ({error.code})"))
    broker = "answers" if here.broker.answers() else "away"
    body = {"status": "ready", "database": "answers", "migrations": "current", "broker": broker}
    return Response(json.dumps(body), media_type="application/json")


@router.get("/metrics", responses=METRICS, response_class=Response)
def metrics(here: Here) -> Response:
    """How the laboratory stands, as Prometheus reads it; its token needs the scope `read`."""
    return Response(here.metrics.text(), media_type=MEDIA_TYPE)


@router.get("/v1/status")
def status(here: Here) -> Status:
    """Versions, what waits, who works, and where MLflow is."""
    cohorts = here.store.cohort_counts()
    return Status(
        version=version("talweg"),
        queue_depth=here.broker.depth(),
        cohorts=cohorts,
        workers_busy=cohorts.get("leased", 0),
        mlflow_url=mlflow_url(here.settings),
        facts=dict(here.store.facts()),
        numerics=numerics.fingerprint(),
    )


@router.get("/v1/openapi.json", include_in_schema=False)
def document(request: Request) -> dict[str, Any]:
    """The OpenAPI document."""
    return openapi(request.app)
