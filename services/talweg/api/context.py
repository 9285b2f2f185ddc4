"""What every handler is handed: the laboratory that the application was made for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from talweg.settings import Settings
from talweg.store import Store


@dataclass(frozen=True)
class Laboratory:
    """The store, the settings, and how a cohort's id is published."""

    store: Store
    settings: Settings
    publish: Callable[[str], None]


def _laboratory(request: Request) -> Laboratory:
    laboratory: Laboratory = request.app.state.laboratory
    return laboratory


Here = Annotated[Laboratory, Depends(_laboratory)]
