"""The laboratory as a whole: health, status, what is wrong with it, its OpenAPI document; and its tokens."""

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
from talweg.api.models import Status, mlflow_url, view
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

# Seconds after which it is no longer a matter of patience.
_LONG = 60.0
# Bytes: with fewer, a database that grows is soon full.
_ROOM = 1_000_000_000
# And with fewer it is.
_FULL = 1_000_000
tokens_router = APIRouter(prefix="/v1/tokens", tags=["tokens"])
log = structlog.get_logger("talweg.api")

TokenName = Annotated[str, Path(min_length=1, max_length=200, description="A token's name.")]


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


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """This process answers; open to everyone."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(here: Here) -> Response:
    """The database answers, with the schema that this version knows; open to everyone, so it says little.

    Whether the broker answers is reported, and no reason not to be ready: what is submitted meanwhile is stored, and
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


class Trouble(BaseModel):
    """One thing that is wrong, in a sentence, and a remedy."""

    what: str
    remedy: str


@troubles_router.get("/v1/troubles")
def troubles(here: Here) -> list[Trouble]:
    """Everything that looks wrong, the gravest first; empty where all is well."""
    disk, signs = of_disk(here.settings, here.store), here.store.signs()
    found = of_broker() + of_writing(here.store) + disk + of_store(signs, here.settings, full=_is_full(here.store))
    return [Trouble(what=what, remedy=remedy) for what, remedy in found]


def of_broker() -> list[tuple[str, str]]:
    """Whether it answers."""
    try:
        queue.depth()
    except DiskFull as error:
        return [(str(error), "make room where the broker keeps its file; nothing is lost, and it goes on by itself")]
    except TalwegError as error:
        return [(str(error), "start the broker; nothing is lost meanwhile, the reconciler publishes what waits")]
    return []


def of_writing(store: Store) -> list[tuple[str, str]]:
    """Whether the database takes what is recorded."""
    try:
        store.ping_writing()
    except DiskFull:
        # `of_disk` says it, with what is needed.
        return []
    except TalwegError as error:
        remedy = (
            "end whoever else holds it (a shell with an open transaction, a backup); training waits and then goes on"
        )
        return [(f"nothing can be recorded: {error}", remedy)]
    return []


def of_disk(settings: Settings, store: Store | None = None) -> list[tuple[str, str]]:
    """Whether there is room where the database is, as far as it is a file here, and what `store` will need."""
    if settings.database_url is None:
        return []
    found = room(parse(settings.database_url.get_secret_value()))
    if found is None or found[1] >= _ROOM:
        return []
    folder, free = found
    needed = left_to_record(live(store)) if store is not None else 0
    wanted = f"; what is queued and running will record about {readable_size(needed)} more" if needed else ""
    remedy = "make room; record replay stores less than full. What was recorded is safe, and training goes on by itself"
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
    """What the database tells of those who should be at work; where its disk is `full`, none can say that it is."""
    found = []
    if signs.stopped is not None:
        remedy = "make room or bring the database back; the cohorts that were left go on by themselves"
        found.append((f"a worker could not record: {signs.stopped}", remedy))
    if signs.reconciler is None and not full:
        found.append(
            (
                "no reconciler is at work: lost messages and dead workers stay unnoticed",
                "start one: python -m talweg.execution.reconciler (talweg up does)",
            )
        )
    if signs.silent and not full:
        what = f"{signs.silent} cohorts were left by workers that are silent for more than their lease"
        found.append((what, "the reconciler takes them back within seconds; if not, look at its log"))
    if signs.waiting and not signs.working and not full and signs.waiting_seconds > _LONG:
        what = f"{signs.waiting} cohorts wait, the first for {signs.waiting_seconds:.0f} s, and no worker is at work"
        found.append((what, "start workers: python -m talweg.execution.worker (talweg up does); look at their logs"))
    if signs.failed:
        what = f"{signs.failed} runs failed, the last with: {signs.reason}"
        found.append((what, "talweg runs --state failed lists them; when the cause is removed: talweg retry RUN"))
    if settings.mlflow_url is not None and signs.unmirrored and signs.unmirrored_seconds > _LONG:
        what = f"{signs.unmirrored} runs wait for MLflow, one for {signs.unmirrored_seconds:.0f} s"
        found.append((what, f"is MLflow up at {settings.mlflow_url}? the mirror catches up by itself"))
    return found


@tokens_router.post("", status_code=201, openapi_extra=body_of(TokenSpec))
def create(here: Here, body: JsonBody, request: Request, response: Response) -> NewToken:
    """Make a token. Sent twice, the second is refused, since the name is taken: revoke it, and make another."""
    spec = validation.parse(TokenSpec, body)
    limits = spec.limits.model_dump(exclude_none=True)
    token, row = tokens.create(here.store, spec.name, spec.scope, spec.expires_at, limits)
    response.headers["Location"] = "/v1/tokens"
    log.info("token created", name=row.name, scope=spec.scope, expires_at=str(row.expires_at), by=request.state.token)
    return view(NewToken, row, token=token, limits=row.limits or {})


@tokens_router.get("")
def show(here: Here) -> list[TokenView]:
    """Every token, by name, those that are revoked too."""
    return [view(TokenView, row, limits=row.limits or {}) for row in here.store.tokens()]


@tokens_router.delete("/{name}", status_code=204)
def revoke(here: Here, name: TokenName, request: Request) -> None:
    """End a token now: its next request is refused."""
    here.store.revoke_token(name)
    log.info("token revoked", name=name, by=request.state.token)
