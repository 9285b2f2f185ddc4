"""Two steps of the six classics from θ = 1, with g = 2 and then g = 1, worked on paper from their formulas."""

from math import sqrt
from typing import Any

import pytest

from talweg_core import optimizers

# What the paper's formula gives, written out; no rounding beyond float64's own, so 1e-15 suffices.
CASES: list[tuple[str, dict[str, Any], float, float]] = [
    # θ₁ = 1 − 0.1·2; θ₂ = θ₁ − 0.1·1
    ("sgd", {"learning_rate": 0.1}, 0.8, 0.7),
    # v₁ = 2, v₂ = 0.9·2 + 1 = 2.8
    ("momentum", {"learning_rate": 0.1, "momentum": 0.9}, 0.8, 0.8 - 0.28),
    # The first gradient enters whole, the second with weight 1 − τ = 0.5: v₂ = 0.9·2 + 0.5 = 2.3
    ("momentum", {"learning_rate": 0.1, "momentum": 0.9, "dampening": 0.5}, 0.8, 0.8 - 0.23),
    # v₁ = 2: g + μ v = 3.8; v₂ = 2.8: 1 + 0.9·2.8 = 3.52
    ("nesterov", {"learning_rate": 0.1, "momentum": 0.9}, 1 - 0.38, 1 - 0.38 - 0.352),
    # v₁ = 0.1·4 = 0.4; v₂ = 0.9·0.4 + 0.1 = 0.46
    (
        "rmsprop",
        {"learning_rate": 0.1, "rho": 0.9, "epsilon": 0.01},
        1 - 0.2 / (sqrt(0.4) + 0.01),
        1 - 0.2 / (sqrt(0.4) + 0.01) - 0.1 / (sqrt(0.46) + 0.01),
    ),
    # m̂₁ = 2, v̂₁ = 4; m₂ = 0.9·0.2 + 0.1 = 0.28, m̂₂ = 0.28 / 0.19;
    # v₂ = 0.75·1 + 0.25 = 1, v̂₂ = 1 / (1 − 0.5625)
    (
        "adam",
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.75, "epsilon": 0.5},
        1 - 0.1 * 2 / (2 + 0.5),
        1 - 0.08 - 0.1 * (0.28 / 0.19) / (sqrt(1 / 0.4375) + 0.5),
    ),
    # The same, and η λ θ = 0.1·0.5·θ taken from each.
    (
        "adamw",
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.75, "epsilon": 0.5, "weight_decay": 0.5},
        1 - 0.05 - 0.08,
        0.87 - 0.05 * 0.87 - 0.1 * (0.28 / 0.19) / (sqrt(1 / 0.4375) + 0.5),
    ),
]


@pytest.mark.parametrize(("name", "settings", "first", "second"), CASES)
def test_two_steps_are_those_worked_by_hand(
    name: str, settings: dict[str, Any], first: float, second: float, drive: Any
) -> None:
    points = drive(optimizers.create(name, **settings), [1.0], [[2.0], [1.0]])
    assert points == [pytest.approx([first], rel=1e-15), pytest.approx([second], rel=1e-15)]


def test_adam_first_step_has_size_learning_rate(drive: Any) -> None:
    adam = optimizers.create("adam", learning_rate=0.25, epsilon=0)
    assert drive(adam, [0, 0, 0], [[1e-6, -3, 1e6]]) == [pytest.approx([-0.25, 0.25, -0.25], rel=1e-15)]
