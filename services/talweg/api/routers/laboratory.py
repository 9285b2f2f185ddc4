"""Routes of the laboratory: health, status, metrics, troubles, the OpenAPI document, tokens."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, FastAPI, Path, Request, Response
from pydantic import BaseModel

from talweg import queue, validation
from talweg.api import tokens
from talweg.api.bodies import JsonBody
from talweg.api.dependencies import MAXIMUM_PAGE, MEDIA_TYPE, Here, body_of
from talweg.api.errors import refuse
from talweg.api.middleware import PUBLIC, READING, needed_scope
from talweg.api.models import BacklogView, Status, mlflow_url, view
from talweg.api.tokens import NewToken, TokenSpec, TokenView
from talweg.errors import DiskFull, TalwegError, Unreachable
from talweg.execution.planning import left_to_record, readable_size
from talweg.settings import Settings
from talweg.spec import ForkSpec, ResumeSpec, RunSpec, StudySpec
from talweg.store import LIVE, RunRow, Signs, Store
from talweg.store.engine import parse, room
from talweg_core import numerics

_REFERENCE = "#/components/schemas/{model}"
router = APIRouter(tags=["laboratory"])

METRICS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus's text format."}
}
troubles_router = APIRouter(tags=["laboratory"])

# Seconds of waiting after which it is a trouble.
_LONG = 60.0
# Free bytes below which a disk is reported.
_ROOM = 1_000_000_000
# Free bytes below which it counts as full.
_FULL = 1_000_000
tokens_router = APIRouter(prefix="/v1/tokens", tags=["tokens"])
log = structlog.get_logger("talweg.api")

TokenName = Annotated[str, Path(min_length=1, max_length=200, description="A token's name.")]


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the schemas that `dependencies.body_of` refers to and the scope that every route needs.

    The scope is in the list of the security scheme `token`: OpenAPI 3.1 allows roles there for every scheme.
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


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """Whether this process answers; needs no token."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(here: Here) -> Response:
    """Whether the database answers and has this version's schema; needs no token, so it gives no details.

    A broker that does not answer is reported, and the laboratory is still ready: work that is submitted is stored, and
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
    """The laboratory's numbers in Prometheus's text format."""
    return Response(here.metrics.text(), media_type=MEDIA_TYPE)


@router.get("/v1/status")
def status(here: Here) -> Status:
    """Versions, the queue's length, cohorts by state, busy workers, MLflow's address."""
    cohorts = here.store.cohort_counts()
    return Status(
        version=version("talweg"),
        queue_depth=here.broker.depth(),
        cohorts=cohorts,
        workers_busy=cohorts.get("leased", 0),
        mlflow_url=mlflow_url(here.settings),
        mirror=view(BacklogView, here.store.backlog()),
        facts=dict(here.store.facts()),
        numerics=numerics.fingerprint(),
    )


@router.get("/v1/openapi.json", include_in_schema=False)
def document(request: Request) -> dict[str, Any]:
    """The OpenAPI document."""
    return openapi(request.app)


class Trouble(BaseModel):
    """A problem of the laboratory in a sentence, and its remedy."""

    what: str
    remedy: str


@troubles_router.get("/v1/troubles")
def troubles(here: Here) -> list[Trouble]:
    """Every problem that was found, the worst first."""
    disk, signs = of_disk(here.settings, here.store), here.store.signs()
    found = of_broker() + of_writing(here.store) + disk + of_store(signs, here.settings, full=_is_full(here.store))
    return [Trouble(what=what, remedy=remedy) for what, remedy in found]


def of_broker() -> list[tuple[str, str]]:
    """The trouble that the broker does not answer, if so."""
    try:
        queue.depth()
    except DiskFull as error:
        return [
            (
                str(error),
                "make room where the broker keeps its file; nothing is lost, and work continues by itself",
            )
        ]
    except TalwegError as error:
        return [(str(error), "start the broker; nothing is lost, the reconciler publishes what waits")]
    return []


def of_writing(store: Store) -> list[tuple[str, str]]:
    """The trouble that the database cannot be written, if so."""
    try:
        store.ping_writing()
    except DiskFull:
        # `of_disk` reports it, with the bytes that are needed.
        return []
    except TalwegError as error:
        remedy = "end the process that holds it (an open transaction in a shell, a backup); training then continues"
        return [(f"nothing can be recorded: {error}", remedy)]
    return []


def of_disk(settings: Settings, store: Store | None = None) -> list[tuple[str, str]]:
    """The trouble that a database file's disk on this machine is nearly full, with the bytes that `store` needs."""
    if settings.database_url is None:
        return []
    found = room(parse(settings.database_url.get_secret_value()))
    if found is None or found[1] >= _ROOM:
        return []
    folder, free = found
    needed = left_to_record(live(store)) if store is not None else 0
    wanted = f"; what is queued and running will record about {readable_size(needed)} more" if needed else ""
    remedy = "make room; record replay stores less than full. Records are safe, and training continues by itself"
    return [(f"the disk that holds the records has {free / 1e6:.0f} MB left: {folder}{wanted}", remedy)]


def live(store: Store) -> Iterator[RunRow]:
    """Every run that is queued or running."""
    for state in LIVE:
        cursor = None
        while (page := store.runs(state=state, limit=MAXIMUM_PAGE, cursor=cursor)).items:
            yield from page.items
            if (cursor := page.cursor) is None:
                break


def _is_full(store: Store) -> bool:
    found = store.room()
    return found is not None and found[1] < _FULL


def of_store(signs: Signs, settings: Settings, *, full: bool = False) -> list[tuple[str, str]]:
    """Troubles of workers, reconciler and mirror, by the database; on a `full` disk none can write that it is alive."""
    found = []
    if signs.stopped is not None:
        remedy = "make room or start the database; the cohorts that were put back continue by themselves"
        found.append((f"a worker could not record: {signs.stopped}", remedy))
    if signs.reconciler is None and not full:
        found.append(
            (
                "no reconciler runs: lost messages and dead workers stay unnoticed",
                "start one: python -m talweg.execution.reconciler (talweg up does)",
            )
        )
    if signs.silent and not full:
        what = f"{signs.silent} cohorts have an expired lease: their workers do not answer"
        found.append((what, "the reconciler puts them back in the queue within seconds; if not, read its log"))
    if signs.waiting and not signs.working and not full and signs.waiting_seconds > _LONG:
        what = f"{signs.waiting} cohorts wait, the first for {signs.waiting_seconds:.0f} s, and no worker runs"
        found.append((what, "start workers: python -m talweg.execution.worker (talweg up does); read their logs"))
    if signs.failed:
        what = f"{signs.failed} runs failed, the last with: {signs.reason}"
        found.append((what, "talweg runs --state failed lists them; when the cause is removed: talweg retry RUN"))
    if settings.mlflow_url is not None and signs.unmirrored and signs.unmirrored_seconds > _LONG:
        what = f"{signs.unmirrored} runs wait for MLflow, one for {signs.unmirrored_seconds:.0f} s"
        found.append((what, f"is MLflow up at {settings.mlflow_url}? the mirror catches up by itself"))
    return found


@tokens_router.post("", status_code=201, openapi_extra=body_of(TokenSpec))
def create(here: Here, body: JsonBody, request: Request, response: Response) -> NewToken:
    """Make a token. The same request again is refused, since the name is taken: revoke it and make another."""
    spec = validation.parse(TokenSpec, body)
    limits = spec.limits.model_dump(exclude_none=True)
    token, row = tokens.create(here.store, spec.name, spec.scope, spec.expires_at, limits)
    response.headers["Location"] = "/v1/tokens"
    log.info("token created", name=row.name, scope=spec.scope, expires_at=str(row.expires_at), by=request.state.token)
    return view(NewToken, row, token=token, limits=row.limits or {})


@tokens_router.get("")
def show(here: Here) -> list[TokenView]:
    """Every token by name, including revoked ones."""
    return [view(TokenView, row, limits=row.limits or {}) for row in here.store.tokens()]


@tokens_router.delete("/{name}", status_code=204)
def revoke(here: Here, name: TokenName, request: Request) -> None:
    """End a token now: its next request is refused."""
    here.store.revoke_token(name)
    log.info("token revoked", name=name, by=request.state.token)
