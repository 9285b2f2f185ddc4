"""A store, an MLflow server, a trained study and a mirror for the benchmarks of the mirror."""

import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from talweg import mlflow_server
from talweg.execution import submit_study, train
from talweg.settings import Settings
from talweg.spec import parse_study
from talweg.store import RunRow, Store, StudyRow, open_store
from talweg.tracking import connect

if TYPE_CHECKING:
    from talweg.tracking.mirror import Mirror


@contextmanager
def laboratory() -> Iterator[tuple[Store, str, str]]:
    """An empty store, its database's URL, and the URL of an MLflow server, started as the local stack starts it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        database = f"sqlite:///{folder / 'talweg.db'}"
        with open_store(database, create=True) as store, mlflow_server.running(folder, port=port) as url:
            yield store, database, url


def mirror_to(url: str, store: Store, **chosen: Any) -> "Mirror":
    """A mirror of the store to the MLflow server at `url`; `chosen` are the other arguments of Mirror."""
    destination = connect(url)
    # Loads MLflow, which reads the environment that `connect` sets.
    from talweg.tracking.mirror import Mirror

    return Mirror(store, destination, **chosen)


def repeat(send: Callable[[], bool]) -> None:
    """Call a mirror's `send_metrics` or `drain` until nothing is left to send."""
    while send():
        pass


def trained(
    store: Store, problem: str, optimizers: Sequence[str | dict[str, Any]], *, runs: int, steps: int
) -> tuple[StudyRow, list[RunRow]]:
    """A study of about `runs` runs, submitted and trained in this process."""
    settings, cohorts = Settings().model_copy(update={"workers": 1}), list[str]()
    seeds = max(runs // len(optimizers), 1)
    spec = {"problem": problem, "optimizers": list(optimizers), "seeds": seeds, "steps": steps}
    study = submit_study(store, parse_study(spec), publish=cohorts.append, settings=settings)
    for cohort in cohorts:
        train(store, cohort, owner="benchmark", settings=settings)
    return store.study(study.id), store.runs_of(study.id)
