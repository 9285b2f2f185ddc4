"""Activation functions and their derivatives for one coordinate; layers compile them into their loops.

Constants are arguments, in the run's precision: a literal 1 would make Numba compute in float64.
Every function returns NaN for NaN, so that divergence is detected.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import erf, exp, log1p, tanh
from typing import Any

from talweg_core.errors import UnknownName


@dataclass(frozen=True)
class Activation:
    """y = value(x, *constants) and ∂y/∂x = derivative(x, y, *constants), for one coordinate.

    Where `needs_input` is set, the derivative reads x and the layer keeps it; otherwise the layer may pass y as x.
    """

    name: str
    value: Callable[..., Any]
    derivative: Callable[..., Any]
    constants: tuple[float, ...] = ()
    needs_input: bool = False


def identity(x: Any, one: Any) -> Any:
    """y = x."""
    return x


def identity_derivative(x: Any, y: Any, one: Any) -> Any:
    """1."""
    return one


def relu(x: Any, zero: Any, one: Any) -> Any:
    """y = max(0, x)."""
    return zero if x < zero else x


def relu_derivative(x: Any, y: Any, zero: Any, one: Any) -> Any:
    """1 where y > 0, else 0 (0 at x = 0, as in PyTorch)."""
    return one if y > zero else zero


def leaky_relu(x: Any, zero: Any, one: Any, slope: Any) -> Any:
    """y = x where x > 0, else x / 100. Source: Maas, Hannun & Ng 2013."""
    return slope * x if x < zero else x


def leaky_relu_derivative(x: Any, y: Any, zero: Any, one: Any, slope: Any) -> Any:
    """1 where y > 0, else 1 / 100; y has the sign of x."""
    return one if y > zero else slope


def elu(x: Any, zero: Any, one: Any) -> Any:
    """y = x where x > 0, else exp(x) − 1. Source: Clevert, Unterthiner & Hochreiter 2016, equation 15, α = 1."""
    return x if x > zero else math.expm1(x)


def elu_derivative(x: Any, y: Any, zero: Any, one: Any) -> Any:
    """1 where y > 0, else exp(x) = y + 1."""
    return one if y > zero else y + one


def gelu(x: Any, one: Any, half: Any, root: Any, density: Any) -> Any:
    """y = x Φ(x), with Φ(x) = ½ (1 + erf(x / √2)). Source: Hendrycks & Gimpel 2016."""
    return x * half * (one + erf(x * root))


def gelu_derivative(x: Any, y: Any, one: Any, half: Any, root: Any, density: Any) -> Any:
    """Φ(x) + x φ(x), with φ(x) = exp(−x² / 2) / √2π."""
    return half * (one + erf(x * root)) + x * density * exp(-half * x * x)


def gelu_tanh(x: Any, one: Any, two: Any, scale: Any, cubic: Any, three: Any) -> Any:
    """y = ½ x (1 + tanh u) = x σ(2 u), u = √(2/π) (x + 0.044715 x³). Source: Hendrycks & Gimpel 2016, section 2.

    Computed with σ, since exp takes a sixth of the time of tanh.
    """
    return x / (one + exp(-two * scale * (x + cubic * x * x * x)))


def gelu_tanh_derivative(x: Any, y: Any, one: Any, two: Any, scale: Any, cubic: Any, three: Any) -> Any:
    """σ + x σ (1 − σ) 2 √(2/π) (1 + 3 · 0.044715 x²), σ = σ(2 u)."""
    s = one / (one + exp(-two * scale * (x + cubic * x * x * x)))
    return s + x * s * (one - s) * two * scale * (one + three * cubic * x * x)


def silu(x: Any, one: Any) -> Any:
    """y = x σ(x). Source: Elfwing, Uchibe & Doya 2018."""
    return x / (one + exp(-x))


def silu_derivative(x: Any, y: Any, one: Any) -> Any:
    """σ + x σ (1 − σ), with σ = 1 / (1 + exp(−x))."""
    s = one / (one + exp(-x))
    return s * (one + x * (one - s))


def sigmoid(x: Any, one: Any) -> Any:
    """y = 1 / (1 + exp(−x)). For very negative x, exp overflows to infinity and y is 0, as it should be."""
    return one / (one + exp(-x))


def sigmoid_derivative(x: Any, y: Any, one: Any) -> Any:
    """y (1 − y)."""
    return y * (one - y)


def softplus(x: Any, zero: Any, one: Any) -> Any:
    """y = log(1 + exp x), as max(x, 0) + log(1 + exp −|x|), which cannot overflow. Source: Dugas et al. 2001."""
    return (x if x > zero else zero) + log1p(exp(-abs(x)))


def softplus_derivative(x: Any, y: Any, zero: Any, one: Any) -> Any:
    """1 / (1 + exp −x)."""
    return one / (one + exp(-x))


def tanh_value(x: Any, one: Any) -> Any:
    """y = tanh x."""
    return tanh(x)


def tanh_derivative(x: Any, y: Any, one: Any) -> Any:
    """1 − y²."""
    return one - y * y


_ROOT, _DENSITY, _SCALE = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi), math.sqrt(2 / math.pi)

ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("elu", elu, elu_derivative, (0.0, 1.0)),
        Activation("gelu", gelu, gelu_derivative, (1.0, 0.5, _ROOT, _DENSITY), needs_input=True),
        Activation("gelu_tanh", gelu_tanh, gelu_tanh_derivative, (1.0, 2.0, _SCALE, 0.044715, 3.0), needs_input=True),
        Activation("identity", identity, identity_derivative, (1.0,)),
        Activation("leaky_relu", leaky_relu, leaky_relu_derivative, (0.0, 1.0, 0.01)),
        Activation("relu", relu, relu_derivative, (0.0, 1.0)),
        Activation("sigmoid", sigmoid, sigmoid_derivative, (1.0,)),
        Activation("silu", silu, silu_derivative, (1.0,), needs_input=True),
        Activation("softplus", softplus, softplus_derivative, (0.0, 1.0), needs_input=True),
        Activation("tanh", tanh_value, tanh_derivative, (1.0,)),
    )
}


def activation(name: str) -> Activation:
    """The activation of that name; raises UnknownName."""
    if name not in ACTIVATIONS:
        raise UnknownName("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
