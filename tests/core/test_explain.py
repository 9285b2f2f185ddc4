"""The explanation of one derivative in words."""

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.errors import EngineError
from talweg_core.explain import explain


def at_start(problem: str, precision: str = "float32") -> Cohort:
    """Adam before its first step."""
    return Cohort(problems.create(problem), [optimizers.create("adam")], [0], precision=precision)  # type: ignore[arg-type]  # one of the two


def test_the_example_that_must_always_work() -> None:
    found = explain(at_start("two-layer-line"), 0, "dense1.weight", (0, 0), update=-0.001)
    assert (found.parameter, found.cost, found.nudged_cost, found.derivative) == (1, 3, 6, 3)
    assert found.sentence == (
        "Raising `dense1.weight` from 1 to 2 raises the cost from 3 to 6, so the derivative is 3: the cost moves "
        "three times as much as the weight. Adam made an update of −0.001."
    )


def test_prediction_and_recomputed_cost_are_both_given_where_they_differ() -> None:
    found = explain(at_start("rosenbrock"), 0, "x", (0,), update=0.0, nudge=1.0)
    assert found.predicted_cost != pytest.approx(found.nudged_cost, rel=0.1)
    assert "so the derivative" not in found.sentence


def test_prediction_and_recomputed_cost_converge_as_the_nudge_shrinks() -> None:
    cohort = at_start("digits-mlp", "float64")
    errors = []
    for nudge in (1e-1, 1e-2, 1e-3):
        found = explain(cohort, 0, "dense2.weight", (3, 5), update=0.0, nudge=nudge)
        errors.append(abs(found.nudged_cost - found.predicted_cost))
    # A first-order prediction errs by O(δ²): a tenth of the nudge, a hundredth of the error.
    assert errors[1] == pytest.approx(errors[0] / 100, rel=0.2)
    assert errors[2] == pytest.approx(errors[1] / 100, rel=0.2)


@pytest.mark.parametrize("nudge", [0.0, float("nan"), float("inf")])
def test_a_nudge_that_is_zero_or_not_finite_is_refused(nudge: float) -> None:
    with pytest.raises(EngineError, match="nudge: must be finite and not 0"):
        explain(at_start("two-layer-line"), 0, "dense1.weight", (0, 0), update=0.0, nudge=nudge)


@pytest.mark.parametrize("name", problems.names())
def test_the_predicted_change_converges_to_the_true_one(name: str) -> None:
    """The derivative predicts the cost with an error of O(δ²): a tenth of the nudge gives a hundredth of the error."""
    cohort = Cohort(problems.create(name), [optimizers.create("adam")], [1], precision="float64")
    for _ in range(3):
        cohort.advance()
    layout = cohort.problem.layout
    _, gradient = cohort.gradient()
    largest = int(np.abs(gradient[0]).argmax())
    tensor = next(n for n in layout.names if layout.slice(n).start <= largest < layout.slice(n).stop)
    shape = layout.shapes[layout.names.index(tensor)]
    index = tuple(int(i) for i in np.unravel_index(largest - layout.slice(tensor).start, shape)) if shape else ()
    errors = []
    for nudge in (1e-3, 1e-4, 1e-5):
        found = explain(cohort, 0, tensor, index, update=0.0, nudge=nudge)
        assert found.predicted_cost == found.cost + nudge * found.derivative
        errors.append(abs(found.nudged_cost - found.predicted_cost) / nudge)
    # Costs are rounded to about 1e-16 of their size, and a difference of two is divided by the nudge.
    rounding = 1e-15 * max(1.0, abs(found.cost)) / 1e-5
    assert errors[1] <= 0.2 * errors[0] + rounding
    assert errors[2] <= 0.2 * errors[1] + rounding
