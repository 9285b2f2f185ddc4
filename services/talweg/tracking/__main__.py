"""`python -m talweg.tracking`: carries runs to MLflow until it is told to stop."""

import signal
import sys
import threading

import structlog

from talweg.errors import TalwegError
from talweg.settings import settings
from talweg.store import open_store
from talweg.tracking import connect
from talweg.tracking.loop import keep_mirroring


def main() -> int:
    """Mirror the store at TALWEG_DATABASE_URL to the MLflow server at TALWEG_MLFLOW_URL."""
    chosen = settings()
    if chosen.database_url is None or chosen.mlflow_url is None:
        raise TalwegError("tracking: TALWEG_DATABASE_URL and TALWEG_MLFLOW_URL must be set")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    destination = connect(chosen.mlflow_url)
    with open_store(chosen.database_url.get_secret_value()) as store:
        from talweg.tracking.mirror import Mirror

        mirror = Mirror(store, destination, budget=chosen.mirror_budget)
        structlog.get_logger(__name__).info("mirroring", mlflow=chosen.mlflow_url)
        keep_mirroring(mirror.drain, stop, seconds=chosen.mirror_seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
