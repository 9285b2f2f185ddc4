"""The gradient check passes a correct gradient and detects one wrong coordinate."""

from typing import Any

import pytest

from talweg_core import problems
from talweg_core.checks import check_gradient
from talweg_core.errors import EngineError
from talweg_core.problems import SurfaceProblem


def wrong_in_one_of_five(x: Any, gradient: Any, constants: Any) -> Any:
    """C = ½ Σ x², with a last derivative that is 1 % too large."""
    total = 0.0
    for i in range(x.size):
        gradient[i] = x[i]
        total += 0.5 * x[i] * x[i]
    gradient[x.size - 1] *= 1.01
    return total


def test_a_right_gradient_passes() -> None:
    assert check_gradient(problems.create("quadratic")).worst < 1e-8


def test_one_derivative_that_is_wrong_by_a_hundredth_is_caught() -> None:
    problem = SurfaceProblem("wrong", wrong_in_one_of_five, [1.0] * 5, minimiser=[0.0] * 5)
    assert check_gradient(problem).worst > 1e-4


def test_the_point_may_be_chosen() -> None:
    # At the minimum both sides are 0.
    assert (
        check_gradient(problems.create("quadratic"), parameters=problems.create("quadratic").initial(0) * 0).worst
        < 1e-6
    )


def test_no_directions_are_refused() -> None:
    with pytest.raises(EngineError, match="directions: must be at least 1, got 0"):
        check_gradient(problems.create("quadratic"), directions=0)
