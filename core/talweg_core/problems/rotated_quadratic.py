"""An ill-conditioned bowl with a stated spectrum, turned so that no coordinate is an eigenvector.

A diagonal quadratic is solved by any method that scales each coordinate by itself. Turned, it shows whether a method
deals with the curvatures or with the coordinates.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import kernel
from talweg_core.errors import InvalidProblem
from talweg_core.initial import orthogonal
from talweg_core.layout import Array, Layout
from talweg_core.problems.base import Oracle, Problem
from talweg_core.problems.surface import Start, drawn_start, fixed_start
from talweg_core.randomness import keys, normal, stream

Spectrum = Literal["log", "linear", "outliers"]
SPECTRA: tuple[Spectrum, ...] = get_args(Spectrum)
# Around the minimiser, which is not 0: there weight decay would lead by itself.
MINIMISER, BOX = 1.0, (-1.0, 3.0)


class RotatedQuadratic(Problem):
    """An ill-conditioned bowl with a stated spectrum, turned by a random rotation.

    C = ½ (θ − 1)ᵀ Rᵀ diag(h) R (θ − 1), curvatures h from 1 / condition to 1, R the rotation.

    Spectrum "log": the h evenly apart in logarithm. "linear": evenly apart. "outliers": a tenth of them, rounded up, 1
    and all others 1 / condition, as a trained network has few large curvatures and many small ones. R is drawn
    uniformly from all rotations and reflections by the seed `rotation`; another one is another problem of equal
    difficulty. Minimum 0 at (1, …, 1), whose distance is what counts. It starts at random in [−1, 3] in each
    coordinate, by the run's seed, or at `start`.

    With `noise` s each step t draws e, standard normal, by (seed, "noise", t), and measures the same bowl around
    another point: C_t = ½ Σ h_i (u_i − s e_i / √h_i)², u = R (θ − 1), so that the gradient Rᵀ (h u − s √h e) has noise
    with covariance s² times the Hessian. A batch of B examples is a noise of s / √B. The expected cost,
    C + ½ s² dimension, is least at the same point, and is what both splits measure. Without noise there are no splits.

    Sources: Nesterov 2004, "Introductory lectures on convex optimization", section 2.1 (the condition number); Mezzadri
    2007, "How to generate random matrices from the classical compact groups", section 5 (the rotation); Sagun, Evci,
    Güney, Dauphin & Bottou 2017, "Empirical analysis of the Hessian of over-parametrized neural networks" (outliers);
    Zhang et al. 2019, "Which algorithmic choices matter at which batch sizes? Insights from a noisy quadratic model",
    section 3 (the noise).
    """

    name = "rotated-quadratic"

    def __init__(
        self,
        dimension: int = 100,
        condition: float = 1e4,
        spectrum: Spectrum = "log",
        noise: float = 0.0,
        rotation: int = 0,
        start: Start = "random",
    ) -> None:
        """`dimension` in [1, 1000], `condition` in [1, ∞), `noise` in [0, ∞); raises InvalidProblem."""
        self._require(dimension, condition, spectrum, noise, rotation)
        self.layout = Layout.of({"x": (dimension,)})
        self.condition, self.spectrum, self.noise = float(condition), spectrum, float(noise)
        self.splits = ("validation", "test") if noise else ()
        self.start = fixed_start(self.name, start, dimension, BOX)
        self.curvatures = _curvatures(dimension, self.condition, spectrum)
        self._which = rotation
        self.rotation = orthogonal(stream(rotation, "data", 4), (dimension, dimension), dimension, dimension)
        self.minimiser = np.full(dimension, MINIMISER)
        self.least = 0.5 * self.noise**2 * dimension

    def _require(self, dimension: object, condition: object, spectrum: object, noise: object, rotation: object) -> None:
        if isinstance(dimension, bool) or not isinstance(dimension, int) or not 1 <= dimension <= 1000:
            raise InvalidProblem(f"{self.name}: dimension must lie in [1, 1000], got {dimension!r}")
        if isinstance(condition, bool) or not isinstance(condition, int | float) or not 1 <= condition < np.inf:
            raise InvalidProblem(f"{self.name}: condition must lie in [1, ∞), got {condition!r}")
        if spectrum not in SPECTRA:
            raise InvalidProblem(f"{self.name}: spectrum must be one of {', '.join(SPECTRA)}, got {spectrum!r}")
        if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < np.inf:
            raise InvalidProblem(f"{self.name}: noise must lie in [0, ∞), got {noise!r}")
        if isinstance(rotation, bool) or not isinstance(rotation, int) or not 0 <= rotation < 2**63:
            raise InvalidProblem(f"{self.name}: rotation must be a seed, from 0, got {rotation!r}")

    def settings(self) -> dict[str, Any]:
        """All of them."""
        return {
            "dimension": self.layout.size,
            "condition": self.condition,
            "spectrum": self.spectrum,
            "noise": self.noise,
            "rotation": self._which,
            "start": "random" if self.start is None else self.start.tolist(),
        }

    def initial(self, seed: int) -> Array:
        """The starting point, whatever the seed; or drawn evenly from the box by (seed, "parameters")."""
        return drawn_start(BOX, self.layout.size, seed) if self.start is None else self.start.copy()

    def bind(self, parameters: Array, gradient: Array, seeds: Sequence[int], batch_size: int) -> Oracle:
        """On buffers."""
        return _RotatedOracle(self, parameters, gradient, seeds)

    def evaluate(self, parameters: Array, split: str, state: Array | None = None) -> tuple[float, float | None]:
        """The expected cost."""
        if split not in self.splits:
            raise InvalidProblem(f"{self.name}: the split must be one of {sorted(self.splits)}, got {split!r}")
        u = self.rotation @ (parameters.astype(np.float64) - MINIMISER)
        return float(0.5 * np.sum(self.curvatures * u * u)) + self.least, None


def _curvatures(dimension: int, condition: float, spectrum: Spectrum) -> Array:
    """Ascending, (dimension,); the only one of dimension 1 is 1."""
    if dimension == 1:
        return np.ones(1)
    if spectrum == "log":
        return np.geomspace(1 / condition, 1, dimension)
    if spectrum == "linear":
        return np.linspace(1 / condition, 1, dimension)
    steep = -(-dimension // 10)
    return np.concatenate([np.full(dimension - steep, 1 / condition), np.ones(steep)])


class _RotatedOracle(Oracle):
    def __init__(self, problem: RotatedQuadratic, parameters: Array, gradient: Array, seeds: Sequence[int]) -> None:
        self._problem, self._parameters, self._gradient = problem, parameters, gradient
        self._keys = keys(list(seeds), "batch")
        # Without noise they stay 0.
        self._draws = np.zeros(parameters.shape)
        self._costs = np.empty(len(parameters))
        self._scratch = np.empty_like(gradient)
        self._deviations = problem.noise / np.sqrt(problem.curvatures)
        # Both ways round, so that each product adds up whole rows: the compiler makes vector instructions of that.
        self._rows, self._columns = np.ascontiguousarray(problem.rotation), np.ascontiguousarray(problem.rotation.T)
        self._turned, self._slopes = np.empty(problem.layout.size), np.empty(problem.layout.size)

    def costs(self, step: int) -> NDArray[np.float64]:
        return self._evaluate(step, self._scratch)

    def gradient(self, step: int) -> NDArray[np.float64]:
        return self._evaluate(step, self._gradient)

    def _evaluate(self, step: int, gradient: Array) -> NDArray[np.float64]:
        if self._problem.noise:
            normal(self._keys, step, self._draws)
        _rotated_quadratic(
            self._parameters, self._draws, self._deviations, self._problem.curvatures, self._rows, self._columns,
            self._turned, self._slopes, gradient, self._costs,
        )  # fmt: skip
        return self._costs


@kernel
def _rotated_quadratic(
    parameters: Any, draws: Any, deviations: Any, curvatures: Any, rows: Any, columns: Any,
    turned: Any, slopes: Any, gradient: Any, costs: Any,
) -> None:  # fmt: skip
    size = curvatures.size
    for r in range(len(parameters)):
        turned[:] = 0
        for j in range(size):
            away, column = np.float64(parameters[r, j]) - MINIMISER, columns[j]
            for i in range(size):
                turned[i] += column[i] * away
        total = 0.0
        for i in range(size):
            u = turned[i] - deviations[i] * draws[r, i]
            slopes[i] = curvatures[i] * u
            total += 0.5 * slopes[i] * u
        costs[r] = total
        turned[:] = 0
        for i in range(size):
            slope, row = slopes[i], rows[i]
            for j in range(size):
                turned[j] += row[j] * slope
        gradient[r] = turned
