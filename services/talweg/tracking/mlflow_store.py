"""The tracking store of our own MLflow server: MLflow's own, with metric histories from the laboratory's database.

Experiments, runs, parameters, tags and last metrics are rows in MLflow's database, which the mirror writes and users
may change. A metric that the laboratory has is answered from there, every step; any other, which a user logged, from
MLflow's database.

`talweg.tracking.mlflow_process` registers the store under its scheme. MLflow must not be imported before that.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import numpy as np
from mlflow.entities import Metric
from mlflow.entities.metric import MetricWithRunId
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.store.entities import PagedList
from mlflow.store.tracking.dbmodels.models import SqlTag
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.search_utils import SearchUtils

from talweg.datasets.sources import serve
from talweg.errors import NotFound, TalwegError
from talweg.store import RunRow, Store, open_store
from talweg.tracking.histories import history, sampled
from talweg.tracking.metrics import Series
from talweg.tracking.naming import RUN_TAG

# Seconds for which the schema of the laboratory's database counts as checked.
_CHECKED = 1.0
# The points of histories that are kept, for the pages of one: 12 MB.
_KEPT_POINTS = 500_000


class Laboratory:
    """The laboratory's database, for the server's threads; opened at the first request, and again after a failure."""

    def __init__(self, url: str) -> None:
        """Connects at the first request."""
        self._url = url
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._checked = 0.0

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The store; raises MlflowException, which the UI shows and clients retry, where it cannot be read now."""
        try:
            yield self._opened()
        except NotFound:
            raise
        except TalwegError as error:
            self._close()
            raise MlflowException(
                f"The laboratory's database, which has the histories of metrics, cannot be read now: {error}. "
                "Nothing is lost; reload the page when it answers again.",
                TEMPORARILY_UNAVAILABLE,
            ) from error

    def _opened(self) -> Store:
        with self._lock:
            if self._store is None:
                self._store = open_store(self._url)
                serve(self._store)
            elif time.monotonic() - self._checked > _CHECKED:
                self._store.check()
            else:
                return self._store
            self._checked = time.monotonic()
            return self._store

    def _close(self) -> None:
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store = None


class LaboratoryStore(SqlAlchemyStore):
    """MLflow's SQLAlchemy store, whose histories of a laboratory's metrics come from the laboratory."""

    def __init__(self, database_url: str, artifacts: str | None, laboratory: Laboratory) -> None:
        """`database_url` is MLflow's own."""
        super().__init__(database_url, artifacts)
        self._laboratory = laboratory
        self._kept: dict[tuple[object, ...], Series | None] = {}
        self._kept_lock = threading.Lock()

    def get_metric_history(
        self, run_id: str, metric_key: str, max_results: int | None = None, page_token: str | None = None
    ) -> Any:
        """Every step of a metric, in pages of `max_results`."""
        found = self._history(run_id, metric_key)
        if found is None:
            return super().get_metric_history(run_id, metric_key, max_results, page_token)
        start = SearchUtils.parse_start_offset_from_page_token(page_token)
        count = len(found.steps)
        stop = count if max_results is None else min(start + max_results, count)
        token = SearchUtils.create_page_token(stop) if stop < count else None
        return PagedList(list(_metrics(found, slice(start, stop))), token)

    def get_metric_history_bulk(self, run_ids: Sequence[str], metric_key: str, max_results: int) -> list[Any]:
        """Every step of a metric of several runs, by run; at most `max_results` points together."""
        points: list[Any] = []
        for run_id in sorted(set(run_ids)):
            found = self._history(run_id, metric_key)
            if found is None:
                points += super().get_metric_history_bulk([run_id], metric_key, max_results)
            else:
                points += _of_run(run_id, found)
            if len(points) >= max_results:
                break
        return points[:max_results]

    def get_max_step_for_metric(self, run_id: str, metric_key: str) -> int:
        """The last step of a metric; 0 without any."""
        found = self._history(run_id, metric_key)
        if found is None:
            return int(super().get_max_step_for_metric(run_id, metric_key))
        return int(found.steps.max(initial=0))

    def get_metric_history_bulk_interval_from_steps(
        self, run_id: str, metric_key: str, steps: Iterable[int], max_results: int
    ) -> list[Any]:
        """The points of a metric at these steps."""
        found = self._history(run_id, metric_key)
        if found is None:
            asked = super().get_metric_history_bulk_interval_from_steps(run_id, metric_key, steps, max_results)
            return list(asked)
        inside = np.flatnonzero(np.isin(found.steps, np.fromiter(steps, dtype=np.int64)))
        return list(_of_run(run_id, found, inside))[:max_results]

    def get_metric_history_bulk_interval(
        self, run_ids: Sequence[str], metric_key: str, max_results: int, start_step: int | None, end_step: int | None
    ) -> list[Any]:
        """A metric of several runs for a chart: at most `max_results` points of each, its extremes among them."""
        points: list[Any] = []
        first, stop = (0, None) if start_step is None or end_step is None else (start_step, end_step + 1)
        for run_id in run_ids:
            found = self._history(run_id, metric_key, max(first, 0), stop)
            if found is None:
                points += super().get_metric_history_bulk_interval(
                    [run_id], metric_key, max_results, start_step, end_step
                )
            else:
                points += _of_run(run_id, sampled(found, max(1, max_results)))
        return points

    def _history(self, run_id: str, key: str, first: int = 0, stop: int | None = None) -> Series | None:
        """The laboratory's history of a metric; None where the laboratory has none of that name."""
        with self._laboratory.store() as store:
            run = self._mirrored(store, run_id)
            if run is None:
                return None
            asked = (run.id, run.step, run.state, key, first, stop)
            if asked not in self._kept:
                self._keep(asked, history(store, run, key, first, stop))
            return self._kept.get(asked)

    def _keep(self, asked: tuple[object, ...], found: Series | None) -> None:
        with self._kept_lock:
            self._kept[asked] = found
            while (
                len(self._kept) > 1
                and sum(0 if s is None else len(s.steps) for s in self._kept.values()) > _KEPT_POINTS
            ):
                del self._kept[next(iter(self._kept))]

    def _mirrored(self, store: Store, run_id: str) -> RunRow | None:
        """The laboratory's run that the MLflow run mirrors; None where it mirrors none."""
        with self.ManagedSessionMaker() as session:
            self._validate_run_accessible(session, run_id)
            tag = session.get(SqlTag, (RUN_TAG, run_id))
            named = None if tag is None else str(tag.value)
        try:
            # Its own id, or in a laboratory that once used the REST mirror its tag.
            return store.run(named or str(UUID(run_id)))
        except (NotFound, ValueError):
            return None


def _metrics(series: Series, which: Any = slice(None)) -> Iterator[Metric]:
    for step, value, moment in zip(
        series.steps[which].tolist(), series.values[which].tolist(), series.times[which].tolist(), strict=True
    ):
        yield Metric(series.key, value, moment, step)


def _of_run(run_id: str, series: Series, which: Any = slice(None)) -> Iterator[MetricWithRunId]:
    return (MetricWithRunId(metric, run_id) for metric in _metrics(series, which))


def build(store_uri: str, artifact_uri: str | None = None) -> LaboratoryStore:
    """The store of this process's settings, as MLflow's registry calls it."""
    return LaboratoryStore(
        os.environ["TALWEG_MLFLOW_DATABASE_URL"], artifact_uri, Laboratory(os.environ["TALWEG_DATABASE_URL"])
    )
