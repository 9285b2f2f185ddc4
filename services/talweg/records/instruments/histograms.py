"""How many coordinates lie where, from step to step: bins that are the same for every run and every page."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import numpy as np

from talweg.records.instruments.base import Instrument, StepWindow
from talweg.store import RunRow
from talweg_core.layout import Array

# Four a decade from 1e-8 to 1e4, on either side of 0.
_SIDE = 10.0 ** (np.arange(-32, 17) / 4)
EDGES = np.concatenate([-_SIDE[::-1], _SIDE])


class _Histogram(Instrument):
    """Counts of coordinates in [−∞, −1e4), …, [−1e-8, 1e-8), …, [1e4, ∞], four bins a decade; NaN counts nowhere."""

    edges: ClassVar[Array | None] = EDGES

    def columns(self, run: RunRow) -> list[str]:
        """A bin each, by its bounds."""
        bounds = [f"{edge:.3g}" for edge in (-np.inf, *EDGES, np.inf)]
        return [f"{self.name}[{low}, {high})" for low, high in pairwise(bounds)]

    def vector(self, at: StepWindow) -> Array:
        """Whose coordinates are counted."""
        raise NotImplementedError

    def measure(self, at: StepWindow) -> Sequence[float]:
        """Whole numbers."""
        values = self.vector(at)
        places = np.searchsorted(EDGES, values[~np.isnan(values)], side="right")
        counts: Sequence[float] = np.bincount(places, minlength=len(EDGES) + 1).tolist()
        return counts


class GradientHistogram(_Histogram):
    """Of g_t."""

    name: ClassVar[str] = "gradient_histogram"
    says: ClassVar[str] = "how many derivatives are of which size"

    def vector(self, at: StepWindow) -> Array:
        """g_t."""
        return at.point().gradient


class ParameterHistogram(_Histogram):
    """Of θ_t."""

    name: ClassVar[str] = "parameter_histogram"
    says: ClassVar[str] = "how many parameters are of which size"

    def vector(self, at: StepWindow) -> Array:
        """θ_t."""
        return at.point().parameters
