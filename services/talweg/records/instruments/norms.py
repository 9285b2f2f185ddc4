"""Instruments that need norms, two vectors side by side, or the curvature of the cost."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from talweg.records.instruments.base import Instrument, StepWindow, by_tensor
from talweg.store import RunRow
from talweg_core.curvature import largest_eigenvalue
from talweg_core.layout import Array
from talweg_core.randomness import stream


class GradientNorm(Instrument):
    """|g_t|, of all coordinates and of each tensor's: as recorded."""

    name: ClassVar[str] = "gradient_norm"
    says: ClassVar[str] = "the length of the gradient, whole and by tensor"
    points: ClassVar[bool] = False

    def columns(self, run: RunRow) -> list[str]:
        """All coordinates, then each tensor."""
        return by_tensor(self.name, run)

    def measure(self, at: StepWindow) -> Sequence[float]:
        """From the recorded norms."""
        return _whole_and_parts(at.norms()[0])


class UpdateRatio(Instrument):
    """|θ_{t+1} − θ_t| / |θ_t|, of all coordinates and of each tensor's; infinite where a tensor is all zeros."""

    name: ClassVar[str] = "update_ratio"
    says: ClassVar[str] = "how far the update moved the parameters for their length, whole and by tensor"
    points: ClassVar[bool] = False

    def columns(self, run: RunRow) -> list[str]:
        """All coordinates, then each tensor."""
        return by_tensor(self.name, run)

    def measure(self, at: StepWindow) -> Sequence[float]:
        """From the recorded norms."""
        _, sizes, moved = (np.array(_whole_and_parts(parts)) for parts in at.norms())
        ratios: list[float] = (moved / sizes).tolist()
        return ratios


class Distance(Instrument):
    """|θ_t − θ_0|, of all coordinates and of each tensor's."""

    name: ClassVar[str] = "distance"
    says: ClassVar[str] = "how far the parameters are from where they began, whole and by tensor"

    def columns(self, run: RunRow) -> list[str]:
        """All coordinates, then each tensor."""
        return by_tensor(self.name, run)

    def measure(self, at: StepWindow) -> Sequence[float]:
        """In float64."""
        away = at.point().parameters.astype(np.float64) - at.start()
        offsets = at.cohort(at.point()).problem.layout.offsets[:-1]
        return _whole_and_parts(np.sqrt(np.add.reduceat(away * away, offsets)))


class GradientCosine(Instrument):
    """g_t · g_{t−1} / (|g_t| |g_{t−1}|): near 1 along a slope, near −1 across a valley; NaN at the first step."""

    name: ClassVar[str] = "gradient_cosine"
    says: ClassVar[str] = "the cosine of the angle between this gradient and the one before"
    earlier: ClassVar[bool] = True

    def measure(self, at: StepWindow) -> Sequence[float]:
        """In float64."""
        if at.earlier is None:
            return [float("nan")]
        g, before = at.point().gradient.astype(np.float64), at.earlier.gradient.astype(np.float64)
        return [float(g @ before / (np.linalg.norm(g) * np.linalg.norm(before)))]


def _whole_and_parts(parts: Array) -> list[float]:
    """1 + T numbers: √Σ parts², then the parts (T,)."""
    return [float(np.linalg.norm(parts)), *parts.tolist()]


class HessianEigenvalue(Instrument):
    """The largest eigenvalue of H = ∂²C/∂θ², on the step's batch; gradient descent needs η < 2/λ.

    By Lanczos' iteration in at most 64 products H v, each a central difference of two gradients of the same batch and
    noise in float64, which rounds by about 1e-7 of the gradient (Cohort.hessian_product).
    `hessian_eigenvalue.error` is what the iteration itself leaves: an eigenvalue lies within it, and 1e-4 of the value
    is where it ends.
    """

    name: ClassVar[str] = "hessian_eigenvalue"
    says: ClassVar[str] = "the largest eigenvalue of the batch's Hessian, and within what an eigenvalue lies of it"

    def columns(self, run: RunRow) -> list[str]:
        """The eigenvalue, and its error."""
        return [self.name, f"{self.name}.error"]

    def measure(self, at: StepWindow) -> Sequence[float]:
        """From a start that the run's seed and the step draw."""
        cohort = at.cohort(at.point())
        start = stream(cohort.seeds[0], "probe", at.step).normal(size=(cohort.problem.layout.size,))
        found = largest_eigenvalue(cohort.hessian_product, start)
        return [found.value, found.error]
