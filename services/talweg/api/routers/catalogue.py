"""What there is to choose from: problems and optimizers, with their settings and defaults."""

import dataclasses
import inspect
from functools import cache
from typing import Any

from fastapi import APIRouter

from talweg.api.views import CatalogueEntry
from talweg_core import optimizers, problems

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/problems")
def list_problems() -> list[CatalogueEntry]:
    """Every problem that has a name."""
    return _problems()


@router.get("/optimizers")
def list_optimizers() -> list[CatalogueEntry]:
    """Every optimizer with its hyperparameters."""
    return _optimizers()


# What is installed does not change while this process lives, and looking for plug-ins takes a while.
@cache
def _problems() -> list[CatalogueEntry]:
    return [
        CatalogueEntry(name=name, description=_purpose(maker), settings=_parameters(maker))
        for name, maker in sorted(problems.catalogue().items())
    ]


@cache
def _optimizers() -> list[CatalogueEntry]:
    return [
        CatalogueEntry(name=name, description=_first_line(kind), settings=_hyperparameters(kind))
        for name, kind in sorted(optimizers.catalogue().items())
    ]


def _purpose(maker: Any) -> str:
    """What a problem is; one that fills a module, with `create` as its only function, says so at the module's top."""
    return _first_line(inspect.getmodule(maker) if maker.__name__ == "create" else maker)


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _parameters(maker: Any) -> dict[str, Any]:
    signature = inspect.signature(maker)
    return {
        name: None if parameter.default is parameter.empty else parameter.default
        for name, parameter in signature.parameters.items()
    }


def _hyperparameters(kind: Any) -> dict[str, Any]:
    return {
        field.name: None if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(kind)
    }
