"""Datasets: upload one, list them, see what one is."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any

import structlog
from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from talweg.api.bodies import spooled
from talweg.api.dependencies import Here, Reference
from talweg.datasets.preparing import Format, Kind, Options
from talweg.datasets.reading import parse
from talweg.errors import Conflict, InvalidSpec
from talweg.parsing import DATASET_NAME
from talweg.store import DatasetRow
from talweg_core.problems import bundled

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])
log = structlog.get_logger("talweg.api")

DatasetName = Annotated[str, Path(min_length=1, max_length=200, pattern=DATASET_NAME, description="A name to be.")]
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class DatasetView(BaseModel):
    """A dataset: what its examples look like, and what its targets mean.

    Attributes:
        kind: "labels" where targets are classes, whose k-th is `classes[k]`; "values" where they are numbers.
        columns: The names of the inputs, where they came from a table.
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


@router.put("/{name}", status_code=201, openapi_extra=BODY)
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
    """Keep a dataset under a name; the same again changes nothing."""
    settings = here.settings
    if name in bundled.NAMES:
        raise Conflict(f"dataset {name}: the name stands for a dataset that comes with Talweg")
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


@router.get("")
def show_all(here: Here) -> list[DatasetView]:
    """Every uploaded dataset, by name."""
    return [_view(row) for row in here.store.datasets()]


@router.get("/{dataset}")
def show(here: Here, dataset: Reference) -> DatasetView:
    """One dataset, by digest or name."""
    return _view(here.store.dataset(dataset))


def _view(row: DatasetRow) -> DatasetView:
    about = row.shape
    return DatasetView(
        name=row.name,
        digest=row.digest,
        kind=row.kind,
        rows=about["inputs"][0],
        inputs=about["inputs"],
        targets=about["targets"],
        classes=about["classes"],
        columns=about["columns"],
        target=about["target"],
        standardise=about["standardise"],
        size=row.size,
        created_at=row.created_at,
    )
