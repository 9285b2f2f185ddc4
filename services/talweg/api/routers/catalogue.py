"""What there is to choose from: problems, optimizers and schedules, with their settings, ranges and defaults."""

from functools import cache

from fastapi import APIRouter

from talweg.api.models import CatalogueEntry, OptimizerEntry, ScheduleEntry
from talweg_core import optimizers, problems, schedules
from talweg_core.problems.description import purpose, settings

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/problems")
def list_problems() -> list[CatalogueEntry]:
    """Every problem that has a name."""
    return _problems()


@router.get("/optimizers")
def list_optimizers() -> list[OptimizerEntry]:
    """Every optimizer with its hyperparameters, formula, state, evaluations and paper."""
    return _optimizers()


@router.get("/schedules")
def list_schedules() -> list[ScheduleEntry]:
    """Every schedule of the learning rate."""
    return _schedules()


# What is installed does not change while this process lives, and looking for plug-ins takes a while.
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
