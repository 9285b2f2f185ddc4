"""The catalogue of problems, optimizers and schedules; and datasets, which users upload."""

from datetime import datetime
from functools import cache, partial
from typing import Annotated, Any

import structlog
from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from talweg.api.bodies import spooled
from talweg.api.dependencies import Here, Reference
from talweg.api.models import CatalogueEntry, OptimizerEntry, ScheduleEntry, view
from talweg.datasets.preparing import Format, Kind, Options
from talweg.datasets.sources import parse
from talweg.errors import Conflict, InvalidSpec
from talweg.rules import kind_or_none
from talweg.store import DatasetRow
from talweg.validation import DATASET_NAME
from talweg_core import optimizers, problems, schedules
from talweg_core.optimizers.description import describe
from talweg_core.problems import bundled
from talweg_core.problems.description import purpose, settings

router = APIRouter(prefix="/v1", tags=["catalogue"])
datasets_router = APIRouter(prefix="/v1/datasets", tags=["datasets"])
log = structlog.get_logger("talweg.api")

DatasetName = Annotated[
    str, Path(min_length=1, max_length=200, pattern=DATASET_NAME, description="The name for the dataset.")
]
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/problems")
def list_problems() -> list[CatalogueEntry]:
    """Every problem that has a name."""
    return _problems()


@router.get("/optimizers")
def list_optimizers(here: Here) -> list[OptimizerEntry]:
    """Every optimizer with its hyperparameters, formula, state, evaluations and paper; users' own ones are the last."""
    own = (kind_or_none(name) for name in here.store.rule_names())
    return [*_optimizers(), *(OptimizerEntry.model_validate(describe(kind).plain()) for kind in own if kind)]


@router.get("/schedules")
def list_schedules() -> list[ScheduleEntry]:
    """Every schedule of the learning rate."""
    return _schedules()


# Searching for plug-ins is slow, and what is installed does not change while this process runs.
@cache
def _problems() -> list[CatalogueEntry]:
    return [
        CatalogueEntry(name=name, description=purpose(maker), settings=settings(maker))
        for name, maker in sorted(problems.catalogue().items())
    ]


@cache
def _optimizers() -> list[OptimizerEntry]:
    return [OptimizerEntry.model_validate(one.plain()) for one in optimizers.catalogue().descriptions()]


@cache
def _schedules() -> list[ScheduleEntry]:
    return [ScheduleEntry.model_validate(one.plain()) for one in schedules.catalogue().descriptions()]


class DatasetView(BaseModel):
    """A dataset: the shapes of its examples, and the meaning of its targets.

    Attributes:
        kind: "labels" if targets are classes (k stands for `classes[k]`), "values" if they are numbers.
        columns: The names of the inputs, if they came from a table.
    """

    name: str
    digest: str
    kind: str
    rows: int
    inputs: list[int]
    targets: list[int]
    classes: list[str | int | float | bool] | None
    columns: list[str] | None
    target: str | None
    standardise: bool
    size: int
    created_at: datetime


@datasets_router.put("/{name}", status_code=201, openapi_extra=BODY)
async def upload(
    here: Here,
    name: DatasetName,
    request: Request,
    response: Response,
    form: Annotated[Format, Query(alias="format", description="What the body is.")],
    target: Annotated[str | None, Query(min_length=1, max_length=200, description="The column to predict.")] = None,
    kind: Annotated[Kind, Query(description="What targets are.")] = "auto",
    standardise: Annotated[bool, Query(description="Scale each input column.")] = True,
) -> DatasetView:
    """Store a dataset under a name; the same dataset again changes nothing."""
    settings = here.settings
    if name in bundled.NAMES:
        raise Conflict(f"dataset {name}: must not be the name of a dataset that comes with Talweg; choose another")
    if target is not None and not target.isprintable():
        raise InvalidSpec(f"target: must be printable, got {target[:80]!r}")
    options = Options(form, target, kind, standardise, settings.upload_bytes)
    async with spooled(request) as file:
        parsed = await run_sync(parse, file, options, settings.upload_seconds)
    add = partial(here.store.add_dataset, name, parsed.digest, parsed.kind, parsed.shape, parsed.size, parsed.payload)
    row = await run_sync(add)
    response.headers["Location"] = f"/v1/datasets/{row.digest}"
    log.info("dataset kept", name=row.name, digest=row.digest, size=row.size, by=request.state.token)
    return _view(row)


@datasets_router.get("")
def show_all(here: Here) -> list[DatasetView]:
    """Every uploaded dataset, by name."""
    return [_view(row) for row in here.store.datasets()]


@datasets_router.get("/{dataset}")
def show(here: Here, dataset: Reference) -> DatasetView:
    """One dataset, by digest or name."""
    return _view(here.store.dataset(dataset))


def _view(row: DatasetRow) -> DatasetView:
    return view(DatasetView, row, rows=row.shape["inputs"][0], **row.shape)
