"""`python -m talweg.tracking`: mirror runs to MLflow until SIGTERM or SIGINT.

`python -m talweg.tracking --to URL [STUDY]` sends all runs, or those of a study, to another server and exits.
Credentials of either server come from MLflow's own variables: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
MLFLOW_TRACKING_TOKEN.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from talweg import startup

if __name__ == "__main__":
    startup.begin()

import structlog

from talweg import logs
from talweg.errors import TalwegError
from talweg.mlflow_server import check_version
from talweg.settings import Settings, settings
from talweg.store import Store, open_store
from talweg.tracking import LAST_WAIT, LAST_WAIT_FOR_ROWS, connect, keep_mirroring

if TYPE_CHECKING:
    from talweg.tracking.metrics import Budget
    from talweg.tracking.mirror import Mirror
    from talweg.tracking.rows_mirror import RowsMirror
    from talweg.tracking.run_files_process import RunFilesProcesses


def main(arguments: Sequence[str] | None = None) -> int:
    """Mirror the store at TALWEG_DATABASE_URL to the MLflow server at TALWEG_MLFLOW_URL, or once to the one of --to."""
    parser = argparse.ArgumentParser(prog="python -m talweg.tracking", description="Mirror runs to MLflow.")
    parser.add_argument("--to", metavar="URL", help="send all runs to this server, and exit")
    parser.add_argument("study", nargs="?", help="with --to: send only this study")
    given = parser.parse_args(arguments)
    if given.study is not None and given.to is None:
        parser.error(f"study {given.study!r} is given without --to; add --to URL")
    chosen = settings()
    logs.configure(chosen.log_level)
    if given.to is not None:
        return _copy(chosen, given.to, given.study)
    if chosen.database_url is None or chosen.mlflow_url is None:
        raise TalwegError("tracking: TALWEG_DATABASE_URL and TALWEG_MLFLOW_URL must be set")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_store(chosen.database_url.get_secret_value()) as store:
        mirror, longest = _mirror(chosen, store)
        startup.loaded()
        structlog.get_logger(__name__).info("mirroring", mlflow=chosen.mlflow_url)
        try:
            keep_mirroring(mirror.drain, stop, seconds=chosen.mirror_seconds, longest=longest)
        finally:
            mirror.close()
    return 0


def _mirror(chosen: Settings, store: Store) -> "tuple[Mirror | RowsMirror, float]":
    """The mirror to the server of the settings: rows where it is our own, else by REST; and its longest wait."""
    if chosen.mirror == "rows" and chosen.mlflow_database_url is not None:
        check_version(version("mlflow"))
        from talweg.tracking.mlflow_rows import MlflowRows
        from talweg.tracking.rows_mirror import RowsMirror

        rows = MlflowRows(chosen.mlflow_database_url.get_secret_value())
        return RowsMirror(store, rows, apart=True), LAST_WAIT_FOR_ROWS
    assert chosen.mlflow_url is not None
    destination = connect(chosen.mlflow_url)
    from talweg.tracking.mirror import Mirror

    mirror = Mirror(
        store,
        destination,
        budget=_budget(chosen),
        at_once=chosen.mirror_at_once,
        drawing=_run_files(chosen),
        files=chosen.mirror_files,
    )
    return mirror, LAST_WAIT


def _copy(chosen: Settings, url: str, study: str | None) -> int:
    if chosen.database_url is None:
        raise TalwegError("tracking: TALWEG_DATABASE_URL must be set")
    destination = connect(url)
    from talweg.tracking.mirror import copy_to

    startup.loaded()
    with open_store(chosen.database_url.get_secret_value()) as store:
        try:
            sent = copy_to(
                store,
                destination,
                study=study,
                budget=_budget(chosen),
                at_once=chosen.mirror_at_once,
                drawing=_run_files(chosen),
            )
        except TalwegError as error:
            sys.stderr.write(f"{error}\n")
            return error.exit_code
    sys.stdout.write(f"{sent} runs are at {url}\n")
    return 0


def _budget(chosen: Settings) -> "Budget":
    # After `connect`, which sets MLflow's variables: this import loads MLflow.
    from talweg.tracking.metrics import Budget

    return Budget(chosen.mirror_budget, chosen.mirror_study_budget)


def _run_files(chosen: Settings) -> "RunFilesProcesses | None":
    from talweg.tracking.run_files_process import RunFilesProcesses

    assert chosen.database_url is not None
    if not chosen.mirror_drawers:
        return None
    return RunFilesProcesses(chosen.database_url.get_secret_value(), chosen.mirror_drawers)


if __name__ == "__main__":
    sys.exit(main())
