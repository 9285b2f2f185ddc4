"""How sharply the cost bends where a step began."""

from collections.abc import Sequence
from typing import ClassVar

from talweg.records.instruments.base import Around, Instrument
from talweg.store import RunRow
from talweg_core.curvature import largest_eigenvalue
from talweg_core.randomness import stream


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

    def measure(self, at: Around) -> Sequence[float]:
        """From a start that the run's seed and the step draw."""
        cohort = at.cohort(at.point())
        start = stream(cohort.seeds[0], "probe", at.step).normal(size=(cohort.problem.layout.size,))
        found = largest_eigenvalue(cohort.hessian_product, start)
        return [found.value, found.error]
