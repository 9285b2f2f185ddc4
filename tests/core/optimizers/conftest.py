"""Optimizers with the gradients that a test gives."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from talweg_core.layout import Array, Layout
from talweg_core.optimizers.base import Flags, Hyperparameters, Numbers, Optimizer, Situation

Drive = Callable[..., list[Any]]


class NoEvaluations:
    """Evaluations for rules that must make none."""

    def costs(self, points: Array, rows: Flags) -> Numbers:
        """Fail."""
        raise AssertionError("asked for costs")

    def gradient(self, points: Array, rows: Flags) -> tuple[Numbers, Array]:
        """Fail."""
        raise AssertionError("asked for a gradient")

    def hessian_product(self, vectors: Array, rows: Flags) -> Array:
        """Fail."""
        raise AssertionError("asked for a Hessian product")

    def probe(self, row: int) -> np.random.Generator:
        """Fail."""
        raise AssertionError("asked for random numbers")


@pytest.fixture
def drive() -> Drive:
    """A function of optimizer, start, gradients and shape: the parameters (P,) after each update, in float64."""
    return _drive


def _drive(
    optimizer: Optimizer,
    start: Sequence[float],
    gradients: Sequence[Sequence[float]],
    shape: tuple[int, ...] | None = None,
) -> list[Any]:
    parameters = np.array([start], dtype=np.float64)
    layout = Layout.of({"x": shape or (parameters.size,)})
    bound = optimizer.bind([optimizer], layout, parameters.dtype)
    points = []
    for k, gradient in enumerate(gradients):
        bound.update(
            Situation(
                parameters=parameters,
                costs=np.zeros(1),
                gradient=np.array([gradient], dtype=np.float64),
                updates=np.array([float(k)]),
                hyperparameters=Hyperparameters([optimizer]),
                active=np.ones(1, dtype=np.bool_),
                evaluations=NoEvaluations(),
            )
        )
        points.append(parameters[0].tolist())
    return points
