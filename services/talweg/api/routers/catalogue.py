"""The catalogue of problems, optimizers and schedules; and datasets, which users upload."""

import json
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from typing import Annotated, Any, Final, Literal

import structlog
from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from talweg.api.bodies import spooled
from talweg.api.dependencies import Here, Reference
from talweg.api.models import CatalogueEntry, OptimizerEntry, ScheduleEntry, view
from talweg.datasets.options import TAKEN, Format, Kind, Options
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
# Bytes of a dataset in the database: SQLite takes a thousand million in one value.
LARGEST_DATASET: Final = 900_000_000

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


class ReportRow(BaseModel):
    """What was made of one column: taken as what, its missing and different values, and the inputs that it gives.

    `different` counts in the training part; `note` says how it was read and filled, or why it is left out.
    """

    column: str
    taken_as: str
    missing: int
    different: int
    inputs: int
    example: str
    note: str


class DatasetView(BaseModel):
    """A dataset: the shapes of its examples, the meaning of its targets, and what was done with each column.

    Attributes:
        version: Of the name; a name without a version means the latest, mine@2 the second.
        kind: "labels" if targets are classes (k stands for `classes[k]`), "values" if they are numbers.
        columns: The names of the columns that give inputs, if they came from a table.
        split: How rows were divided (`by`), and the rows of each part.
        reading: What was found out about the file: encoding, delimiter, decimal separator.
        baselines: Cost and accuracy of the majority class or the mean, and of a linear model.
    """

    name: str
    version: int
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
    split: dict[str, str | int] | None = None
    report: list[ReportRow] = []
    target_note: str = ""
    reading: list[str] = []
    warnings: list[str] = []
    baselines: list[dict[str, Any]] = []


Missing = Annotated[str, Field(max_length=200)]


class Reading(BaseModel):
    """How to read a file, and what to make of it: the query of an upload."""

    model_config = ConfigDict(extra="forbid")

    format: Annotated[Format, Field(description="What the body is; csv is any text table, packed or not.")]
    target: Annotated[str | None, Field(min_length=1, max_length=200, description="The column to predict.")] = None
    kind: Annotated[Kind, Field(description="What targets are: classification, regression or auto.")] = "auto"
    standardise: Annotated[bool, Field(description="Scale numbers, by the training part.")] = True
    columns: Annotated[
        str | None,
        Field(max_length=60_000, description='JSON: {"age": "number", "city": "category", "id": "leave out"}.'),
    ] = None
    categories: Annotated[int, Field(ge=1, le=1000, description="Categories of a column with an input each.")] = 20
    groups: Annotated[str | None, Field(max_length=200, description="Rows equal in it are in one part.")] = None
    order_by: Annotated[str | None, Field(max_length=200, description="Parts follow each other in its order.")] = None
    split: Annotated[str | None, Field(max_length=200, description="It names each row's part.")] = None
    split_seed: Annotated[int, Field(ge=0, lt=2**63, description="Of a random split.")] = 0
    missing: Annotated[list[Missing], Field(max_length=100, description="More texts that count as missing.")] = []
    missing_target: Annotated[Literal["refuse", "leave out"], Field(description="Rows without a target.")] = "refuse"
    header: Annotated[bool | None, Field(description="Whether the first line of a text names columns.")] = None
    decimal: Annotated[Literal[".", ","] | None, Field(description="The decimal separator of a text.")] = None
    encoding: Annotated[str | None, Field(max_length=40, description="Of a text.")] = None
    image_size: Annotated[
        list[int], Field(max_length=2, description="Height and width that images are scaled to.")
    ] = []

    def options(self, maximum: int) -> Options:
        """The options of a file that may take `maximum` bytes; raises InvalidSpec."""
        given = self.model_dump(exclude={"columns"})
        for key, value in given.items():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, str) and not one.isprintable():
                    raise InvalidSpec(f"{key}: must be printable, got {one[:80]!r}")
        given["image_size"] = given["image_size"] or None
        unpacked = min(maximum, LARGEST_DATASET)
        return Options(**given, columns=_columns(self.columns), maximum=unpacked, text_maximum=maximum)


def _columns(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or not all(isinstance(one, str) and one in TAKEN for one in value.values()):
        allowed = ", ".join(map(repr, TAKEN))
        raise InvalidSpec(f"columns: must be a JSON object of names and one of {allowed} each, got {text[:80]!r}")
    return value


@datasets_router.put("/{name}", status_code=201, openapi_extra=BODY)
async def upload(
    here: Here, name: DatasetName, request: Request, response: Response, reading: Annotated[Reading, Query()]
) -> DatasetView:
    """Store a dataset under a name; other data under it is its next version, the same data again changes nothing."""
    settings = here.settings
    if name in bundled.NAMES:
        raise Conflict(f"dataset {name}: must not be the name of a dataset that comes with Talweg; choose another")
    options = reading.options(settings.upload_bytes)
    async with spooled(request) as file:
        parsed = await run_sync(parse, file, options, settings.upload_seconds)
    add = partial(here.store.add_dataset, name, parsed.digest, parsed.kind, parsed.shape, parsed.size, parsed.payload)
    row = await run_sync(add)
    response.headers["Location"] = f"/v1/datasets/{row.digest}"
    log.info("dataset kept", name=row.name, digest=row.digest, size=row.size, by=request.state.token)
    # What was found out about this file: another one may hold the same data.
    return _view(replace(row, shape=parsed.shape))


@datasets_router.get("")
def show_all(here: Here) -> list[DatasetView]:
    """Every version of every uploaded dataset, by name, without what was done with its columns."""
    return [_view(replace(row, shape=row.shape | {"report": []})) for row in here.store.datasets()]


@datasets_router.get("/{dataset}")
def show(here: Here, dataset: Reference) -> DatasetView:
    """One dataset, by digest or name."""
    return _view(here.store.dataset(dataset))


def _view(row: DatasetRow) -> DatasetView:
    return view(DatasetView, row, rows=row.shape["inputs"][0], **row.shape)
