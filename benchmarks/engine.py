"""The engine against what a user would pick instead: PyTorch and JAX, one thread, float32, Adam.

    python benchmarks/engine.py --peers PEERS.py --peers-python PYTHON    ours and the peers' in turn
    python benchmarks/engine.py                                           ours alone

PEERS.py prints one JSON object a line (workload, peer, runs, us_per_run_step) when it is run by PYTHON, an
interpreter of an environment of its own that holds PyTorch and JAX. Figures are microseconds per run-step: wall
time / steps / runs, the minimum over repeats. Machines are noisy, so each row's peers run right beside it, and
the last column, ours over the best peer, is what to quote.

What bounds each row:

* tiny-mlp, 1 run: some thirty calls from Python into NumPy and Numba, a microsecond each. The arithmetic, 1,500
  floating-point operations, is nothing. A compiled loop (JAX scan) is ahead for that reason.
* tiny-mlp, 256 runs: products of 16 × 2 by 2 × 8, a call to BLAS each.
* digits-mlp, 1 run: the same calls from Python, and 12 microseconds of products.
* digits-mlp, 64 runs: 0.65 million operations in products; memory traffic of Adam, 28 bytes a coordinate.
* wide-mlp: 65 million operations in products, at the speed of BLAS; little else.
* digits-cnn: products over patches, and moving the patches.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from talweg_core import Cohort, optimizers
from talweg_core.data import Dataset
from talweg_core.problems import NetworkProblem, bundled

Description = list[dict[str, Any]]

RELU = {"layer": "relu"}


def dense(*widths: int) -> Description:
    """Dense layers of these widths with relu between them."""
    layers: Description = []
    for width in widths:
        layers += [{"layer": "dense", "units": width}, RELU]
    return layers[:-1]


CNN: Description = [
    {"layer": "conv2d", "channels": 16},
    RELU,
    {"layer": "conv2d", "channels": 32},
    RELU,
    {"layer": "flatten"},
    *dense(64, 10),
]

# workload: network, batch size, steps timed, numbers of runs
WORKLOADS: dict[str, tuple[Description, int, int, tuple[int, ...]]] = {
    "tiny-mlp": (dense(8, 2), 16, 500, (1, 256)),
    "digits-mlp": (dense(64, 10), 32, 500, (1, 64)),
    "wide-mlp": (dense(256, 256, 10), 128, 100, (1, 8)),
    "digits-cnn": (CNN, 32, 100, (1, 8)),
}


def problem(workload: str) -> NetworkProblem:
    """The workload on all 1,797 digits, as the peers see them."""
    digits = bundled.load("digits")
    inputs, labels = digits.inputs, digits.targets
    if workload == "tiny-mlp":
        inputs, labels = inputs[:, 20:22], labels % 2
    if workload == "digits-cnn":
        inputs = inputs.reshape(-1, 1, 8, 8)
    everything = Dataset(workload, np.ascontiguousarray(inputs), labels, {"train": np.arange(len(inputs))})
    return NetworkProblem(workload, everything, WORKLOADS[workload][0], "cross_entropy")


def ours(workload: str, runs: int, *, seeds: list[int], repeats: int) -> float:
    """Microseconds per run-step, recording nothing."""
    _, batch_size, steps, _ = WORKLOADS[workload]
    cohort = Cohort(problem(workload), [optimizers.create("adam")] * runs, seeds, batch_size=batch_size)
    for _ in range(10):
        cohort.advance()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(steps):
            cohort.advance()
        times.append(time.perf_counter() - start)
    return min(times) / steps / runs * 1e6


def peers(script: Path, python: str, workload: str, repeats: int) -> dict[tuple[str, int], float]:
    """The peers' figures for one workload, by (peer, runs)."""
    command = [python, str(script), "--workload", workload, "--repeats", str(repeats)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(row["peer"], row["runs"]): row["us_per_run_step"] for row in rows}


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row a workload and number of runs."""
    for workload in options.workload or WORKLOADS:
        found = peers(options.peers, options.peers_python, workload, options.repeats) if options.peers else {}
        for runs in WORKLOADS[workload][3]:
            shared = ours(workload, runs, seeds=[0] * runs, repeats=options.repeats)
            own = ours(workload, runs, seeds=list(range(runs)), repeats=options.repeats) if runs > 1 else None
            beside = {peer: figure for (peer, count), figure in found.items() if count == runs}
            yield {
                "workload": workload,
                "runs": runs,
                "talweg": round(shared, 2),
                "talweg, a seed per run": round(own, 2) if own else None,
                **beside,
                "ratio to the best peer": round(shared / min(beside.values()), 2) if beside else None,
            }


def main() -> None:
    """Print a row as it is measured, as JSON; then the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workload", choices=WORKLOADS, action="append")
    parser.add_argument("--peers", type=Path, help="the script that times the peers")
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has them")
    parser.add_argument("--repeats", type=int, default=5)
    table = []
    for row in rows(parser.parse_args()):
        print(json.dumps(row), flush=True)
        table.append(row)
    columns = list(dict.fromkeys(key for row in table for key in row))
    print("\n| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for row in table:
        print("| " + " | ".join("" if row.get(key) is None else str(row[key]) for key in columns) + " |")


if __name__ == "__main__":
    main()
