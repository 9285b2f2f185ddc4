"""The MLflow server that runs are mirrored to, with the calls that the mirror needs.

This is the only module that imports MLflow. Every call may be repeated without harm.
"""

import re
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag, ViewType
from mlflow.exceptions import MlflowException, RestException
from requests.exceptions import HTTPError, RequestException

from talweg.errors import TalwegError, Unreachable
from talweg.tracking.metrics import Series
from talweg.tracking.naming import RUN_TAG, STUDY_TAG

# The most metrics, and parameters or tags, of one request.
METRICS, PARAMETERS = 1000, 100


class Refused(TalwegError, code="mlflow-refused"):
    """MLflow answers, but refuses the request; the message holds its reason."""


class Busy(Refused, code="mlflow-busy"):
    """MLflow cannot take the request now: its database is locked, or its disk is full."""


class Gone(Refused, code="mlflow-gone"):
    """The run was deleted in MLflow, and is not created again."""


class Destination:
    """An MLflow server. Methods raise Unreachable where it does not answer, Refused where it refuses."""

    def __init__(self, url: str) -> None:
        """Connects at the first call."""
        self.url = url.rstrip("/")
        self._client = MlflowClient(tracking_uri=self.url)
        # Of two runs that log the same new dataset at the same time, MLflow refuses the second.
        self._dataset_lock = threading.Lock()

    def answers(self) -> bool:
        """Whether the server is up, even if it refuses requests."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as response:  # noqa: S310 - from settings
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            # A server that asks for a password is up; a proxy that cannot reach its server (5xx) is not.
            with error:
                return error.code < 500
        except (urllib.error.URLError, OSError):
            return False

    def experiment(self, study: str, name: str, tags: Mapping[str, str]) -> str:
        """The id of the study's experiment, found by its tag or created with `tags`; restored if it was deleted.

        An experiment that is found gets only the tags that it lacks: changes made in MLflow stay.
        """
        with self._errors():
            chosen = f"tags.`{STUDY_TAG}` = '{study}'"
            found = self._client.search_experiments(view_type=ViewType.ALL, filter_string=chosen)
            if not found:
                return self._create_experiment(study, name, tags)
            if found[0].lifecycle_stage == "deleted":
                self._client.restore_experiment(found[0].experiment_id)
            for key in tags.keys() - found[0].tags.keys():
                self._client.set_experiment_tag(found[0].experiment_id, key, tags[key])
            return str(found[0].experiment_id)

    def run(self, experiment: str, run: str, *, name: str, start: int, tags: Mapping[str, str]) -> str:
        """The id of the MLflow run that mirrors `run`, found by its tag or created; raises Gone."""
        with self._errors():
            found = self._client.search_runs(
                [experiment], f"tags.`{RUN_TAG}` = '{run}'", ViewType.ALL, order_by=["attributes.start_time"]
            )
            if not found:
                own = {**tags, RUN_TAG: run}
                created = self._client.create_run(experiment, start_time=start, tags=own, run_name=name)
                return str(created.info.run_id)
            if found[0].info.lifecycle_stage == "deleted":
                raise Gone(f"MLflow: run {run} was deleted there")
            return str(found[0].info.run_id)

    def annotate(self, experiment: str, tags: Mapping[str, str]) -> None:
        """Set tags of an experiment, among them its description."""
        with self._errors():
            for key, value in tags.items():
                self._client.set_experiment_tag(experiment, key, value)

    def stage(self, run_id: str) -> str:
        """`active`, `deleted`, or `missing`."""
        try:
            with self._errors():
                return str(self._client.get_run(run_id).info.lifecycle_stage)
        except Refused as error:
            if isinstance(error.__cause__, MlflowException) and "DOES_NOT_EXIST" in error.__cause__.error_code:
                return "missing"
            raise

    def describe(self, run_id: str, parameters: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Set parameters, which MLflow never lets change, and tags."""
        entries: list[Param | RunTag] = [Param(key, value) for key, value in parameters.items()]
        entries += [RunTag(key, value) for key, value in tags.items()]
        with self._errors():
            for start in range(0, len(entries), PARAMETERS):
                part = entries[start : start + PARAMETERS]
                self._client.log_batch(
                    run_id,
                    params=[entry for entry in part if isinstance(entry, Param)],
                    tags=[entry for entry in part if isinstance(entry, RunTag)],
                )

    def send(self, run_id: str, series: Sequence[Series]) -> int:
        """Send every point, in as few requests as possible; returns the number of points."""
        sent = 0
        for batch in batches(series):
            with self._errors():
                self._client.log_batch(run_id, metrics=batch)
            sent += len(batch)
        return sent

    def use(self, run_id: str, name: str, digest: str, source: str, *, context: str) -> None:
        """Log the dataset that the run used, and what for (`context`)."""
        dataset = Dataset(name=name, digest=digest, source_type="talweg", source=source)
        with self._dataset_lock, self._errors():
            self._client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def attach(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Attach files to the run, by path ("figures/cost.png"); an existing file of that path is replaced."""
        with tempfile.TemporaryDirectory(prefix="talweg-") as folder, self._errors():
            for name, content in files.items():
                path = Path(folder, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            self._client.log_artifacts(run_id, folder)

    def remove(self, run_ids: Sequence[str], experiment: str) -> None:
        """Delete runs, and the experiment with all that it has left; MLflow keeps deleted ones until `mlflow gc`."""
        with self._errors():
            for run_id in run_ids:
                self._client.delete_run(run_id)
            self._client.delete_experiment(experiment)

    def close_run(self, run_id: str, *, name: str, status: str, end: int) -> None:
        """Set the run's name, status and end in milliseconds."""
        with self._errors():
            # The client's public methods take four requests for this one.
            store = self._client._tracking_client.store
            store.update_run_info(run_id, RunStatus.from_string(status), end, name)

    def _create_experiment(self, study: str, name: str, tags: Mapping[str, str]) -> str:
        own = {**tags, STUDY_TAG: study}
        if self._client.get_experiment_by_name(name) is not None:
            # The user's server has another experiment of this name.
            name = f"{name} ({study[-8:]})"
        return str(self._client.create_experiment(name, tags=own))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, RequestException) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> TalwegError:
        if _code(error) == 401:
            # Unreachable, since it refuses every request. The message must not hold the password sent.
            return Unreachable(
                f"MLflow at {self.url}: requires credentials (HTTP 401); set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to valid ones"
            )
        # After its retries, MLflow's client gives the status only in the message.
        if _code(error) == 503 or "too many 503 error responses" in str(error):
            return Busy(f"MLflow at {self.url}: {error}")
        if isinstance(error, RestException):
            return Refused(f"MLflow: {error}")
        if isinstance(error, HTTPError):
            return Refused(f"MLflow: refused an artifact: {error}")
        # MLflow raises the same error for a request that it could not send and for an answer that it could not read.
        # If the server is up, the error is this request's, and others can go on.
        kind = Refused if self.answers() else Unreachable
        return kind(f"MLflow at {self.url}: {error}")


def _code(error: Exception) -> int | None:
    """The HTTP status of an error of MLflow's client, where it is known."""
    if isinstance(error, HTTPError):
        return None if error.response is None else error.response.status_code
    if isinstance(error, RestException):
        return int(error.get_http_status_code())
    # Where the body is not MLflow's JSON, its client gives the status only in the message.
    found = re.search(r"failed with error code (\d{3})", str(error))
    return int(found[1]) if found else None


def batches(series: Sequence[Series]) -> Iterator[list[Metric]]:
    """All points, in lists of at most METRICS."""
    batch: list[Metric] = []
    for one in series:
        for step, value, time in zip(one.steps.tolist(), one.values.tolist(), one.times.tolist(), strict=True):
            batch.append(Metric(one.key, value, time, step))
            if len(batch) == METRICS:
                yield batch
                batch = []
    if batch:
        yield batch
