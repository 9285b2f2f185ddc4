"""Initial parameters: distributions for one tensor, given its fan-in and fan-out.

Sources: Glorot & Bengio 2010, equation 16; He et al. 2015, equation 10; LeCun, Bottou, Orr & Müller 1998,
equation 16; Saxe, McClelland & Ganguli 2014 (orthogonal); Radford et al. 2018 (normal).
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


def normal(generator: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Normal with standard deviation 0.02, for any fans."""
    return generator.normal(0, 0.02, shape)


def glorot(generator: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Uniform in ±√(6 / (fan_in + fan_out))."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return generator.uniform(-bound, bound, shape)


def he(generator: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Normal with variance 2 / fan_in."""
    return generator.normal(0, math.sqrt(2 / fan_in), shape)


def lecun(generator: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """Normal with variance 1 / fan_in."""
    return generator.normal(0, math.sqrt(1 / fan_in), shape)


def orthogonal(generator: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> Array:
    """As a matrix (…, last): its rows or its columns, whichever are fewer, are orthonormal and uniformly drawn.

    Q of a Gaussian matrix's QR; the signs of R's diagonal make it uniform (Mezzadri 2007, section 5).
    """
    rows, columns = math.prod(shape[:-1]), math.prod(shape[-1:])
    q, r = np.linalg.qr(generator.normal(size=(max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    matrix: Array = q if rows >= columns else q.T
    return matrix.reshape(shape)


INITIALS: dict[str, Draw] = {draw.__name__: draw for draw in (zeros, ones, normal, glorot, he, lecun, orthogonal)}


@dataclass(frozen=True)
class Initial:
    """One tensor's shape and distribution."""

    shape: tuple[int, ...]
    name: str = "zeros"
    fan_in: int = 1
    fan_out: int = 1

    def __post_init__(self) -> None:
        """Check the name; raises UnknownName."""
        if self.name not in INITIALS:
            raise UnknownName("initial", self.name, INITIALS)

    def draw(self, generator: np.random.Generator) -> Array:
        """Draw the tensor, in float64."""
        return INITIALS[self.name](generator, self.shape, self.fan_in, self.fan_out)


def weight_initial(name: str, activation: str) -> str:
    """The name itself; for "auto", He before relu, leaky_relu, gelu, gelu_tanh, silu and elu, else Glorot."""
    if name != "auto":
        return name
    return "he" if activation in ("relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "elu") else "glorot"
