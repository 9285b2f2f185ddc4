"""The numerical environment on which a run's last bits depend: libraries, kernels, threads."""

import os
import platform
from typing import Any

import numba
import numpy as np

from talweg_core.matrix_products import one_thread


def fingerprint() -> dict[str, Any]:
    """NumPy, Numba, BLAS with its kernels and threads, CPU features, as plain data; where it is equal, bits are."""
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    used = [*simd.get("baseline", ()), *simd.get("found", ())]
    return {
        "numpy": np.__version__,
        "numba": numba.__version__,
        "blas": _blas(),
        "machine": platform.machine(),
        "cpu": os.environ.get("NUMBA_CPU_NAME") or _llvm_cpu(),
        "features": used,
    }


def _llvm_cpu() -> str:
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name())


def _blas() -> dict[str, Any]:
    """Name, version, kernels and threads of the BLAS behind np.matmul."""
    build = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    threads = (
        "1" if one_thread() else os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or "all"
    )
    return {
        "name": build.get("name"),
        "version": build.get("version"),
        "kernels": os.environ.get("OPENBLAS_CORETYPE", "host"),
        "threads": threads,
    }
