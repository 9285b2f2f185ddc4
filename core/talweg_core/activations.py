"""Scalar functions and their derivatives, side by side; layers compile them into their own loops.

Constants enter as arguments, already in the run's precision: a literal 1 would make Numba compute in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, tanh
from typing import Any

from talweg_core.errors import UnknownName


@dataclass(frozen=True)
class Activation:
    """y = value(x, *constants) and ∂y/∂x = derivative(x, y, *constants), for one coordinate."""

    name: str
    value: Callable[..., Any]
    derivative: Callable[..., Any]
    constants: tuple[float, ...] = ()


def identity(x: Any, one: Any) -> Any:
    """y = x."""
    return x


def identity_derivative(x: Any, y: Any, one: Any) -> Any:
    """1."""
    return one


def relu(x: Any, zero: Any, one: Any) -> Any:
    """y = max(0, x); NaN stays NaN, so that divergence is seen."""
    return zero if x < zero else x


def relu_derivative(x: Any, y: Any, zero: Any, one: Any) -> Any:
    """1 where y > 0, else 0 (at 0 too, as PyTorch)."""
    return one if y > zero else zero


def sigmoid(x: Any, one: Any) -> Any:
    """y = 1 / (1 + exp(−x)); exp overflows to infinity harmlessly for very negative x."""
    return one / (one + exp(-x))


def sigmoid_derivative(x: Any, y: Any, one: Any) -> Any:
    """y (1 − y)."""
    return y * (one - y)


def tanh_value(x: Any, one: Any) -> Any:
    """y = tanh x."""
    return tanh(x)


def tanh_derivative(x: Any, y: Any, one: Any) -> Any:
    """1 − y²."""
    return one - y * y


ACTIVATIONS = {
    activation.name: activation
    for activation in (
        Activation("identity", identity, identity_derivative, (1.0,)),
        Activation("relu", relu, relu_derivative, (0.0, 1.0)),
        Activation("sigmoid", sigmoid, sigmoid_derivative, (1.0,)),
        Activation("tanh", tanh_value, tanh_derivative, (1.0,)),
    )
}


def activation(name: str) -> Activation:
    """The activation of that name; raises UnknownName."""
    if name not in ACTIVATIONS:
        raise UnknownName("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
