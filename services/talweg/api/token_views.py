"""Tokens over the wire: what is asked for, and what is answered."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from talweg.errors import InvalidSpec
from talweg.parsing import rule
from talweg.spec import Name
from talweg.store import TokenRow

Scope = Literal["read", "submit", "admin"]
Whole = Annotated[int, Field(ge=1, lt=2**63)]


class TokenLimits(BaseModel):
    """What a token may hold at once, and its requests a second; what is not given follows the settings."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    runs: Whole | None = None
    steps: Whole | None = None
    bytes: Whole | None = None
    rate: Annotated[float, Field(gt=0, le=1e6)] | None = None


class TokenSpec(BaseModel):
    """A token to be."""

    model_config = ConfigDict(extra="forbid")
    name: Name
    scope: Scope = "read"
    # None: until it is revoked.
    expires_at: AwareDatetime | None = None
    limits: TokenLimits = TokenLimits()


class TokenView(BaseModel):
    """A token as people may know of it: neither itself nor its digest."""

    name: str
    scopes: list[str]
    limits: dict[str, Any]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewToken(TokenView):
    """A token just made; `token` is shown here and never again."""

    token: str


def token_view(row: TokenRow) -> TokenView:
    """A token's row as it is answered."""
    return TokenView(
        name=row.name,
        scopes=list(row.scopes),
        limits=row.limits or {},
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )


def parse_token(body: dict[str, Any]) -> TokenSpec:
    """A TokenSpec from plain data; raises InvalidSpec that names the key, the rule and the value."""
    try:
        return TokenSpec.model_validate(body)
    except ValidationError as error:
        said = [
            f"{'.'.join(map(str, broken['loc']))}: {rule(broken)}, got {broken['input']!r:.80}"
            for broken in error.errors()
        ]
        raise InvalidSpec("; ".join(said)) from None
