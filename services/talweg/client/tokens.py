"""Tokens of a shared laboratory."""

from datetime import UTC, datetime, timedelta
from typing import Any

from talweg.client.table import Table
from talweg.client.wire import Wire, path_part

_COLUMNS = ("name", "scope", "created", "expires", "revoked", "limits")


class Tokens:
    """Create, list and revoke tokens; every call needs a token with scope `admin`."""

    def __init__(self, wire: Wire) -> None:
        """Use `wire`; sends no request."""
        self._wire = wire

    def create(
        self,
        name: str,
        scope: str = "submit",
        *,
        expires: timedelta | datetime | None = timedelta(days=90),
        **limits: float | None,
    ) -> str:
        """Create a token and return it. It cannot be read again: the laboratory stores only its digest.

        Args:
            name: of the owner; logs show it with each change.
            scope: read, submit or admin; each includes the ones before it.
            expires: a duration or a moment; None: never.
            limits: runs, steps, bytes (held at once) and rate (requests a second), where they differ from the
                laboratory's settings.

        Raises:
            Conflict: a token of that name exists and is not revoked.
            InvalidSpec: something breaks a rule.
        """
        end = datetime.now(UTC) + expires if isinstance(expires, timedelta) else expires
        body: dict[str, Any] = {"name": name, "scope": scope, "limits": {k: v for k, v in limits.items() if v}}
        if end is not None:
            body["expires_at"] = end.astimezone(UTC).isoformat()
        return str(self._wire.post("/v1/tokens", body)["token"])

    def list(self) -> Table:
        """Every token by name, also revoked ones, without the secret itself."""
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
        """Revoke a token now; raises NotFound where no valid token has that name."""
        self._wire.delete(f"/v1/tokens/{path_part(name)}")


def _day(moment: str | None) -> str | None:
    return None if moment is None else moment[:16].replace("T", " ")
