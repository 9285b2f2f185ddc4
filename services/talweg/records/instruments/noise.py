"""Instruments that look at single examples: how much of a gradient is signal, and how good a step was."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import ClassVar

import numpy as np

from talweg.records.instruments.base import Instrument, StepWindow
from talweg.store import RunRow
from talweg_core import Cohort
from talweg_core.errors import EngineError
from talweg_core.layout import Array
from talweg_core.step_quality import step_quality

# A pass backward over the batch for each example that is looked at: so many examples go through it at most, or 32
# times the batch.
_WORK = 65_536
_FEWEST = 32
# Cockpit's, so that a derivative that is always 0 has no signal either.
_EPSILON = 1e-5


class GradientSnr(Instrument):
    """|g|² / (Σ_j s_j² / B), s_j² the sample variance of the B examples' derivatives by coordinate j.

    Where the true gradient is 0 it is about 1: noise alone. `gradient_snr.mean` is Cockpit's MeanGSNR: the mean over
    coordinates of g_j² / (v_j + 1e-5), v_j = s_j² (B − 1) / B. Of a batch of more than 256, s_j is measured on as many
    of its examples (drawn in random order) as make 65,536 examples seen in all, and on 32 at least.

    Sources: Byrd, Chin, Nocedal & Wu 2012, equation 3.9 (the norm test, whose θ is the inverse of this one's root);
    Liu, Jiang, Bai, Chen & Wang 2020, "Understanding why neural networks generalize well through GSNR of parameters".
    """

    name: ClassVar[str] = "gradient_snr"
    says: ClassVar[str] = "the gradient's square for the variance of a mean over the batch: about 1 is noise alone"

    def columns(self, run: RunRow) -> list[str]:
        """Of the whole vector, and the mean of single coordinates'."""
        return [self.name, f"{self.name}.mean"]

    def check(self, at: StepWindow) -> str | None:
        """Without examples there is no noise."""
        cohort = at.cohort(at.point())
        try:
            found = next(cohort.examples(), None)
        except EngineError as error:
            return str(error)
        return f"{cohort.problem.name} has no examples, so its gradient has no noise" if found is None else None

    def measure(self, at: StepWindow) -> Sequence[float]:
        """In float64, from gradients in the run's precision."""
        cohort = at.cohort(at.point())
        g = at.point().gradient.astype(np.float64)
        # Around the batch's gradient, so that the squares lose no digits.
        total, squares, seen = np.zeros_like(g), np.zeros_like(g), 0
        for _, gradient in _examples(cohort):
            away = gradient - g
            total += away
            squares += away * away
            seen += 1
        if seen < 2:
            return [float("nan")] * 2
        scatter = squares - total * total / seen
        batch = cohort.batch_size or seen
        noise = float(scatter.sum()) / (seen - 1) / batch
        return [float(np.float64(g @ g) / noise), float(np.mean(g * g / (scatter / seen + _EPSILON)))]


class Alpha(Instrument):
    """α of the step from θ_t to θ_{t+1}: −1 stayed, 0 in the valley's lowest point, 1 as high on its other side.

    From C and g · d of both steps, d the update's direction, each weighted by the variance of its batch's examples;
    all alike where there are none. NaN at the last recorded step. See talweg_core.step_quality.
    """

    name: ClassVar[str] = "alpha"
    says: ClassVar[str] = "where the step ended in its valley: -1 stayed, 0 the lowest point, 1 as high beyond it"
    later: ClassVar[bool] = True

    def measure(self, at: StepWindow) -> Sequence[float]:
        """From this step and the one after."""
        here, there = at.point(), at.later
        if there is None:
            return [float("nan")]
        update = there.parameters.astype(np.float64) - here.parameters
        length = float(np.linalg.norm(update))
        direction = update / length
        slopes = [float(point.gradient.astype(np.float64) @ direction) for point in (here, there)]
        scatter = [_scatter(at.cohort(point), direction) for point in (here, there)]
        variances = [of_both[k] for k in (0, 1) for of_both in scatter]
        return [step_quality(length, [here.cost, there.cost], slopes, variances)]


def _scatter(cohort: Cohort, direction: Array) -> tuple[float, float]:
    """The variance of the batch's cost, and of its slope along `direction`; zeros where it has no examples."""
    try:
        seen = np.array([(cost, float(gradient @ direction)) for cost, gradient in _examples(cohort)])
    except EngineError:
        return 0.0, 0.0
    if len(seen) < 2:
        return 0.0, 0.0
    of_cost, of_slope = seen.var(axis=0, ddof=1) / (cohort.batch_size or len(seen))
    return float(of_cost), float(of_slope)


def _examples(cohort: Cohort) -> Iterator[tuple[float, Array]]:
    batch = max(cohort.batch_size, 1)
    return islice(cohort.examples(), max(_FEWEST, _WORK // batch) if cohort.problem.examples else None)
