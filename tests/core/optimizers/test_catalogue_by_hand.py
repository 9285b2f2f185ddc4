"""Steps worked by hand: two of each rule for one coordinate, and of each rule without a reference in a library."""

from math import sqrt
from typing import Any

import numpy as np
import pytest

from talweg_core import optimizers

# From θ = 1, with g = 2 and then g = 1, by the paper's formula; float64 alone rounds, so 1e-15 suffices.
CASES: list[tuple[str, dict[str, Any], float, float]] = [
    # θ₁ = 1 − 0.1·2; θ₂ = θ₁ − 0.1·1
    ("sgd", {"learning_rate": 0.1}, 0.8, 0.7),
    # v₁ = 2, v₂ = 0.9·2 + 1 = 2.8
    ("momentum", {"learning_rate": 0.1, "momentum": 0.9}, 0.8, 0.8 - 0.28),
    # The first gradient has the weight 1, the second 1 − τ = 0.5: v₂ = 0.9·2 + 0.5 = 2.3
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
    # The same, minus η λ θ = 0.1·0.5·θ each.
    (
        "adamw",
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.75, "epsilon": 0.5, "weight_decay": 0.5},
        1 - 0.05 - 0.08,
        0.87 - 0.05 * 0.87 - 0.1 * (0.28 / 0.19) / (sqrt(1 / 0.4375) + 0.5),
    ),
    # The sign stays: Δ₁ = 0.1, Δ₂ = 1.2·0.1
    ("rprop", {"learning_rate": 0.1}, 1 - 0.1, 1 - 0.1 - 0.12),
    # s₁ = 4, s₂ = 5; the rate of the second is 0.1 / (1 + 1·0.25)
    (
        "adagrad",
        {"learning_rate": 0.1, "learning_rate_decay": 0.25, "epsilon": 0.5},
        1 - 0.2 / 2.5,
        1 - 0.08 - 0.08 / (sqrt(5) + 0.5),
    ),
    # v₁ = 0.4, Δ₁ = √(0.5 / 0.9)·2, u₁ = 0.1 Δ₁² = 0.1·4·5/9 = 2/9; v₂ = 0.46, Δ₂ = √((2/9 + 0.5) / 0.96)
    (
        "adadelta",
        {"learning_rate": 0.5, "rho": 0.9, "epsilon": 0.5},
        1 - sqrt(5 / 9),
        1 - sqrt(5 / 9) - 0.5 * sqrt((2 / 9 + 0.5) / 0.96),
    ),
    # u₁ = 2.5; m₂ / (1 − 0.81) = 0.28 / 0.19, u₂ = max(0.75·2.5, 1.5) = 1.875
    (
        "adamax",
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.75, "epsilon": 0.5},
        1 - 0.1 * 2 / 2.5,
        0.92 - 0.1 * (0.28 / 0.19) / 1.875,
    ),
    # v₁ = 0.75·4 = 3, v₂ = 0.25·3 + 0.75 = 1.5, so that w₂ = 3
    (
        "amsgrad",
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.25, "epsilon": 0.5},
        1 - 0.1 * 2 / 2.5,
        0.92 - 0.1 * (0.28 / 0.19) / (sqrt(3 / 0.9375) + 0.5),
    ),
    # ψ = 0: μ = 0.8·½ = 0.4 throughout, Π₁ = 0.4, Π₂ = 0.16, Π₃ = 0.064; m₁ = 0.4, m₂ = 0.32 + 0.2 = 0.52
    (
        "nadam",
        {"learning_rate": 0.1, "beta1": 0.8, "beta2": 0.75, "epsilon": 0.5, "momentum_decay": 0},
        1 - 0.1 * (0.6 * 2 / 0.6 + 0.4 * 0.4 / 0.84) / 2.5,
        1
        - 0.1 * (0.6 * 2 / 0.6 + 0.4 * 0.4 / 0.84) / 2.5
        - 0.1 * (0.6 * 1 / 0.84 + 0.4 * 0.52 / 0.936) / (sqrt(1 / 0.4375) + 0.5),
    ),
    # ρ∞ = 2 / 0.25 − 1 = 7: ρ₁ and ρ₂ are below 5, so the update is η m̂ alone
    ("radam", {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.75}, 0.8, 0.8 - 0.1 * 0.28 / 0.19),
    # s₁ = 0.25·(2 − 0.2)² = 0.81; s₂ = 0.75·0.81 + 0.25·(1 − 0.28)² = 0.7371
    (
        "adabelief",
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.75, "epsilon": 0.5, "epsilon_root": 0},
        1 - 0.1 * 2 / (1.8 + 0.5),
        1 - 0.2 / 2.3 - 0.1 * (0.28 / 0.19) / (sqrt(0.7371 / 0.4375) + 0.5),
    ),
    # From 0: v₁ = 0.25·4 = 1, v̂₁ = 4; then v = g² = 1 and stays, v̂₂ = 1 / 0.4375
    (
        "yogi",
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.75, "epsilon": 0.5, "initial_accumulator": 0},
        1 - 0.08,
        0.92 - 0.1 * (0.28 / 0.19) / (sqrt(1 / 0.4375) + 0.5),
    ),
    # Signs, and η λ θ = 0.1·0.5·θ
    ("lion", {"learning_rate": 0.1, "weight_decay": 0.5}, 1 - 0.1 - 0.05, 0.85 - 0.1 - 0.05 * 0.85),
    # d₂ = 1 − 2 = −1: m̂₂ = 0.28 / 0.19; v₂ = 0.25·(−1), v̂₂ = −0.25 / 0.4375 with weight 1 − β₂ = 0.25;
    # n₁ = 0.5·4 = 2, n̂₁ = 4; n₂ = 0.5·2 + 0.5·(1 − 0.25)² = 1.28125, n̂₂ = n₂ / 0.75
    (
        "adan",
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.75, "beta3": 0.5, "epsilon": 0.5, "epsilon_root": 0},
        1 - 0.1 * 2 / 2.5,
        0.92 - 0.1 * (0.28 / 0.19 - 0.25 * 0.25 / 0.4375) / (sqrt(1.28125 / 0.75) + 0.5),
    ),
    # s₁ = 0.5·2 = 1, s₂ = 0.5 + 0.5 = 1; 3 times each is added to Adam's m̂
    (
        "ademamix",
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.75, "beta3": 0.5, "alpha": 3, "epsilon": 0.5},
        1 - 0.1 * (2 + 3) / 2.5,
        0.8 - 0.1 * (0.28 / 0.19 + 3) / (sqrt(1 / 0.4375) + 0.5),
    ),
    # The first sets v = 4 alone; then n = 1 / 2 within ± 1, m = 0.05
    ("adopt", {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.75}, 1.0, 1 - 0.1 * 0.05),
    # c₁ = 1: x = z = y = 0.8. c₂ = ½: z = 0.7, x = 0.75, y = 0.9·0.75 + 0.1·0.7 = 0.745
    ("schedule_free_sgd", {"learning_rate": 0.1, "beta1": 0.9}, 0.8, 0.745),
    # v̂₁ = 4: z = x = y = 1 − 0.2 / 2.5 = 0.92; z₂ = 0.92 − 0.1 / (√(1 / 0.4375) + 0.5), y₂ = 0.45·0.92 + 0.55·z₂
    (
        "schedule_free_adamw",
        {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.75, "epsilon": 0.5},
        0.92,
        0.45 * 0.92 + 0.55 * (0.92 - 0.1 / (sqrt(1 / 0.4375) + 0.5)),
    ),
]


def test_every_rule_for_one_coordinate_is_worked_by_hand() -> None:
    listed = {name for name, kind in optimizers.catalogue().items() if kind.needs == "coordinates"}
    built_in = {name for name in listed if optimizers.catalogue()[name].__module__.startswith("talweg_core")}
    assert built_in == {name for name, *_ in CASES}


@pytest.mark.parametrize(("name", "settings", "first", "second"), CASES)
def test_two_steps_are_those_worked_by_hand(
    name: str, settings: dict[str, Any], first: float, second: float, drive: Any
) -> None:
    points = drive(optimizers.create(name, **settings), [1.0], [[2.0], [1.0]])
    assert points == [pytest.approx([first], rel=1e-15), pytest.approx([second], rel=1e-15)]


def test_adam_first_step_has_size_learning_rate(drive: Any) -> None:
    adam = optimizers.create("adam", learning_rate=0.25, epsilon=0)
    assert drive(adam, [0, 0, 0], [[1e-6, -3, 1e6]]) == [pytest.approx([-0.25, 0.25, -0.25], rel=1e-15)]


def test_shampoo_of_a_matrix_is_that_worked_by_hand(drive: Any) -> None:
    """G₁ = [[0, 2], [1, 0]]: L = diag(4, 1) + ε I, R = diag(1, 4) + ε I; G₂ = [[3, 0], [0, 0]] adds 9 to each first.

    So both roots are of diagonal matrices: L^(−¼) G R^(−¼) divides each entry by (l r)^¼ of its row and column.
    """
    shampoo = optimizers.create("shampoo", learning_rate=0.1, epsilon=0.5)
    first, second = drive(shampoo, [0.0] * 4, [[0, 2, 1, 0], [3, 0, 0, 0]], (2, 2))
    assert first == pytest.approx([0, -0.1 * 2 / sqrt(4.5), -0.1 * 1 / sqrt(1.5), 0], rel=1e-14)
    assert second == pytest.approx([-0.1 * 3 / (13.5 * 10.5) ** 0.25, *first[1:]], rel=1e-14)


def test_shampoo_of_a_vector_is_adagrad_from_epsilon(drive: Any) -> None:
    first, second = drive(optimizers.create("shampoo", learning_rate=0.1, epsilon=0.5), [0.0], [[2.0], [1.0]])
    assert first == pytest.approx([-0.2 / sqrt(4.5)], rel=1e-15)
    assert second == pytest.approx([-0.2 / sqrt(4.5) - 0.1 / sqrt(5.5)], rel=1e-15)


def test_soap_of_diagonal_gradients_is_that_worked_by_hand(drive: Any) -> None:
    """diag(2, 1), diag(1, 3), diag(2, 0): every basis is the standard one, so it is Adam on the two entries.

    The first update changes nothing. With β₁ = 0.9, β₂ = 0.75: at the second m̂ = g and v̂ = g²; at the third
    m = 0.9·0.1·g₂ + 0.1·g₃ = 0.29 and 0.27, over 0.19; v = 0.75·0.25·g₂² + 0.25·g₃² = 1.1875 and 1.6875, over 0.4375.
    After the second, L = 0.75·0.25·diag(4, 1) + 0.25·diag(1, 9) puts the second entry first: v must follow its column.
    """
    soap = optimizers.create("soap", learning_rate=0.1, beta1=0.9, beta2=0.75, epsilon=0.5, weight_decay=0, every=1)
    points = drive(soap, [0.0] * 4, [[2, 0, 0, 1], [1, 0, 0, 3], [2, 0, 0, 0]], (2, 2))
    a, d = -0.1 / 1.5, -0.1 * 3 / 3.5
    assert points[0] == [0.0] * 4
    assert points[1] == pytest.approx([a, 0, 0, d], rel=1e-14, abs=1e-15)
    a -= 0.1 * (0.29 / 0.19) / (sqrt(1.1875 / 0.4375) + 0.5)
    d -= 0.1 * (0.27 / 0.19) / (sqrt(1.6875 / 0.4375) + 0.5)
    assert points[2] == pytest.approx([a, 0, 0, d], rel=1e-14, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("soap", {"every": 2, "weight_decay": 0}),
        ("shampoo", {"every": 2, "momentum": 0.5}),
        # Momentum and orthogonalisation rotate with the axes; signs and squares of coordinates do not.
        ("muon", {"weight_decay": 0, "learning_rate": 0.1}),
    ],
)
def test_a_rule_for_matrices_does_not_depend_on_the_axes(name: str, settings: dict[str, Any], drive: Any) -> None:
    """In rotated axes, with U G Vᵀ in place of G, the path is U θ Vᵀ.

    With the diagonal gradients worked by hand above, that is every gradient.
    """
    draws = np.random.default_rng(0)
    u, v = (np.linalg.qr(draws.normal(size=(3, 3)))[0] for _ in range(2))
    gradients = draws.normal(size=(6, 3, 3))
    rule = optimizers.create(name, **settings)
    plain = drive(rule, [0.0] * 9, gradients.reshape(6, 9), (3, 3))
    turned = drive(rule, [0.0] * 9, (u @ gradients @ v.T).reshape(6, 9), (3, 3))
    assert np.abs(plain[-1]).max() > 1e-3
    for one, other in zip(plain, turned, strict=True):
        # Roundings of eigenvectors, in addition.
        assert np.allclose(u @ np.reshape(one, (3, 3)) @ v.T, np.reshape(other, (3, 3)), rtol=1e-9, atol=1e-12)
