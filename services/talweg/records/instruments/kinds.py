"""The instruments (norms, angles, curvature, signal and noise, histograms), and `measure` at chosen steps."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import ClassVar, Final

import numpy as np

from talweg.errors import InvalidSpec, NoSuchStep
from talweg.records.instruments.base import Instrument, StepWindow, step_windows
from talweg.store import RunRow, Store
from talweg_core import Cohort
from talweg_core.curvature import largest_eigenvalue, step_quality
from talweg_core.errors import EngineError, UnknownName
from talweg_core.layout import Array
from talweg_core.randomness import stream

# Each example's gradient takes a backward pass over the whole batch. At most _WORK examples go through these passes,
# but at least _FEWEST gradients are taken.
_WORK = 65_536
_FEWEST = 32
# Cockpit's value: a derivative that is always 0 has ratio 0.
_EPSILON = 1e-5
# Four bounds a decade from 1e-8 to 1e4, of either sign.
_SIDE = 10.0 ** (np.arange(-32, 17) / 4)
EDGES = np.concatenate([-_SIDE[::-1], _SIDE])


class _ByTensor(Instrument):
    """One number of all coordinates and one of each tensor: `name`, `name.dense1.weight`, …"""

    def columns(self, run: RunRow) -> list[str]:
        """All coordinates, then each tensor."""
        return [self.name, *(f"{self.name}.{tensor['name']}" for tensor in run.tensors)]


class GradientNorm(_ByTensor):
    """|g_t| of all coordinates and of each tensor, as recorded."""

    name: ClassVar[str] = "gradient_norm"
    says: ClassVar[str] = "the length of the gradient, whole and by tensor"
    points: ClassVar[bool] = False

    def measure(self, at: StepWindow) -> Sequence[float]:
        """From the recorded norms."""
        return _whole_and_parts(at.norms()[0])


class UpdateRatio(_ByTensor):
    """|θ_{t+1} − θ_t| / |θ_t| of all coordinates and of each tensor; infinite where a tensor is all zeros."""

    name: ClassVar[str] = "update_ratio"
    says: ClassVar[str] = "the length of the update over the length of the parameters, whole and by tensor"
    points: ClassVar[bool] = False

    def measure(self, at: StepWindow) -> Sequence[float]:
        """From the recorded norms."""
        _, sizes, moved = (np.array(_whole_and_parts(parts)) for parts in at.norms())
        ratios: list[float] = (moved / sizes).tolist()
        return ratios


class Distance(_ByTensor):
    """|θ_t − θ_0| of all coordinates and of each tensor."""

    name: ClassVar[str] = "distance"
    says: ClassVar[str] = "the distance of the parameters from their first values, whole and by tensor"

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

    By Lanczos' iteration in at most 64 products H v, each a central difference in float64 of two gradients with the
    same batch and noise, with a rounding error of about 1e-7 of the gradient (Cohort.hessian_product).
    `hessian_eigenvalue.error` is the iteration's own bound: an eigenvalue lies within it. The iteration ends at 1e-4 of
    the value.
    """

    name: ClassVar[str] = "hessian_eigenvalue"
    says: ClassVar[str] = "the largest eigenvalue of the batch's Hessian, and a bound on its error"

    def columns(self, run: RunRow) -> list[str]:
        """The eigenvalue, and its error."""
        return [self.name, f"{self.name}.error"]

    def measure(self, at: StepWindow) -> Sequence[float]:
        """From a start vector drawn by the run's seed and the step."""
        cohort = at.cohort(at.point())
        start = stream(cohort.seeds[0], "probe", at.step).normal(size=(cohort.problem.layout.size,))
        found = largest_eigenvalue(cohort.hessian_product, start)
        return [found.value, found.error]


class GradientSnr(Instrument):
    """|g|² / (Σ_j s_j² / B), s_j² the sample variance of the B examples' derivatives by coordinate j.

    Where the true gradient is 0 it is about 1: noise alone. `gradient_snr.mean` is Cockpit's MeanGSNR: the mean over
    coordinates of g_j² / (v_j + 1e-5), v_j = s_j² (B − 1) / B. For a batch of more than 256, s_j is measured on
    65,536 / B of its examples, at least 32, drawn in random order.

    Sources: Byrd, Chin, Nocedal & Wu 2012, equation 3.9 (the norm test, whose θ is the inverse of this one's root);
    Liu, Jiang, Bai, Chen & Wang 2020, "Understanding why neural networks generalize well through GSNR of parameters".
    """

    name: ClassVar[str] = "gradient_snr"
    says: ClassVar[str] = "the gradient's squared length over the variance of a batch's mean: about 1 is noise alone"

    def columns(self, run: RunRow) -> list[str]:
        """The ratio of the whole vector, and the mean of the coordinates' ratios."""
        return [self.name, f"{self.name}.mean"]

    def check(self, at: StepWindow) -> str | None:
        """Problems without examples have no noise."""
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
        # Relative to the batch's gradient: squares of differences lose no digits.
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
    """α of the step from θ_t to θ_{t+1}: −1 no movement, 0 the minimum along its line, 1 as high on the other side.

    From C and g · d of both steps, d the update's direction, each weighted by its variance over the batch's examples;
    equal weights where there are none. NaN at the last recorded step. See talweg_core.curvature.
    """

    name: ClassVar[str] = "alpha"
    says: ClassVar[str] = (
        "where the step ended along its line: -1 at its start, 0 at the minimum, 1 as high on the other side"
    )
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
    """The variances of the batch's cost and of its slope along `direction`; 0 where there are no examples."""
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


class _Histogram(Instrument):
    """Counts of coordinates in [−∞, −1e4), …, [−1e-8, 1e-8), …, [1e4, ∞], four bins a decade; NaN is not counted."""

    edges: ClassVar[Array | None] = EDGES

    def columns(self, run: RunRow) -> list[str]:
        """One for each bin, named by its bounds."""
        bounds = [f"{edge:.3g}" for edge in (-np.inf, *EDGES, np.inf)]
        return [f"{self.name}[{low}, {high})" for low, high in pairwise(bounds)]

    def vector(self, at: StepWindow) -> Array:
        """The vector whose coordinates are counted."""
        raise NotImplementedError

    def measure(self, at: StepWindow) -> Sequence[float]:
        """The counts, as whole numbers."""
        values = self.vector(at)
        bins = np.searchsorted(EDGES, values[~np.isnan(values)], side="right")
        counts: Sequence[float] = np.bincount(bins, minlength=len(EDGES) + 1).tolist()
        return counts


class GradientHistogram(_Histogram):
    """The histogram of g_t."""

    name: ClassVar[str] = "gradient_histogram"
    says: ClassVar[str] = "the distribution of the derivatives by size"

    def vector(self, at: StepWindow) -> Array:
        """g_t."""
        return at.point().gradient


class ParameterHistogram(_Histogram):
    """The histogram of θ_t."""

    name: ClassVar[str] = "parameter_histogram"
    says: ClassVar[str] = "the distribution of the parameters by size"

    def vector(self, at: StepWindow) -> Array:
        """θ_t."""
        return at.point().parameters


INSTRUMENTS: Final[dict[str, Instrument]] = {
    made.name: made
    for made in (
        GradientNorm(), UpdateRatio(), Distance(), GradientCosine(), GradientSnr(), Alpha(), HessianEigenvalue(),
        GradientHistogram(), ParameterHistogram(),
    )
}  # fmt: skip
# Numbers in one result, at most.
_MOST = 100_000


@dataclass(frozen=True, eq=False)
class Measured:
    """Measurements of instruments at `steps`.

    Attributes:
        columns: Each instrument's column names.
        rows: (n, columns of all instruments).
        next: The step at which to continue; None where all requested steps are measured.
        left_out: The instruments that were not named and cannot measure this run, with the reason.
    """

    columns: dict[str, list[str]]
    steps: list[int]
    rows: Array
    next: int | None
    left_out: dict[str, str]


def measure(
    store: Store, run: RunRow, names: Sequence[str], steps: range, *, seconds: float = float("inf")
) -> Measured:
    """Measure the named instruments, or all, at ascending steps, for `seconds` or 100,000 numbers, at least one step.

    Raises:
        InvalidSpec: There is no instrument of one of the names (the message names the nearest), or it cannot measure
            this run.
        NoSuchStep: One of the steps is not recorded (yet).
        ReplayDiverged, CorruptRecord: The record cannot be read.
    """
    for name in names:
        if name not in INSTRUMENTS:
            raise InvalidSpec(str(UnknownName("instrument", name, INSTRUMENTS)))
    if not steps or steps.step < 1 or not 0 <= steps[0] <= steps[-1] < run.step:
        raise NoSuchStep(f"run {run.name}: has instruments of the steps 0 to {run.step - 1}, got {_shown(steps)}")
    chosen = [INSTRUMENTS[name] for name in dict.fromkeys(names or INSTRUMENTS)]
    columns = {made.name: made.columns(run) for made in chosen}
    most = max(1, _MOST // sum(map(len, columns.values())))
    until, rows, left_out = time.monotonic() + seconds, list[Array](), dict[str, str]()

    def enough() -> bool:
        return len(rows) >= min(most, len(steps)) or (bool(rows) and time.monotonic() >= until)

    for at in step_windows(store, run, chosen, steps, enough):
        with np.errstate(all="ignore"):
            if not rows:
                refused = {made.name: why for made in chosen if (why := made.check(at)) is not None}
                for name, why in refused.items():
                    if names:
                        raise InvalidSpec(f"{name}: {why}")
                    left_out[name] = why
                chosen = [made for made in chosen if made.name not in refused]
            rows.append(np.concatenate([made.measure(at) for made in chosen]))
    return Measured(
        columns={made.name: columns[made.name] for made in chosen},
        steps=list(steps[: len(rows)]),
        rows=np.stack(rows),
        next=steps[len(rows)] if len(rows) < len(steps) else None,
        left_out=left_out,
    )


def _shown(steps: range) -> str:
    if len(steps) < 2:
        return str(steps.start)
    return f"{steps[0]} to {steps[-1]}" + (f" by {steps.step}" if steps.step != 1 else "")
