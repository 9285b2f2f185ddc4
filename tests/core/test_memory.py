"""The computed memory of a cohort is what NumPy allocates."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.memory import cohort_bytes


def held(problem: str, optimizer: str, runs: int, batch_size: int | None) -> int:
    """The bytes of NumPy's arrays for a cohort after two steps, by tracemalloc."""
    made, rule = problems.create(problem), optimizers.create(optimizer)
    rules, seeds = [rule] * runs, list(range(runs))
    # Compile the kernels first.
    Cohort(made, rules[:1], [0], batch_size=batch_size).advance()
    tracemalloc.start()
    try:
        runs_ = Cohort(made, rules, seeds, batch_size=batch_size)
        for _ in range(2):
            runs_.advance()
        only_arrays = tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)
        taken = tracemalloc.take_snapshot().filter_traces([only_arrays])
    finally:
        tracemalloc.stop()
    return sum(trace.size for trace in taken.traces)


@pytest.mark.parametrize(
    ("problem", "optimizer", "batch_size"),
    [
        ("digits-mlp", "adam", 64),
        ("digits-cnn", "adamw", 32),
        ("characters-recurrent", "sgd", 8),
        ("characters-transformer", "adam", 8),
        ("digits-vae", "momentum", None),
        ("noisy-quadratic", "rmsprop", None),
        ("wine-mlp", "lbfgs", None),
    ],
)
@pytest.mark.parametrize("runs", [1, 20])
def test_the_computed_bytes_are_those_allocated(
    problem: str, optimizer: str, batch_size: int | None, runs: int
) -> None:
    computed = cohort_bytes(problems.create(problem), optimizers.create(optimizer), runs, batch_size=batch_size)
    # A step's other arrays (costs, records) are small; scalars are computed for fewer steps where runs are many.
    assert computed == pytest.approx(held(problem, optimizer, runs, batch_size), rel=0.1, abs=100_000)


@pytest.mark.parametrize("name", [name for name in problems.names() if problems.create(name).examples])
def test_a_step_allocates_next_to_nothing(name: str) -> None:
    problem = problems.create(name)
    runs = Cohort(problem, [optimizers.create("adam")] * 2, [0, 1], batch_size=min(problem.examples, 8))
    runs.advance()
    runs.advance()
    peaks = []
    tracemalloc.start()
    try:
        for _ in range(6):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            runs.advance()
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    # A record and its flags. At some steps also a new epoch's order, or the scalars of the next steps.
    assert np.median(peaks) < 5_000


def test_float64_takes_twice_as_much_where_the_parameters_count() -> None:
    problem, rule = problems.create("deep-linear"), optimizers.create("adam")
    single, double = (cohort_bytes(problem, rule, 1000, precision=kind) for kind in ("float32", "float64"))
    assert double == pytest.approx(2 * single, rel=0.2)


def test_computing_the_bytes_compiles_nothing() -> None:
    script = """
import gc
from numba.core.dispatcher import Dispatcher
from talweg_core import optimizers, problems
from talweg_core.memory import cohort_bytes
assert cohort_bytes(problems.create("digits-mlp"), optimizers.create("adam"), 64) > 4_000_000
kernels = [kernel for kernel in gc.get_objects() if isinstance(kernel, Dispatcher)]
assert len(kernels) > 10
print(sorted({len(kernel.overloads) for kernel in kernels}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[0]\n"
