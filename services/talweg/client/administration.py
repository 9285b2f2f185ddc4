"""Uploaded datasets, and tokens of a shared laboratory."""

import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

from talweg.client.table import Table, card
from talweg.client.wire import Wire, path_part
from talweg.errors import InvalidSpec

_FORMATS: Final = {".npz": "npz", ".npy": "npy", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_PIECE: Final = 1 << 20
_COLUMNS = ("name", "scope", "created", "expires", "revoked", "limits")


class Dataset:
    """An uploaded dataset; specs name it as {"dataset": NAME, "network": […], "cost": …}."""

    def __init__(self, view: dict[str, Any]) -> None:
        """The dataset in `view`, an answer of the API."""
        self._view = view

    @property
    def name(self) -> str:
        """The name to use in specs."""
        return str(self._view["name"])

    @property
    def digest(self) -> str:
        """sha256 of its data in canonical form; stored in every run that uses it."""
        return str(self._view["digest"])

    @property
    def classes(self) -> list[Any] | None:
        """The label of each class: `classes[k]` for class k; None where targets are numbers."""
        classes: list[Any] | None = self._view["classes"]
        return None if classes is None else list(classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the inputs: rows, then the shape of an example."""
        return tuple(self._view["inputs"])

    @property
    def view(self) -> dict[str, Any]:
        """The API's answer, as plain data."""
        return dict(self._view)

    def __repr__(self) -> str:
        return f"<Dataset {self.name}: {self._line()}>"

    def _repr_html_(self) -> str:
        facts = {key: self._view[key] for key in ("digest", "columns", "target", "classes", "standardise")}
        return card(f"dataset {self.name}", self._line(), {k: v for k, v in facts.items() if v is not None})

    def _line(self) -> str:
        classes = self.classes
        meaning = "values" if classes is None else f"{len(classes)} classes"
        return f"{self._view['rows']} rows of {'×'.join(map(str, self.shape[1:]))}, {meaning}"


def upload(
    wire: Wire, name: str, data: object, targets: object, *, target: str | None, kind: str, standardise: bool
) -> Dataset:
    """Upload a file, a table or arrays; raises InvalidSpec for anything else."""
    query: dict[str, Any] = {"target": target, "kind": kind, "standardise": str(standardise).lower()}
    path = f"/v1/datasets/{path_part(name)}"
    if isinstance(data, (str, os.PathLike)):
        file = Path(data)
        if targets is not None:
            raise InvalidSpec("upload: a file holds its targets, got a separate argument targets too")
        form = _FORMATS.get(file.suffix.lower())
        if form is None:
            raise InvalidSpec(f"upload: a file must end in {', '.join(_FORMATS)}, got {file.name!r}")
        with file.open("rb") as handle:
            return Dataset(wire.put(path, _pieces(handle), format=form, **query))
    if hasattr(data, "to_parquet"):
        return Dataset(wire.put(path, data.to_parquet(index=False), format="parquet", **query))
    if targets is None:
        raise InvalidSpec("upload: arrays of inputs need targets, as in lab.upload('mine', inputs, targets)")
    return Dataset(wire.put(path, _npz(data, targets), format="npz", **query))


def _pieces(handle: IO[bytes]) -> Iterator[bytes]:
    while piece := handle.read(_PIECE):
        yield piece


def _npz(inputs: object, targets: object) -> bytes:
    import numpy as np

    arrays = {"inputs": np.asarray(inputs), "targets": np.asarray(targets)}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            # Text in pandas has this dtype; any other object could only be sent as a pickle.
            words = array.ravel().tolist()
            if not all(isinstance(word, str) for word in words):
                raise InvalidSpec(f"upload: {name} must hold numbers or text throughout, got an array of objects")
            arrays[name] = np.array(words, dtype=str).reshape(array.shape)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


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
