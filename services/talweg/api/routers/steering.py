"""Asking runs and studies to rest, to go on, to be tried again, to be mirrored anew."""

from collections.abc import Iterable

import structlog
from fastapi import APIRouter

from talweg.api.context import Here, Laboratory
from talweg.api.parameters import Reference
from talweg.api.views import RunView, StudyView, run_view, study_view
from talweg.errors import Conflict, Unreachable
from talweg.store import RunRow

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/v1", tags=["steering"])


@router.post("/runs/{run}/pause")
def pause_run(here: Here, run: Reference) -> RunView:
    """Let it rest after the step that is being made, until it is asked to go on. One that is over stays as it is."""
    row = here.store.run(run)
    here.store.request_pause([row.id])
    return _run(here, row)


@router.post("/runs/{run}/unpause")
def unpause_run(here: Here, run: Reference) -> RunView:
    """Let it go on from where it rests."""
    row = here.store.run(run)
    _publish(here, here.store.unpause([row.id]))
    return _run(here, row)


@router.post("/runs/{run}/retry")
def retry_run(here: Here, run: Reference) -> RunView:
    """Queue a failed run again: it goes on from its last commit, with all its attempts before it."""
    row = here.store.run(run)
    cohorts = here.store.retry([row.id])
    if not cohorts:
        raise Conflict(f"run {row.name}: only a failed run can be tried again, it is {here.store.run(row.id).state}")
    _publish(here, cohorts)
    return _run(here, row)


@router.post("/runs/{run}/mirror")
def mirror_run(here: Here, run: Reference) -> RunView:
    """Send all of it to MLflow again, from what is stored; sending twice changes nothing there."""
    row = here.store.run(run)
    here.store.mirror_again([row.id])
    return _run(here, row)


@router.post("/studies/{study}/pause")
def pause_study(here: Here, study: Reference) -> StudyView:
    """Let its runs rest after the step that is being made, until they are asked to go on."""
    here.store.request_pause(study=study)
    return _study(here, study)


@router.post("/studies/{study}/unpause")
def unpause_study(here: Here, study: Reference) -> StudyView:
    """Let its runs go on from where they rest."""
    _publish(here, here.store.unpause(study=study))
    return _study(here, study)


@router.post("/studies/{study}/retry")
def retry_study(here: Here, study: Reference) -> StudyView:
    """Queue its failed runs again, each from its last commit; the others stay as they are."""
    _publish(here, here.store.retry(study=study))
    return _study(here, study)


@router.post("/studies/{study}/mirror")
def mirror_study(here: Here, study: Reference) -> StudyView:
    """Send all of it to MLflow again, from what is stored; sending twice changes nothing there."""
    here.store.mirror_again(study=study)
    return _study(here, study)


def _publish(here: Laboratory, cohort_ids: Iterable[str]) -> None:
    """As far as the broker takes it; the reconciler does the rest."""
    published: list[str] = []
    try:
        for cohort_id in cohort_ids:
            here.publish(cohort_id)
            published.append(cohort_id)
    except Unreachable as error:
        log.warning("not published; the reconciler will", reason=str(error))
    here.store.mark_published(published)


def _run(here: Laboratory, row: RunRow) -> RunView:
    return run_view(here.store.run(row.id), here.settings)


def _study(here: Laboratory, study: str) -> StudyView:
    return study_view(here.store.study(study), here.settings)
