"""How parameters begin: draws of one tensor, given its fans.

Sources: Glorot & Bengio 2010, equation 16; He et al. 2015, equation 10.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from talweg_core.errors import UnknownName
from talweg_core.layout import Array

Draw = Callable[[np.random.Generator, tuple[int, ...], int, int], Array]


def zeros(generator: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """All 0."""
    return np.zeros(shape)


def ones(generator: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """All 1."""
    return np.ones(shape)


def glorot(generator: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Uniform in ±√(6 / (fan_in + fan_out))."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return generator.uniform(-bound, bound, shape)


def he(generator: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Normal with variance 2 / fan_in."""
    return generator.normal(0, math.sqrt(2 / fan_in), shape)


INITIALS: dict[str, Draw] = {draw.__name__: draw for draw in (zeros, ones, glorot, he)}


@dataclass(frozen=True)
class Initial:
    """One tensor's shape and how it is drawn."""

    shape: tuple[int, ...]
    name: str = "zeros"
    fan_in: int = 1
    fan_out: int = 1

    def draw(self, generator: np.random.Generator) -> Array:
        """The tensor in float64; raises UnknownName."""
        if self.name not in INITIALS:
            raise UnknownName("initial", self.name, INITIALS)
        return INITIALS[self.name](generator, self.shape, self.fan_in, self.fan_out)
