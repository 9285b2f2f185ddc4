"""Rules for one coordinate stay in the run's precision: a literal that Numba reads as float64 halves their speed."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numba
import numpy as np
import pytest

from talweg_core import optimizers
from talweg_core.optimizers.coordinate import CoordinateOptimizer, compiled

# Arithmetic on float64, or a conversion to it.
_DOUBLE = re.compile(
    r"= (?:fast |nnan |ninf )*(?:f(?:add|sub|mul|div|neg|cmp \w+) (?:\w+ )*double|fpext|sitofp.*double)\b"
)


def every_kind(kind: type[CoordinateOptimizer]) -> list[type[CoordinateOptimizer]]:
    """All rules below `kind`, including variants that are not in the catalogue."""
    return [found for below in kind.__subclasses__() for found in (below, *every_kind(below))]


def in_double(kind: type[CoordinateOptimizer]) -> list[str]:
    """The lines of a rule's machine-independent code, compiled for float32, that compute in float64."""
    # Compiled again: a kernel from the cache has no such code.
    loop = numba.njit(nogil=True, error_model="numpy")(compiled(kind)[0].py_func)  # type: ignore[attr-defined]
    row = np.zeros((1, 8), np.float32)
    ahead = np.zeros((2, len(compiled(kind)[1]), 1), np.float32)
    arguments = (np.ones(1, np.bool_), row, row.copy(), tuple(row.copy() for _ in kind.state), ahead, 0)
    signature = tuple(numba.typeof(argument) for argument in arguments)  # type: ignore[no-untyped-call]  # Numba has no types
    loop.compile(signature)
    code = loop.inspect_llvm(loop.signatures[0])
    assert "float" in code
    return [line for line in code.splitlines() if _DOUBLE.search(line)]


KINDS = [kind for kind in every_kind(CoordinateOptimizer) if kind.__module__.startswith("talweg_core")]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_rule_compiled_for_float32_computes_in_float32(kind: type[CoordinateOptimizer]) -> None:
    assert in_double(kind) == []


def test_every_listed_rule_for_one_coordinate_is_checked() -> None:
    listed = {kind for kind in optimizers.catalogue().values() if kind.needs == "coordinates"}
    assert {kind for kind in listed if kind.__module__.startswith("talweg_core")} <= set(KINDS)


@dataclass(frozen=True)
class Careless(CoordinateOptimizer):
    """A momentum with a literal 1."""

    name: ClassVar[str] = "careless"
    state: ClassVar[tuple[str, ...]] = ("m",)

    @staticmethod
    def rule(gradient: Any, m: Any, learning_rate: Any) -> Any:
        """One coordinate."""
        m = learning_rate * m + (1 - learning_rate) * gradient
        return -learning_rate * m, m


def test_a_literal_in_float64_is_detected() -> None:
    assert in_double(Careless)
