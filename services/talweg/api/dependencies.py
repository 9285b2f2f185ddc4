"""What handlers receive: the laboratory that the application was made for, and parameters that several routes take."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Header, Path, Query, Request
from pydantic import BaseModel

from talweg.api.metrics import Broker, Metrics
from talweg.api.tokens import limits_of
from talweg.parsing import IDEMPOTENCY_KEY
from talweg.settings import Settings
from talweg.store import Store, TokenRow

MAXIMUM_PAGE: Final = 500
PROBLEM_JSON: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, "content": {"application/problem+json": {}}}
    for status, description in {
        401: "No token, or one that is not known.",
        403: "The token's scope is too small.",
        400: "The request is none.",
        404: "There is nothing of that name or id, or no such step.",
        409: "The name or the idempotency key stands for something else.",
        405: "The route has no such method.",
        408: "The body did not go on in time.",
        413: "The body is too large.",
        415: "The body is not of the type that the route takes.",
        421: "The host is not this laboratory's.",
        422: "Something breaks a rule: which one, and what was received.",
        429: "The token's quota or rate is used up.",
        503: "The database does not answer.",
        507: "The disk is full, or would be.",
    }.items()
}

Reference = Annotated[str, Path(min_length=1, max_length=200, description="An id or a name.")]
Limit = Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)]
Cursor = Annotated[str | None, Query(max_length=500, description="The `next` of the page before.")]
State = Literal["queued", "running", "finished", "failed", "cancelled"]
# PostgreSQL's integers end here; a longer number is no step.
Step = Annotated[int, Query(ge=0, lt=2**31)]
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=200, pattern=IDEMPOTENCY_KEY, description="Makes a repeated POST harmless."),
]


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


def body_of(kind: type[BaseModel]) -> dict[str, Any]:
    """The part of the OpenAPI document that says what JSON a route takes; it is parsed by `talweg.spec`."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
