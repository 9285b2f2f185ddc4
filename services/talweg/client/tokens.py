"""Tokens of a shared laboratory, for whoever looks after it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from talweg.client.table import Table
from talweg.client.wire import Wire, part

_COLUMNS = ("name", "scope", "created", "expires", "revoked", "limits")


class Tokens:
    """Makes, lists and revokes tokens; every call needs a token of scope `admin`."""

    def __init__(self, wire: Wire) -> None:
        """Over `wire`; nothing is asked yet."""
        self._wire = wire

    def create(
        self,
        name: str,
        scope: str = "submit",
        *,
        expires: timedelta | datetime | None = timedelta(days=90),
        **limits: float | None,
    ) -> str:
        """A new token, which is told here and never again: the laboratory keeps its digest alone.

        Args:
            name: whose it is; logs say it with each change.
            scope: read, submit or admin; each holds those before it.
            expires: after so long, or at that moment; None: not until it is revoked.
            limits: runs, steps and bytes that it may hold at once, and its rate in requests a second, where they
                differ from the laboratory's own.

        Raises:
            Conflict: a token of that name is there and not revoked.
            InvalidSpec: something breaks a rule.
        """
        end = datetime.now(UTC) + expires if isinstance(expires, timedelta) else expires
        body: dict[str, Any] = {"name": name, "scope": scope, "limits": {k: v for k, v in limits.items() if v}}
        if end is not None:
            body["expires_at"] = end.astimezone(UTC).isoformat()
        return str(self._wire.post("/v1/tokens", body)["token"])

    def list(self) -> Table:
        """Every token by name, revoked ones too: all but the tokens themselves."""
        rows = self._wire.get("/v1/tokens")
        return Table(
            _COLUMNS,
            tuple(
                (
                    row["name"],
                    ", ".join(row["scopes"]),
                    _day(row["created_at"]),
                    _day(row["expires_at"]),
                    _day(row["revoked_at"]),
                    row["limits"],
                )
                for row in rows
            ),
        )

    def revoke(self, name: str) -> None:
        """End a token now; raises NotFound where there is none of that name that is not revoked."""
        self._wire.delete(f"/v1/tokens/{part(name)}")


def _day(moment: str | None) -> str | None:
    return None if moment is None else moment[:16].replace("T", " ")
