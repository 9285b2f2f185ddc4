"""Resilient backpropagation: updates from the signs of the gradient alone."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from talweg_core.errors import InvalidHyperparameter
from talweg_core.optimizers.base import Hyperparameters, Numbers, positive, within
from talweg_core.optimizers.coordinate import CoordinateOptimizer


@dataclass(frozen=True)
class Rprop(CoordinateOptimizer):
    """Δ ← Δ η⁺ where g keeps its sign, Δ η⁻ where it changes, within [Δmin, Δmax]; θ ← θ − sign(g) Δ.

    Where the sign of g changes, the coordinate has no update at that step: g counts as 0, also in the next comparison.
    learning_rate: the initial Δ, in (0, ∞); a schedule has no effect after it. shrink: η⁻ in (0, 1). grow: η⁺ in
    (1, ∞). smallest, largest: Δmin and Δmax in (0, ∞).

    Source: Riedmiller & Braun 1993, in the variant without weight-backtracking, Rprop⁻ of Igel & Hüsken 2000 with
    the omitted update of iRprop⁻. PyTorch: Rprop(lr, etas=(shrink, grow), step_sizes=(smallest, largest)). Meant for
    the full batch.
    """

    name: ClassVar[str] = "rprop"
    state: ClassVar[tuple[str, ...]] = ("previous", "width")

    learning_rate: float = positive(1e-2)
    shrink: float = within(0.5, 0, 1, "()")
    grow: float = within(1.2, 1, float("inf"), "()")
    smallest: float = positive(1e-6)
    largest: float = positive(50.0)

    def __post_init__(self) -> None:
        """Check the ranges, and that smallest ≤ largest."""
        super().__post_init__()
        if self.smallest > self.largest:
            raise InvalidHyperparameter(
                f"Rprop: smallest must be at most largest = {self.largest}, got {self.smallest}"
            )

    @classmethod
    def initial_state(cls, name: str, h: Hyperparameters) -> float | Numbers:
        """Every width starts at the learning rate."""
        return h.learning_rate if name == "width" else 0.0

    @staticmethod
    def scalars(h: Hyperparameters, k: Numbers) -> dict[str, Numbers]:
        """The hyperparameters, and 0 and 1 in the run's precision."""
        return h.values | {"zero": np.zeros(h.runs), "one": np.ones(h.runs)}

    @staticmethod
    def rule(
        gradient: Any, previous: Any, width: Any, shrink: Any, grow: Any, smallest: Any, largest: Any, zero: Any,
        one: Any,
    ) -> Any:  # fmt: skip
        """One coordinate."""
        agreement = gradient * previous
        factor = grow if agreement > zero else (shrink if agreement < zero else one)
        width = min(max(width * factor, smallest), largest)
        gradient = zero if agreement < zero else gradient
        step = width if gradient > zero else (-width if gradient < zero else zero)
        return -step, gradient, width
