"""What every handler is handed: the laboratory that the application was made for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request

from talweg.api.broker import Broker
from talweg.api.metrics import Metrics
from talweg.api.tokens import limits_of
from talweg.settings import Settings
from talweg.store import Store, TokenRow


@dataclass(frozen=True)
class Laboratory:
    """The store, the settings, how a cohort's id is published, and what is known of broker and numbers."""

    store: Store
    settings: Settings
    publish: Callable[[str], None]
    broker: Broker
    metrics: Metrics


def _laboratory(request: Request) -> Laboratory:
    """Whatever a request hands in counts against its token, where that has limits."""
    laboratory: Laboratory = request.app.state.laboratory
    holder: TokenRow | None = getattr(request.state, "holder", None)
    limits = None if holder is None else limits_of(holder, laboratory.settings)
    if holder is None or limits is None:
        return laboratory
    return replace(laboratory, store=laboratory.store.on_behalf(holder.digest, limits))


Here = Annotated[Laboratory, Depends(_laboratory)]
