"""The part of the store that says who may ask, and holds what they uploaded."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from talweg.store import (
    datasets,
    quotas,
    tokens,
)
from talweg.store.database import Database
from talweg.store.rows import (
    DatasetRow,
    TokenRow,
)


class Access(Database):
    """Tokens and datasets; each method is one transaction."""

    def add_token(
        self,
        digest: str,
        name: str,
        scopes: Iterable[str],
        expires_at: datetime | None = None,
        limits: Mapping[str, object] | None = None,
    ) -> None:
        """Let in whoever holds the token of this digest; raises Conflict where digest or name is taken."""
        with self._write() as connection:
            tokens.add(connection, digest, name, tuple(scopes), expires_at, None if limits is None else dict(limits))

    def find_token(self, digest: str) -> TokenRow | None:
        """The token of this digest, revoked and expired ones too."""
        with self._read() as connection:
            return tokens.find(connection, digest)

    def tokens(self) -> list[TokenRow]:
        """Every token, by name."""
        with self._read() as connection:
            return tokens.all_of_them(connection)

    def revoke_token(self, name: str) -> None:
        """End a token now; raises NotFound."""
        with self._write() as connection:
            tokens.revoke(connection, name)

    def add_dataset(
        self, name: str, digest: str, kind: str, shape: Mapping[str, object], size: int, payload: bytes
    ) -> DatasetRow:
        """Keep a dataset: the same data under the same name again changes nothing.

        Raises:
            Conflict: The name stands for other data, or the data is here under another name.
            LimitReached: The token on whose behalf this is would hold more bytes than it may.
        """
        with self._write() as connection:
            if self._charged is not None:
                quotas.hold(connection, self._charged[0])
            token = None if self._charged is None else self._charged[0]
            row = datasets.add(connection, name, digest, kind, dict(shape), size, payload, token)
            if self._charged is not None:
                quotas.check_bytes(connection, *self._charged)
            return row

    def dataset(self, digest_or_name: str) -> DatasetRow:
        """The dataset of that digest, else of that name, without its bytes; raises NotFound."""
        with self._read() as connection:
            return datasets.find(connection, digest_or_name)

    def datasets(self) -> list[DatasetRow]:
        """Every dataset, by name, without its bytes."""
        with self._read() as connection:
            return datasets.all_of_them(connection)

    def dataset_payload(self, digest: str) -> bytes:
        """A dataset's bytes as they were kept; raises NotFound."""
        with self._read() as connection:
            return datasets.payload(connection, digest)
