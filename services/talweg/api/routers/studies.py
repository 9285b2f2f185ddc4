"""Routes of studies: submit, find, cancel, costs, ranking, tables, figure, report."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from talweg.api import bodies
from talweg.api.bodies import NPY, JsonBody, npy
from talweg.api.dependencies import Cursor, Here, IdempotencyKey, Limit, Reference, body_of
from talweg.api.models import StudyPage, StudyView, study_view
from talweg.api.rankings import Name, PlanView, RankingView, TableView, plan_view, ranking_view, table_view
from talweg.api.waiting import Reason, reason_of
from talweg.comparison.baselines import baselines_of
from talweg.comparison.from_store import comparison_of
from talweg.comparison.seeds import notes_at_submission
from talweg.execution import submission
from talweg.spec import StudySpec, parse_study
from talweg.store import StudyRow
from talweg.web.report import paths_of, study_markdown, study_picture, study_report

router = APIRouter(prefix="/v1/studies", tags=["studies"])

Place = Annotated[int, Query(ge=0, lt=2**31, description="The position of a run in the study.")]

PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}, "image/svg+xml": {}}, "description": "The cost curves."}
}
TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/markdown": {}}, "description": "The report."}}
PAGE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {}}, "description": "The report."}}


@router.post("", status_code=201, openapi_extra=body_of(StudySpec))
def submit(here: Here, body: JsonBody, idempotency_key: IdempotencyKey = None) -> StudyView:
    """Submit a study. All its runs are stored before the answer."""
    row = submission.submit_study(
        here.store, parse_study(body), settings=here.settings, idempotency_key=idempotency_key, publish=here.publish
    )
    return _with_notes(row, here)


@router.get("")
def page(here: Here, limit: Limit = 50, cursor: Cursor = None) -> StudyPage:
    """Studies, newest first."""
    found = here.store.studies(limit=limit, cursor=cursor)
    return StudyPage(items=[study_view(row, here.settings) for row in found.items], next=found.cursor)


@router.get("/{study}")
def show(here: Here, study: Reference) -> StudyView:
    """One study."""
    return _with_notes(here.store.study(study), here)


def _with_notes(row: StudyRow, here: Here) -> StudyView:
    notes = notes_at_submission(StudySpec.model_validate(row.spec))
    return study_view(row, here.settings).model_copy(update={"notes": notes})


@router.get("/{study}/waiting")
def waiting(here: Here, study: Reference) -> Reason | None:
    """Why the study waits; null if a worker trains one of its runs, or all have ended."""
    row = here.store.study(study)
    return reason_of(here, here.store.waits(study=row.id), more=row.open)


@router.post("/{study}/cancel")
def cancel(here: Here, study: Reference) -> StudyView:
    """Stop its runs after the current step, and keep their records."""
    row = here.store.study(study)
    here.store.request_cancel(study=row.id)
    return study_view(here.store.study(row.id), here.settings)


@router.get("/{study}/ranking")
def ranking(here: Here, study: Reference) -> RankingView:
    """The optimizer settings, best first, with medians and ranges over seeds."""
    return ranking_view(here.store, here.store.study(study))


@router.get("/{study}/costs", responses=NPY, response_class=StreamingResponse)
def costs(here: Here, study: Reference, start: Place = 0, stop: Place | None = None) -> StreamingResponse:
    """(runs, steps) float64: the costs of its runs, as many as one answer holds; NaN after a run's last step."""
    row = here.store.study(study)
    return npy(here.store.costs_table(row.id, start, row.runs if stop is None else stop, bodies.PAGE // 8))


@router.get("/{study}/plan")
def seeds_plan(here: Here, study: Reference, difference: float) -> PlanView:
    """How many seeds find a difference (0.1: of 10 % in the final cost), from the spread of this study's runs."""
    return plan_view(here.store, here.store.study(study), difference)


@router.get("/{study}/figure.{kind}", responses=PICTURE, response_class=Response)
def figure(here: Here, study: Reference, kind: Literal["png", "svg"]) -> Response:
    """The cost curves."""
    row = here.store.study(study)
    drawn = study_picture(row, comparison_of(here.store, row), kind)
    return Response(drawn, media_type="image/png" if kind == "png" else "image/svg+xml")


@router.get("/{study}/tables/{name}")
def table(here: Here, study: Reference, name: Name) -> TableView:
    """Standings, differences, performance profile, aggregate scores or learning-rate sensitivity, with intervals."""
    return table_view(here.store, here.store.study(study), name)


@router.get("/{study}/report.md", responses=TEXT, response_class=Response)
def report_markdown(here: Here, study: Reference) -> Response:
    """The report as Markdown, without pictures."""
    row = here.store.study(study)
    found = comparison_of(here.store, row)
    return Response(study_markdown(row, found, baselines_of(here.store, found.spec)), media_type="text/markdown")


@router.get("/{study}/report.html", responses=PAGE, response_class=Response)
def report_page(here: Here, study: Reference) -> Response:
    """The report: one HTML file that needs no other file."""
    row = here.store.study(study)
    found = comparison_of(here.store, row)
    baselines = baselines_of(here.store, found.spec)
    return Response(study_report(row, found, paths_of(here.store, found), baselines), media_type="text/html")
