"""Routes of runs: submit, find, fork, resume, cancel, events; pause, unpause, retry and mirror (studies too)."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any, Final, Literal

import structlog
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from talweg.api.bodies import JsonBody
from talweg.api.dependencies import Cursor, Here, IdempotencyKey, Laboratory, Limit, Reference, State, body_of
from talweg.api.models import RunPage, RunView, StudyView, run_view, study_view
from talweg.api.waiting import Reason, reason_of
from talweg.errors import Conflict, LimitReached, TalwegError, Unreachable
from talweg.execution import branching, submission
from talweg.spec import ForkSpec, ResumeSpec, RunSpec, parse_fork, parse_resume, parse_run
from talweg.store import RunRow

router = APIRouter(prefix="/v1/runs", tags=["runs"])
events_router = APIRouter(prefix="/v1/runs/{run}", tags=["runs"])

MEDIA_TYPE: Final = "text/event-stream"
EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
        "description": "Events `progress` (step, steps, cost, state); the last event of a run that has ended is `end`.",
    }
}
# Seconds between two reads of the run, and between two keep-alive comments.
READ_EVERY: Final = 0.25
KEEP_ALIVE_EVERY: Final = 15.0
# Maximum seconds of one stream; the reader asks again, and its token is checked again.
LONGEST: Final = 600.0
# At once: each reads the database four times a second.
MAXIMUM_READERS: Final = 64
_readers: Final = threading.BoundedSemaphore(MAXIMUM_READERS)
log = structlog.get_logger(__name__)

steering_router = APIRouter(prefix="/v1", tags=["steering"])


@router.post("", status_code=201, openapi_extra=body_of(RunSpec))
def submit(here: Here, body: JsonBody, response: Response, idempotency_key: IdempotencyKey = None) -> RunView:
    """Submit one run. It is stored before the answer, and trained when a worker is free."""
    row = submission.submit_run(
        here.store, parse_run(body), settings=here.settings, idempotency_key=idempotency_key, publish=here.publish
    )
    response.headers["Location"] = f"/v1/runs/{row.id}"
    return run_view(row, here.settings)


@router.get("")
def page(
    here: Here,
    study: Annotated[str | None, Query(max_length=200, description="Only runs of this study: an id or a name.")] = None,
    state: State | None = None,
    order: Literal["newest", "oldest"] = "newest",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> RunPage:
    """Runs, newest first, or oldest first: the order of a study's spec."""
    found = here.store.runs(study=study, state=state, limit=limit, cursor=cursor, oldest=order == "oldest")
    return RunPage(items=[run_view(row, here.settings) for row in found.items], next=found.cursor)


@router.get("/{run}")
def show(here: Here, run: Reference) -> RunView:
    """One run."""
    return run_view(here.store.run(run), here.settings)


@router.get("/{run}/waiting")
def waiting(here: Here, run: Reference) -> Reason | None:
    """Why the run waits; null if a worker trains it or it has ended."""
    return reason_of(here, here.store.waits(here.store.run(run).id))


@router.post("/{run}/fork", status_code=201, openapi_extra=body_of(ForkSpec))
def fork(here: Here, run: Reference, body: JsonBody, idempotency_key: IdempotencyKey = None) -> RunView:
    """Make a run that shares this one's steps before `step`, and continues with the changes in the body."""
    spec, row = parse_fork(body), here.store.run(run)
    made = branching.fork_run(
        here.store, row, spec, idempotency_key=idempotency_key, publish=here.publish, settings=here.settings
    )
    return run_view(made, here.settings)


@router.post("/{run}/resume", openapi_extra=body_of(ResumeSpec))
def resume(here: Here, run: Reference, body: JsonBody) -> RunView:
    """Continue an ended run, as if it had been submitted with more steps."""
    spec, row = parse_resume(body), here.store.run(run)
    resumed = branching.resume_run(here.store, row, spec.steps, max_seconds=spec.max_seconds, publish=here.publish)
    return run_view(resumed, here.settings)


@router.post("/{run}/cancel")
def cancel(here: Here, run: Reference) -> RunView:
    """Stop the run after the current step, and keep its record. A run that has ended does not change."""
    row = here.store.run(run)
    here.store.request_cancel(run_ids=[row.id])
    return _run_view(here, row)


@events_router.get("/events", responses=EVENTS, response_class=StreamingResponse)
async def events(here: Here, run: Reference) -> StreamingResponse:
    """Send the run's progress at every change, until it ends or ten minutes have passed; then ask again."""
    row = await run_sync(here.store.run, run)
    if not _readers.acquire(blocking=False):
        raise LimitReached(f"events: at most {MAXIMUM_READERS} readers at once, got one more; read the run instead")
    return StreamingResponse(_events(here, row), media_type=MEDIA_TYPE)


async def _events(here: Laboratory, row: RunRow) -> AsyncIterator[str]:
    try:
        started = last_sent = time.monotonic()
        previous = ""
        yield "retry: 1000\n\n"
        while True:
            now = time.monotonic()
            progress = _progress(row)
            if progress != previous:
                previous, last_sent = progress, now
                yield f"event: progress\ndata: {progress}\n\n"
            elif now - last_sent > KEEP_ALIVE_EVERY:
                last_sent = now
                yield ": alive\n\n"
            if row.ended:
                yield f"event: end\ndata: {progress}\n\n"
                return
            if now - started > LONGEST:
                return
            await asyncio.sleep(READ_EVERY)
            try:
                row = await run_sync(here.store.run, row.id)
            except TalwegError:
                # The answer has started and can only end; the reader gets the error when it asks again.
                return
    finally:
        _readers.release()


def _progress(row: RunRow) -> str:
    return json.dumps(
        {
            "id": row.id,
            "state": row.state,
            "stop_reason": row.stop_reason,
            "step": row.step,
            "steps": row.total_steps,
            "cost": row.cost,
            "best_cost": row.best_cost,
        },
        allow_nan=False,
    )


@steering_router.post("/runs/{run}/pause")
def pause_run(here: Here, run: Reference) -> RunView:
    """Pause the run after the current step, until it is unpaused. A run that has ended does not change."""
    row = here.store.run(run)
    here.store.request_pause([row.id])
    return _run_view(here, row)


@steering_router.post("/runs/{run}/unpause")
def unpause_run(here: Here, run: Reference) -> RunView:
    """Continue a paused run from where it was paused."""
    row = here.store.run(run)
    _publish(here, here.store.unpause([row.id]))
    return _run_view(here, row)


@steering_router.post("/runs/{run}/retry")
def retry_run(here: Here, run: Reference) -> RunView:
    """Queue a failed run again: it continues from its last commit, and its attempts count from zero."""
    row = here.store.run(run)
    cohorts = here.store.retry([row.id])
    if not cohorts:
        raise Conflict(f"run {row.name}: only a failed run can be retried, it is {here.store.run(row.id).state}")
    _publish(here, cohorts)
    return _run_view(here, row)


@steering_router.post("/runs/{run}/mirror")
def mirror_run(here: Here, run: Reference) -> RunView:
    """Send everything stored to MLflow again; sending twice changes nothing there."""
    row = here.store.run(run)
    here.store.mirror_again([row.id])
    return _run_view(here, row)


@steering_router.post("/studies/{study}/pause")
def pause_study(here: Here, study: Reference) -> StudyView:
    """Pause its runs after the current step, until they are unpaused."""
    here.store.request_pause(study=study)
    return _study_view(here, study)


@steering_router.post("/studies/{study}/unpause")
def unpause_study(here: Here, study: Reference) -> StudyView:
    """Continue its paused runs from where they were paused."""
    _publish(here, here.store.unpause(study=study))
    return _study_view(here, study)


@steering_router.post("/studies/{study}/retry")
def retry_study(here: Here, study: Reference) -> StudyView:
    """Queue its failed runs again, each from its last commit; the others do not change."""
    _publish(here, here.store.retry(study=study))
    return _study_view(here, study)


@steering_router.post("/studies/{study}/mirror")
def mirror_study(here: Here, study: Reference) -> StudyView:
    """Send everything stored to MLflow again; sending twice changes nothing there."""
    here.store.mirror_again(study=study)
    return _study_view(here, study)


def _publish(here: Laboratory, cohort_ids: Iterable[str]) -> None:
    """Publish as many as the broker takes; the reconciler publishes the rest."""
    published: list[str] = []
    try:
        for cohort_id in cohort_ids:
            here.publish(cohort_id)
            published.append(cohort_id)
    except Unreachable as error:
        log.warning("not published; the reconciler will", reason=str(error))
    here.store.mark_published(published)


def _run_view(here: Laboratory, row: RunRow) -> RunView:
    return run_view(here.store.run(row.id), here.settings)


def _study_view(here: Laboratory, study: str) -> StudyView:
    return study_view(here.store.study(study), here.settings)
