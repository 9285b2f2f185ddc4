"""Runs: hand one in, find it, cancel it."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from talweg.api.body import JsonBody
from talweg.api.context import Here
from talweg.api.parameters import Cursor, IdempotencyKey, Limit, Reference, State, body_of
from talweg.api.views import RunPage, RunView, run_view
from talweg.api.waiting import Reason, reason_of
from talweg.execution import branching, submission
from talweg.spec import ForkSpec, ResumeSpec, RunSpec, parse_fork, parse_resume, parse_run

router = APIRouter(prefix="/v1/runs", tags=["runs"])


@router.post("", status_code=201, openapi_extra=body_of(RunSpec))
def submit(here: Here, body: JsonBody, response: Response, idempotency_key: IdempotencyKey = None) -> RunView:
    """Hand in one run; it is stored before this answers, and trained when a worker is free."""
    row = submission.submit_run(
        here.store, parse_run(body), settings=here.settings, idempotency_key=idempotency_key, publish=here.publish
    )
    response.headers["Location"] = f"/v1/runs/{row.id}"
    return run_view(row, here.settings)


@router.get("")
def page(
    here: Here,
    study: Annotated[str | None, Query(max_length=200, description="Of this study: an id or a name.")] = None,
    state: State | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> RunPage:
    """Runs, newest first."""
    found = here.store.runs(study=study, state=state, limit=limit, cursor=cursor)
    return RunPage(items=[run_view(row, here.settings) for row in found.items], next=found.cursor)


@router.get("/{run}")
def show(here: Here, run: Reference) -> RunView:
    """One run as it stands."""
    return run_view(here.store.run(run), here.settings)


@router.get("/{run}/waiting")
def waiting(here: Here, run: Reference) -> Reason | None:
    """Why it does not go on; null where a worker is at it, or it is over."""
    return reason_of(here, here.store.waits(here.store.run(run).id))


@router.post("/{run}/fork", status_code=201, openapi_extra=body_of(ForkSpec))
def fork(here: Here, run: Reference, body: JsonBody, idempotency_key: IdempotencyKey = None) -> RunView:
    """A new run that shares this one's steps before `step`, and goes on with what the body changes."""
    asked, row = parse_fork(body), here.store.run(run)
    made = branching.fork_run(here.store, row, asked, idempotency_key=idempotency_key, publish=here.publish)
    return run_view(made, here.settings)


@router.post("/{run}/resume", openapi_extra=body_of(ResumeSpec))
def resume(here: Here, run: Reference, body: JsonBody) -> RunView:
    """Let an ended run go on, as if it had been asked for more steps from the start."""
    asked, row = parse_resume(body), here.store.run(run)
    gone_on = branching.resume_run(here.store, row, asked.steps, max_seconds=asked.max_seconds, publish=here.publish)
    return run_view(gone_on, here.settings)


@router.post("/{run}/cancel")
def cancel(here: Here, run: Reference) -> RunView:
    """Stop it after the step that is being made; what is recorded stays. One that is over stays as it is."""
    row = here.store.run(run)
    here.store.request_cancel(run_ids=[row.id])
    return run_view(here.store.run(row.id), here.settings)
