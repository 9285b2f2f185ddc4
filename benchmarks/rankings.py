"""Ranking and verdict of sweeps: seconds, and the API's memory, by the number of runs.

    python benchmarks/rankings.py [--runs 200,2000,20000] [--steps 20] [--problem digits-mlp]

Each sweep has 20 seeds of runs/20 settings of Adam, trained on a local stack in a temporary folder. `ranking cold` is
the first answer to a request for the ranking with its verdict, `again` is the second; then the last run of all
(`study.runs[-1]`), the first ten, and the costs of one. The project requires 5 seconds and 1 GB for 20,000 runs, and a
time that is nearly linear.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from talweg import Lab, Study
from talweg.local import status, stop

SEEDS = 20


def seconds(work: Callable[[], object]) -> float:
    """Seconds that the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def memory(home: Path) -> float:
    """Greatest resident megabytes of the API's process so far."""
    state = status(home)
    api = None if state is None else state.child("api")
    assert api is not None
    lines = Path(f"/proc/{api.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def sweep(runs: int) -> list[dict[str, object]]:
    """So many runs over `SEEDS`: settings of Adam, a grid of learning rates and β₂."""
    count = runs // SEEDS
    rates = max(1, count // 10)
    return [
        {"name": "adam", "learning_rate": 10 ** (-4 + 3 * (i // 10) / rates), "beta2": 1 - 10 ** (-1 - (i % 10) / 4)}
        for i in range(count)
    ]


def measured(study: Study, home: Path) -> str:
    """The times of one study, in words."""
    before = memory(home)
    times = {
        "ranking cold": seconds(lambda: study.verdict),
        "again": seconds(study.ranking),
        "last run": seconds(lambda: study.runs[-1]),
        "ten runs": seconds(lambda: study.runs[:10]),
        "costs of one": seconds(lambda: study.runs[0].costs),
    }
    listed = ", ".join(f"{name} {value:.2f} s" for name, value in times.items())
    return f"{listed}; memory of the API {before:.0f} → {memory(home):.0f} MB"


def main() -> None:
    """Print one line for each number of runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="200,2000,20000")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--problem", default="digits-mlp")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            with Lab(home=home) as lab:
                for count in map(int, arguments.runs.split(",")):
                    start = time.perf_counter()
                    study = lab.compare(
                        problem=arguments.problem,
                        name=f"sweep-{count}",
                        optimizers=sweep(count),
                        seeds=SEEDS,
                        steps=arguments.steps,
                        record="replay",
                    )
                    study.wait()
                    print(f"{count:7,} runs: trained in {time.perf_counter() - start:.1f} s; {measured(study, home)}")
                    print(f"        {study.verdict}", flush=True)
        finally:
            stop(home)


if __name__ == "__main__":
    main()
