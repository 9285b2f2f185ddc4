"""The artifacts of our own MLflow server: what users upload, and files of runs and studies made when first opened.

A made file is kept until its run records more steps. Files are drawn in a process of their own, which ends when none
was drawn for a while: drawing takes a core and 0.3 GB, and a failure there must not end the server.
"""

import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import UUID

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from talweg.errors import NotFound
from talweg.records import problem_of
from talweg.spec import parse_run
from talweg.store import LIVE, Store
from talweg.tracking.mlflow_store import Laboratory
from talweg.tracking.naming import STUDY_FILES, file_names
from talweg.tracking.run_files_process import RunFilesProcesses

# The scheme of `--artifacts-destination`: a folder, as in talweg:///var/lib/mlflow.
SCHEME = "talweg"
# The folder of made files, beside those of experiments.
MADE = "made"
# Seconds after which the drawing process ends if nothing was drawn.
_IDLE = 60.0


@dataclass(frozen=True)
class _Source:
    """What files are made of: a run or a study of the laboratory in its present state, and the names of its files."""

    kind: str
    id: str
    version: str
    names: frozenset[str]


class MadeArtifacts(LocalArtifactRepository):
    """A folder of artifacts, in which every mirrored run that has ended also has the files that can be made of it."""

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        """`artifact_uri` is talweg://FOLDER."""
        super().__init__(f"file://{artifact_uri.partition('://')[2]}", tracking_uri, registry_uri)
        url = os.environ["TALWEG_DATABASE_URL"]
        self._laboratory = Laboratory(url)
        self._drawing = RunFilesProcesses(url, 1)
        self._lock = threading.Lock()
        self._idle: threading.Timer | None = None

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Stored files, and those that can be made; the size of one that was not made yet is unknown."""
        found = {info.path: info for info in super().list_artifacts(path)}
        if (place := _place(path)) is not None:
            run, inside = place
            for name in self._names(run):
                parts = PurePosixPath(name).parts
                if parts[: len(inside)] == inside and len(parts) > len(inside):
                    entry = f"{_root(path)}/{'/'.join(parts[: len(inside) + 1])}"
                    found.setdefault(entry, FileInfo(entry, len(parts) > len(inside) + 1, None))
        return [found[path] for path in sorted(found)]

    def get_local_path(self, artifact_path: str) -> str:
        """The file's path, made now if it was not; raises MlflowException where there is none."""
        return super().get_local_path(self._ready(artifact_path))

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        super()._download_file(self._ready(remote_file_path), local_path)

    def _names(self, run: str) -> frozenset[str]:
        with self._laboratory.store() as store:
            source = _source(store, run)
        return frozenset() if source is None else source.names

    def _ready(self, path: str) -> str:
        """Where the file of that path is: itself where it is stored, else the made one; made now where it is not."""
        place = _place(path)
        if place is None or Path(self.artifact_dir, path).exists():
            return path
        run, inside = place
        name = "/".join(inside)
        with self._laboratory.store() as store:
            source = _source(store, run)
            if source is None or name not in source.names:
                return path
            folder = Path(self.artifact_dir, MADE, run, source.version)
            with self._lock:
                if not folder.is_dir():
                    files = self._make(store, source)
                    if name not in files:
                        raise MlflowException(
                            f"{name} cannot be made of {source.kind} {source.id}; the log of MLflow's server says why",
                            RESOURCE_DOES_NOT_EXIST,
                        )
                    self._keep(folder, files)
        return str(PurePosixPath(MADE, run, source.version, name))

    def _make(self, store: Store, source: _Source) -> Mapping[str, bytes]:
        if self._idle is None:
            # The first since the server started.
            self._remove_forgotten(store)
        else:
            self._idle.cancel()
        try:
            return self._drawing.draw(source.kind, source.id)
        finally:
            self._idle = threading.Timer(_IDLE, self._rest)
            self._idle.daemon = True
            self._idle.start()

    def _remove_forgotten(self, store: Store) -> None:
        """Remove made files of runs and studies that the laboratory has no more."""
        made = Path(self.artifact_dir, MADE)
        for folder in made.iterdir() if made.is_dir() else ():
            if _source(store, folder.name) is None:
                shutil.rmtree(folder, ignore_errors=True)

    def _rest(self) -> None:
        with self._lock:
            self._drawing.close()

    def _keep(self, folder: Path, files: Mapping[str, bytes]) -> None:
        """Write the files, all or none, in place of those of an earlier state."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
        for name, content in files.items():
            target = draft / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        draft.rename(folder)
        for other in folder.parent.iterdir():
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)


def _place(path: str | None) -> tuple[str, tuple[str, ...]] | None:
    """MLflow's run id and the path below its artifacts; None for another path. Runs are at EXPERIMENT/RUN/artifacts."""
    parts = PurePosixPath(path or "").parts
    return (parts[1], parts[3:]) if len(parts) > 2 and parts[2] == "artifacts" else None


def _root(path: str | None) -> str:
    return "/".join(PurePosixPath(path or "").parts[:3])


def _source(store: Store, run: str) -> _Source | None:
    """What the MLflow run mirrors, by its id; None where nothing can be made of it."""
    with suppress(ValueError):
        identity = str(UUID(run))
        with suppress(NotFound):
            row = store.run(identity)
            if not row.ended:
                return None
            return _Source("run", row.id, f"{row.step}-{row.state}", file_names(row, problem_of(parse_run(row.spec))))
        with suppress(NotFound):
            study = store.study(identity)
            if study.state not in LIVE:
                return _Source("study", study.id, f"{study.runs}-{study.steps_done}-{study.state}", STUDY_FILES)
    return None
