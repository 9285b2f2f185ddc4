"""The laboratory as a whole: is it alive, is it ready, how does it stand, what does its API look like."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Request, Response

from talweg import queue
from talweg.api.answers import refuse
from talweg.api.context import Here
from talweg.api.document import openapi
from talweg.api.views import Status, mlflow_url
from talweg.errors import TalwegError, Unreachable
from talweg_core import numerics

router = APIRouter(tags=["laboratory"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """This process answers; open to everyone."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(here: Here) -> Response:
    """The database answers, with the schema that this version knows; open to everyone, so it says no more."""
    try:
        here.store.ping()
    except TalwegError as error:
        return refuse(Unreachable(f"not ready ({error.code})"))
    return Response('{"status":"ready"}', media_type="application/json")


@router.get("/v1/status")
def status(here: Here) -> Status:
    """Versions, what waits, who works, and where MLflow is."""
    cohorts = here.store.cohort_counts()
    return Status(
        version=version("talweg"),
        queue_depth=_waiting(),
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


def _waiting() -> int | None:
    """Messages in the broker; None where it does not answer, which is no reason to fail a status."""
    try:
        return queue.depth()
    except TalwegError:
        return None
