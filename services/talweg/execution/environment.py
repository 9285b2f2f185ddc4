"""What a process that computes must have in its environment before NumPy is imported."""

import os
import sys
from collections.abc import Mapping
from typing import Literal

# Two threads give other bits than one, and several processes with several threads each fight over the cores.
_BLAS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_ONE_THREAD = dict.fromkeys(_BLAS, "1")
# Kernels that every x86-64 machine with AVX2 has. Others ignore these names.
_PORTABLE = {
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "NUMBA_CPU_NAME": "haswell",
}


def numerics_environment(profile: Literal["native", "portable"]) -> dict[str, str]:
    """The variables under which a process computes: one BLAS thread, and under `portable` fixed kernels."""
    return _ONE_THREAD | (_PORTABLE if profile == "portable" else {})


def ensure(profile: Literal["native", "portable"], module: str, environment: Mapping[str, str] = os.environ) -> None:
    """Start this process again as `python -m module` where its environment differs; then it does not return."""
    wanted = numerics_environment(profile)
    if any(environment.get(name) != value for name, value in wanted.items()):
        arguments = [sys.executable, "-m", module, *sys.argv[1:]]
        os.execve(sys.executable, arguments, {**environment, **wanted})  # noqa: S606 - ourselves, no shell
