"""Matrix products inside compiled kernels, by NumPy's BLAS.

A call of np.matmul takes most of a microsecond before BLAS starts, longer than a small network's product takes. So a
kernel calls BLAS directly, at the function's address in NumPy's library. Where that library has no function of the
known names (Apple's Accelerate, MKL), the address is 0 and layers call np.matmul.

np.matmul calls `gemm` only where none of the three sizes is 1, and so do layers here: both give the same bits.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from talweg_core.compilation import scalar

_NAMES = {"float32": "scipy_cblas_sgemm64_", "float64": "scipy_cblas_dgemm64_"}
_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112


def address(dtype: np.dtype[Any], *sizes: int) -> int:
    """The address of `gemm` in this precision, for products of these sizes; 0 where np.matmul must be called."""
    return _address(dtype.name) if min(sizes) > 1 else 0


@cache
def _address(name: str) -> int:
    function = _function(_NAMES[name])
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


@cache
def one_thread() -> bool:
    """Set NumPy's BLAS to one thread, in the whole process; returns whether this BLAS has the function for it.

    Two threads give other bits than one, and on shared cores take several times as long. Without that function, set
    OMP_NUM_THREADS=1 in the environment before NumPy is imported.
    """
    function = _function("scipy_openblas_set_num_threads64_")
    if function is not None:
        function(1)
    return function is not None


def _function(name: str) -> Any:
    # A symbol is also found in the libraries that this one is linked against, and NumPy's BLAS is one of them.
    library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]  # private, but the only name
    return getattr(library, name, None)


def _call(typing: Any, gemm: Any, flips: Any, sizes: Any, one: Any, a: Any, b: Any, zero: Any, c: Any) -> Any:
    """cblas_?gemm(row major, *flips, m, n, k, one, a, lda, b, ldb, zero, c, ldc); sizes: m, n, k, lda, ldb, ldc."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, flag, pointer = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()

        def unpacked(packed: Any, length: int) -> list[Any]:
            return [builder.extract_value(packed, k) for k in range(length)]

        where, both, lengths, one, *addresses = arguments
        left, right = (builder.trunc(flip, flag) for flip in unpacked(both, 2))
        m, n, k, lda, ldb, ldc = unpacked(lengths, 6)
        first, second, zero, out = addresses
        number = one.type
        kinds = [flag, flag, flag, word, word, word, number, pointer, word, pointer, word, number, pointer, word]
        function = builder.inttoptr(where, ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        a, b, c = (builder.inttoptr(integer, pointer) for integer in (first, second, out))
        order = ir.Constant(flag, _ROW_MAJOR)
        builder.call(function, [order, left, right, m, n, k, one, a, lda, b, ldb, zero, c, ldc])
        return context.get_dummy_value()

    return types.void(gemm, flips, sizes, one, a, b, zero, c), generate


_gemm: Callable[..., None] = intrinsic(_call)


@scalar
def multiply(gemm: int, m: int, k: int, n: int, a: Any, b: Any, c: Any) -> None:
    """Write c (m, n) = a (m, k) b (k, n); all three are contiguous; buffers may be longer."""
    one, zero = c.dtype.type(1), c.dtype.type(0)
    sizes = m, n, k, k, n, n
    _gemm(gemm, (_PLAIN, _PLAIN), sizes, one, a.ctypes.data, b.ctypes.data, zero, c.ctypes.data)


@scalar
def multiply_left_transposed(gemm: int, m: int, k: int, n: int, a: Any, b: Any, c: Any) -> None:
    """Write c (m, n) = aᵀ b for a (k, m) and b (k, n)."""
    one, zero = c.dtype.type(1), c.dtype.type(0)
    sizes = m, n, k, m, n, n
    _gemm(gemm, (_TRANSPOSED, _PLAIN), sizes, one, a.ctypes.data, b.ctypes.data, zero, c.ctypes.data)


@scalar
def multiply_right_transposed(gemm: int, m: int, k: int, n: int, a: Any, b: Any, c: Any) -> None:
    """Write c (m, n) = a bᵀ for a (m, k) and b (n, k)."""
    one, zero = c.dtype.type(1), c.dtype.type(0)
    sizes = m, n, k, k, k, n
    _gemm(gemm, (_PLAIN, _TRANSPOSED), sizes, one, a.ctypes.data, b.ctypes.data, zero, c.ctypes.data)
