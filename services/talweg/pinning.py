"""What a process that computes must have in its environment before NumPy is imported."""

import platform
from typing import Literal

# Two BLAS threads give other bits than one, and several processes with several threads each fight over the cores.
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS"),
    "1",
)
# Every x86-64 host with AVX2 computes the same bits. NUMBA_CPU_FEATURES must be there, and empty: without it Numba
# adds the features of the host to those of the CPU that NUMBA_CPU_NAME names.
PORTABLE = {
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "",
}


def numerics_environment(profile: Literal["native", "portable"]) -> dict[str, str]:
    """The variables under which a process computes: one BLAS thread, and under `portable` fixed kernels."""
    fixed = profile == "portable" and platform.machine() == "x86_64"
    return ONE_THREAD | (PORTABLE if fixed else {})
