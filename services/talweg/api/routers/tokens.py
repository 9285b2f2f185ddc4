"""Tokens: make one, list them, end one. For scope `admin` alone, reading included; the guard sees to it."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Request, Response

from talweg.api import tokens
from talweg.api.body import JsonBody
from talweg.api.context import Here
from talweg.api.parameters import body_of
from talweg.api.token_views import NewToken, TokenSpec, TokenView, parse_token, token_view

router = APIRouter(prefix="/v1/tokens", tags=["tokens"])
log = structlog.get_logger("talweg.api")

TokenName = Annotated[str, Path(min_length=1, max_length=200, description="A token's name.")]


@router.post("", status_code=201, openapi_extra=body_of(TokenSpec))
def create(here: Here, body: JsonBody, request: Request, response: Response) -> NewToken:
    """Make a token. Sent twice, the second is refused, since the name is taken: revoke it, and make another."""
    spec = parse_token(body)
    limits = spec.limits.model_dump(exclude_none=True)
    token, row = tokens.create(here.store, spec.name, spec.scope, spec.expires_at, limits)
    response.headers["Location"] = "/v1/tokens"
    log.info("token created", name=row.name, scope=spec.scope, expires_at=str(row.expires_at), by=request.state.token)
    return NewToken(token=token, **token_view(row).model_dump())


@router.get("")
def show(here: Here) -> list[TokenView]:
    """Every token, by name, those that are revoked too."""
    return [token_view(row) for row in here.store.tokens()]


@router.delete("/{name}", status_code=204)
def revoke(here: Here, name: TokenName, request: Request) -> None:
    """End a token now: its next request is refused."""
    here.store.revoke_token(name)
    log.info("token revoked", name=name, by=request.state.token)
