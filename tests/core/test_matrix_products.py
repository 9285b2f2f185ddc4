"""Products inside kernels have the bits of np.matmul."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from talweg_core import Cohort, matrix_products, optimizers, problems
from talweg_core.compilation import kernel
from talweg_core.layers import dense
from talweg_core.layout import Array
from talweg_core.randomness import stream


@kernel
def three(gemm: int, m: int, k: int, n: int, a: Any, b: Any, flipped_a: Any, flipped_b: Any, out: Any) -> None:
    """All three products: plain, left transposed, right transposed."""
    matrix_products.multiply(gemm, m, k, n, a, b, out[0])
    matrix_products.multiply_left_transposed(gemm, m, k, n, flipped_a, b, out[1])
    matrix_products.multiply_right_transposed(gemm, m, k, n, a, flipped_b, out[2])


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_product_has_the_bits_of_matmul(precision: str) -> None:
    generator = stream(0, "check", 3)
    for m, k, n in generator.integers(2, 100, (200, 3)):
        gemm = matrix_products.address(np.dtype(precision), m, k, n)
        # NumPy's wheels contain OpenBLAS under these names, except on a Mac, where it is Accelerate.
        assert gemm or matrix_products.address(np.dtype(precision), 2) == 0
        if gemm:
            a: Array = generator.normal(size=(m, k)).astype(precision)
            b: Array = generator.normal(size=(k, n)).astype(precision)
            out = np.empty((3, m, n), precision)
            flipped_a, flipped_b = np.ascontiguousarray(a.T), np.ascontiguousarray(b.T)
            three(gemm, m, k, n, a, b, flipped_a, flipped_b, out)
            assert np.array_equal(out, [a @ b, flipped_a.T @ b, a @ flipped_b.T])


def test_training_and_the_fingerprint_take_blas_to_one_thread() -> None:
    script = """
import numpy, time
from talweg_core import Cohort, numerics, optimizers, problems
runs = Cohort(problems.create("wine-mlp"), [optimizers.create("sgd")], [0])
a = numpy.ones((1500, 1500))
start, busy = time.perf_counter(), time.process_time()
for _ in range(3):
    a @ a
print((time.process_time() - busy) / (time.perf_counter() - start), numerics.fingerprint()["blas"]["threads"])
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    cores, threads = done.stdout.split()
    if matrix_products.one_thread():
        # CPU time over wall time: at most one core, for any number of cores and any other load.
        assert float(cores) < 1.2
        assert threads == "1"


def test_a_product_with_a_size_of_1_is_left_to_matmul() -> None:
    assert matrix_products.address(np.dtype("float32"), 32, 1, 10) == 0


@pytest.mark.parametrize("name", ["digits-mlp", "digits-autoencoder", "characters-transformer", "deep-linear"])
def test_a_run_has_the_same_bits_where_blas_has_no_address(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> Cohort:
        runs = Cohort(problems.create(name), [optimizers.create("adam")] * 2, [0, 1], batch_size=8)
        for _ in runs.run(3):
            pass
        return runs

    found = trained()
    monkeypatch.setattr(dense, "address", lambda *_: 0)
    assert np.array_equal(trained().parameters, found.parameters)
