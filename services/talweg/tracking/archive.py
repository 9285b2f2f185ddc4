"""`python -m talweg.tracking.archive`: a study as a file, back from it, and out of the laboratory and MLflow.

An archive is a Parquet file with a row for each row of the database: `table`, `row` (its columns as JSON, whose numbers
keep every bit) and `payload` (bytes as stored). Its metadata says which schema it is of and what it holds, with a
digest over all rows, which is checked before anything is restored.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from talweg import logs
from talweg.errors import Conflict, CorruptRecord, InvalidSpec, NotFound, TalwegError
from talweg.settings import Settings, settings
from talweg.store import Store, open_store
from talweg.store.archive import Extent, parsed
from talweg.store.migrate import head
from talweg.tracking import connect
from talweg.tracking.mlflow_rows import MlflowRows, mlflow_id

FORMAT = 1
_KEY = b"talweg.archive"
_SCHEMA = pa.schema([("table", pa.dictionary(pa.int8(), pa.string())), ("row", pa.string()), ("payload", pa.binary())])
# Rows of a row group.
_AT_ONCE = 5000


def archive(store: Store, study: str, path: Path) -> Extent:
    """Write a study to a new file, whole or not at all; raises Conflict where the file exists or runs are not over."""
    if path.exists():
        raise Conflict(f"archive: {path} exists; name another file")
    found = store.study_extent(study)
    draft = path.with_name(f".{path.name}.part")
    digest, counts = hashlib.sha256(), dict[str, int]()
    try:
        with pq.ParquetWriter(draft, _SCHEMA, compression="zstd") as writer:
            batch: list[tuple[str, str, bytes | None]] = []
            for table, row in store.study_rows(found.id):
                batch.append(_encoded(table, row))
                _add(digest, *batch[-1])
                counts[table] = counts.get(table, 0) + 1
                if len(batch) == _AT_ONCE:
                    writer.write_table(_table(batch))
                    batch = []
            writer.write_table(_table(batch))
            about = {
                "format": FORMAT,
                "revision": head(),
                "version": version("talweg"),
                "study": found.name,
                "rows": counts,
                "digest": digest.hexdigest(),
            }
            writer.add_key_value_metadata({_KEY: json.dumps(about).encode()})
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    return found


def restore(store: Store, path: Path) -> str:
    """Write an archived study back, whole or not at all; returns its name.

    Raises:
        InvalidSpec: The file is no archive.
        Conflict: It is of another schema, or the laboratory has the study or a run of it.
        CorruptRecord: Its content is not what was written.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InvalidSpec(f"restore: {path} is no archive: {error}") from error
    with file:
        about = _about(file, path)
        digest = hashlib.sha256()
        try:
            for row in _stored(file):
                _add(digest, *row)
        except (OSError, pa.ArrowException) as error:
            raise CorruptRecord(f"restore: {path} is damaged: {error}") from error
        if digest.hexdigest() != about["digest"]:
            raise CorruptRecord(f"restore: {path} is damaged: its content has another digest than it was written with")
        store.add_study(_decoded(*row) for row in _stored(file))
    return str(about["study"])


def forget(store: Store, chosen: Settings, found: Extent) -> None:
    """Remove a study from MLflow, then from the laboratory; repeating it after a failure does the rest."""
    if chosen.mirror == "rows" and chosen.mlflow_database_url is not None:
        with closing(MlflowRows(chosen.mlflow_database_url.get_secret_value())) as rows:
            experiments = [] if found.mlflow_experiment is None else [found.mlflow_experiment]
            rows.remove([*found.mlflow_runs, mlflow_id(found.id)], experiments)
    elif chosen.mlflow_url is not None and found.mlflow_experiment is not None:
        connect(chosen.mlflow_url).remove(found.mlflow_runs, found.mlflow_experiment)
    store.forget_study(found.id)


def _about(file: pq.ParquetFile, path: Path) -> dict[str, Any]:
    text = (file.metadata.metadata or {}).get(_KEY)
    if text is None or file.schema_arrow.names != _SCHEMA.names:
        raise InvalidSpec(f"restore: {path} is no archive of a study; talweg archive writes them")
    about: dict[str, Any] = json.loads(text)
    if (about["format"], about["revision"]) != (FORMAT, head()):
        raise Conflict(
            f"restore: {path} was written by Talweg {about['version']} with schema {about['revision']}, this is "
            f"{version('talweg')} with schema {head()}; restore it with that version, then upgrade"
        )
    return about


def _encoded(table: str, row: dict[str, Any]) -> tuple[str, str, bytes | None]:
    payload = row.pop("payload", None)
    return table, json.dumps(row, default=datetime.isoformat), payload


def _decoded(table: str, row: str, payload: bytes | None) -> tuple[str, dict[str, Any]]:
    values = parsed(table, json.loads(row))
    return table, values if payload is None else values | {"payload": payload}


def _add(digest: Any, table: str, row: str, payload: bytes | None) -> None:
    for part in (table.encode(), row.encode(), payload or b""):
        digest.update(len(part).to_bytes(8, "little") + part)


def _table(batch: Sequence[tuple[str, str, bytes | None]]) -> pa.Table:
    columns = zip(*batch, strict=True) if batch else ((), (), ())
    return pa.table(
        [pa.array(list(column), field.type) for column, field in zip(columns, _SCHEMA, strict=True)], _SCHEMA
    )


def _stored(file: pq.ParquetFile) -> Iterator[tuple[str, str, bytes | None]]:
    for batch in file.iter_batches(_AT_ONCE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _size(count: int) -> str:
    """`14.2 MB`."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _ask(found: Extent) -> bool:
    where = f" and {len(found.mlflow_runs):,} in MLflow" if found.mlflow_runs else ""
    sys.stderr.write(
        f"study {found.name}: {found.runs:,} runs{where}, {found.steps:,} steps, {_size(found.bytes)} of records.\n"
        f"They are deleted for good; `talweg archive {found.name} FILE.parquet` keeps them in a file.\n"
        "Forget them? [y/N] "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Archive, restore or forget a study of the laboratory at TALWEG_DATABASE_URL."""
    parser = argparse.ArgumentParser(prog="python -m talweg.tracking.archive", description="Archive or forget a study.")
    parser.add_argument("what", choices=["archive", "restore", "forget"])
    parser.add_argument("study_or_file")
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--yes", action="store_true", help="forget: do not ask")
    given = parser.parse_args(arguments)
    if (given.what == "archive") != (given.file is not None):
        parser.error("archive needs STUDY FILE, restore FILE, forget STUDY")
    chosen = settings()
    try:
        if chosen.database_url is None:
            raise InvalidSpec("archive: TALWEG_DATABASE_URL must be set")
        with open_store(chosen.database_url.get_secret_value()) as store:
            return _run(store, chosen, given)
    except TalwegError as error:
        sys.stderr.write(f"talweg: error: {error}\n")
        return error.exit_code


def _run(store: Store, chosen: Settings, given: argparse.Namespace) -> int:
    if given.what == "archive":
        found = archive(store, given.study_or_file, given.file)
        size = _size(given.file.stat().st_size)
        sys.stderr.write(f"{given.file}: {found.runs:,} runs of {found.name}, {size}\n")
        return 0
    if given.what == "restore":
        sys.stderr.write(f"restored {restore(store, Path(given.study_or_file))}\n")
        return 0
    found = store.study_extent(given.study_or_file)
    if not given.yes and not _ask(found):
        sys.stderr.write("Nothing was deleted.\n")
        return 1
    # Another process may be faster.
    with suppress(NotFound):
        forget(store, chosen, found)
    sys.stderr.write(f"forgot {found.name}: {found.runs:,} runs, {_size(found.bytes)}\n")
    return 0


if __name__ == "__main__":
    # A command for people: its own lines say what it did.
    logs.configure("warning")
    sys.exit(main())
