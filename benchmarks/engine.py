"""The engine compared with PyTorch and JAX: one thread, float32, Adam.

    python benchmarks/engine.py --peers PEERS.py --peers-python PYTHON    Talweg and the peers in turn
    python benchmarks/engine.py                                           Talweg alone

Add `--clock cpu` on a busy machine: it counts CPU seconds, for Talweg and the peers. Every process is pinned to one
core.

PYTHON is an interpreter with PyTorch and JAX; PEERS.py, run by it, prints one line of JSON for each measurement
(workload, peer, runs, us_per_run_step). Figures are microseconds per run-step: wall time / steps / runs, the minimum
over repeats. Machines are noisy, so each row's peers run between two measurements of Talweg; quote the ratios, Talweg
over the best peer and PyTorch eager over Talweg.

The bottleneck of each row, and the rows that miss their target (AMD EPYC with AVX-512, 2 idle cores, `--clock wall`,
one core each, NumPy's own OpenBLAS; "peer" is the best one):

* tiny-mlp, 1 run: 8.7 µs, 13 × PyTorch eager; 2.4 × slower than a loop compiled whole (JAX scan, 3.7). Nine calls from
  Python into NumPy and Numba take 2 µs of it, and the Python between them (the check for divergence, the record,
  NumPy's error state) 4; the arithmetic, 1,500 floating-point operations, is negligible.
* tiny-mlp, 256 runs: 0.65 × the peer's time. Five calls to BLAS a run for products of a few hundred operations.
* digits-mlp, 1 run: 14.5 µs, 9.0 to 9.7 × PyTorch eager, short of 10; 1.2 × slower than JAX scan (12.1). The 6 µs of
  Python as above; products 4, Adam 2, bound by the divider.
* digits-mlp, 64 runs: 0.63 × the peer's. Products are about half of 6.3 µs; Adam 1.1, 28 bytes a coordinate.
* wide-mlp: 0.95 and 0.83 × the peer's. 61 million operations in products, at 0.69 to 0.74 of what one core's BLAS
  makes of large products, in the whole step; Adam and the activations are the rest.
* digits-cnn: 0.68 and 0.44 × the peer's. Products over patches are about half of 230 µs, moving patches
  most of the rest.

A seed, and so batches, per run costs 1.4 × on tiny-mlp, 1.2 × on digits-mlp, up to 1.1 × on the wider ones: gathering
64 or 256 batches a step, and drawing as many orders an epoch.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from tables import print_rows

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

# Workload: network, batch size, steps timed, numbers of runs.
WORKLOADS: dict[str, tuple[Description, int, int, tuple[int, ...]]] = {
    "tiny-mlp": (dense(8, 2), 16, 500, (1, 256)),
    "digits-mlp": (dense(64, 10), 32, 500, (1, 64)),
    "wide-mlp": (dense(256, 256, 10), 128, 100, (1, 8)),
    "digits-cnn": (CNN, 32, 100, (1, 8)),
}

# Operations in products of one step of wide-mlp: forward, weight gradients, input gradients but for the first layer.
WIDE_OPERATIONS = 2 * 128 * (2 * 64 * 256 + 3 * 256 * 256 + 3 * 256 * 10)


def problem(workload: str) -> NetworkProblem:
    """The workload on all 1,797 digits, the same data as the peers have."""
    digits = bundled.load("digits")
    inputs, labels = digits.inputs, digits.targets
    if workload == "tiny-mlp":
        inputs, labels = inputs[:, 20:22], labels % 2
    if workload == "digits-cnn":
        inputs = inputs.reshape(-1, 1, 8, 8)
    everything = Dataset(workload, np.ascontiguousarray(inputs), labels, {"train": np.arange(len(inputs))})
    return NetworkProblem(workload, everything, WORKLOADS[workload][0], "cross_entropy")


def fastest(body: Callable[[], None], options: argparse.Namespace) -> float:
    """Seconds of one call of body, the minimum over repeats."""
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    times = []
    for _ in range(options.repeats):
        start = clock()
        body()
        times.append(clock() - start)
    return min(times)


def ours(workload: str, runs: int, *, seeds: list[int], options: argparse.Namespace) -> float:
    """Talweg's microseconds per run-step, without recording."""
    _, batch_size, steps, _ = WORKLOADS[workload]
    cohort = Cohort(problem(workload), [optimizers.create("adam")] * runs, seeds, batch_size=batch_size)

    def body() -> None:
        for _ in range(steps):
            cohort.advance()

    body()
    return fastest(body, options) / steps / runs * 1e6


def large_products(options: argparse.Namespace) -> float:
    """GFLOP/s of one core's BLAS for the product of two float32 matrices of 1024 × 1024."""
    size = 1024
    a = np.ones((size, size), np.float32)
    out = np.empty_like(a)

    def body() -> None:
        np.matmul(a, a, out=out)

    return 2 * size**3 / fastest(body, options) / 1e9


# Runs a script with a clock that counts its process's CPU time.
CPU_CLOCK = """
import runpy, sys, time
time.perf_counter = time.process_time
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def peers(workload: str, options: argparse.Namespace) -> dict[tuple[str, int], float]:
    """The peers' figures for one workload, by (peer, runs)."""
    start = ["-c", CPU_CLOCK] if options.clock == "cpu" else []
    repeats = ["--repeats", str(options.repeats)]
    command = [options.peers_python, *start, str(options.peers), "--workload", workload, *repeats]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(row["peer"], row["runs"]): row["us_per_run_step"] for row in rows}


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each workload and number of runs; Talweg is timed before and after the peers."""
    for workload in options.workload or WORKLOADS:
        counts = WORKLOADS[workload][3]

        def measured(workload: str = workload, counts: tuple[int, ...] = counts) -> dict[tuple[int, bool], float]:
            return {
                (runs, shared): ours(workload, runs, seeds=[0] * runs if shared else list(range(runs)), options=options)
                for runs in counts
                for shared in ((True, False) if runs > 1 else (True,))
            }

        before = measured()
        found = peers(workload, options) if options.peers else {}
        after = measured() if found else before
        best = {key: min(before[key], after[key]) for key in before}
        for runs in counts:
            theirs = {peer: figure for (peer, count), figure in found.items() if count == runs}
            row: dict[str, Any] = {"workload": workload, "runs": runs, "talweg": round(best[runs, True], 2)}
            row["talweg, a seed per run"] = round(best[runs, False], 2) if runs > 1 else None
            row |= theirs
            if theirs:
                row["ours / best peer"] = round(best[runs, True] / min(theirs.values()), 2)
            if "torch-eager" in theirs:
                row["torch eager / ours"] = round(theirs["torch-eager"] / best[runs, True], 1)
            yield row


def main() -> None:
    """Print a row as it is measured, as JSON; then the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workload", choices=WORKLOADS, action="append")
    parser.add_argument("--peers", type=Path, help="the script that times the peers")
    parser.add_argument("--peers-python", default=sys.executable, help="an interpreter with PyTorch and JAX")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="cpu on a busy machine")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        # The peers inherit it: with one thread requested, JAX uses two for some products.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    table = print_rows(rows(options))
    speed = large_products(options)
    print(f"\nlarge products: {speed:.0f} GFLOP/s on one core")
    for row in table:
        if row["workload"] == "wide-mlp":
            reached = WIDE_OPERATIONS / row["talweg"] / 1e3
            print(f"wide-mlp, {row['runs']} runs: {reached:.0f} GFLOP/s in a whole step, {reached / speed:.0%} of that")


if __name__ == "__main__":
    main()
