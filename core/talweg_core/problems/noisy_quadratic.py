"""A noisy quadratic with the curvatures of a deep network.

Source: Schneider, Balles & Hennig 2019, "DeepOBS: a deep learning optimizer benchmark suite", `quadratic_deep`;
the spectrum follows Chaudhari et al. 2017, "Entropy-SGD", figure 1.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import kernel
from talweg_core.errors import InvalidProblem
from talweg_core.initial import orthogonal
from talweg_core.layout import Array, Layout
from talweg_core.problems.base import Oracle, Problem
from talweg_core.problems.network_problem import start_of
from talweg_core.randomness import keys, normal, stream

DIMENSION = 100


class NoisyQuadratic(Problem):
    """C = mean over `draws` of ½ (θ − x)ᵀ Q (θ − x), x normal with mean 0 and deviation `noise` in each of 100 axes.

    Q = Rᵀ diag(λ) R, R a fixed random rotation, 90 of the λ uniform in (0, 1) and 10 in (30, 60).
    ∂C/∂θ = Q (θ − mean x). Without noise the minimum is 0 at 0; with noise the expected cost is smallest there too:
    ½ noise² Σ λ. Both splits measure the expected cost.

    Deviations: x is drawn for each step, from (seed, "noise", t), where DeepOBS repeats 1,000 fixed draws; and it is
    drawn along the eigenvectors, which for such noise is the same distribution. There are no examples, so the size of
    the batch is a setting of the problem.
    """

    name = "noisy-quadratic"
    splits = ("validation", "test")

    def __init__(self, noise: float = 0.6, draws: int = 128, start: Sequence[float] | None = None) -> None:
        """`noise` in [0, ∞); `draws` a step, at least 1; `start` (100,), default (1, …, 1). Raises InvalidProblem."""
        if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < np.inf:
            raise InvalidProblem(f"noisy-quadratic: noise must lie in [0, ∞), got {noise!r}")
        if isinstance(draws, bool) or not isinstance(draws, int) or not 1 <= draws <= 1_000_000:
            raise InvalidProblem(f"noisy-quadratic: draws must lie in [1, 1000000], got {draws!r}")
        self.draws = draws
        self.layout = Layout.of({"x": (DIMENSION,)})
        self.noise = float(noise)
        begun = start_of(self.name, start, DIMENSION)
        self.start = np.ones(DIMENSION) if begun is None else begun
        generator = stream(42, "data")
        self.curvatures = np.concatenate([generator.uniform(0, 1, 90), generator.uniform(30, 60, 10)])
        self.rotation = orthogonal(generator, (DIMENSION, DIMENSION), DIMENSION, DIMENSION)
        self.minimiser, self.least = np.zeros(DIMENSION), 0.5 * self.noise**2 * float(self.curvatures.sum())

    def settings(self) -> dict[str, Any]:
        """The noise, the draws and the starting point."""
        return {"noise": self.noise, "draws": self.draws, "start": self.start.tolist()}

    def initial(self, seed: int) -> Array:
        """The starting point, for every seed."""
        return self.start.copy()

    def bind(self, parameters: Array, gradient: Array, seeds: Sequence[int], batch_size: int) -> Oracle:
        """Bind to buffers."""
        return _NoisyOracle(self, parameters, gradient, seeds)

    def evaluate(self, parameters: Array, split: str, state: Array | None = None) -> tuple[float, float | None]:
        """The expected cost."""
        if split not in self.splits:
            raise InvalidProblem(f"{self.name}: the split must be one of {sorted(self.splits)}, got {split!r}")
        u = self.rotation @ parameters.astype(np.float64)
        return float(0.5 * np.sum(self.curvatures * u * u)) + self.least, None


class _NoisyOracle(Oracle):
    def __init__(self, problem: NoisyQuadratic, parameters: Array, gradient: Array, seeds: Sequence[int]) -> None:
        self._problem, self._parameters, self._gradient = problem, parameters, gradient
        self._keys = keys(list(seeds), "batch")
        self._draws = np.empty((len(parameters), problem.draws * DIMENSION))
        self._costs = np.empty(len(parameters))
        self._slopes = np.empty(DIMENSION)
        self._scratch = np.empty_like(gradient)

    def costs(self, step: int) -> NDArray[np.float64]:
        return self._evaluate(step, self._scratch)

    def gradient(self, step: int) -> NDArray[np.float64]:
        return self._evaluate(step, self._gradient)

    def examples(self, step: int) -> Iterator[float]:
        """The cost of each draw x_b: ½ (θ − x_b)ᵀ Q (θ − x_b)."""
        problem = self._problem
        normal(self._keys, step, self._draws)
        u = problem.rotation @ self._parameters[0].astype(np.float64)
        for draw in self._draws[0].reshape(problem.draws, DIMENSION):
            away = u - problem.noise * draw
            self._gradient[0] = (problem.curvatures * away) @ problem.rotation
            yield float(0.5 * np.sum(problem.curvatures * away * away))

    def _evaluate(self, step: int, gradient: Array) -> NDArray[np.float64]:
        problem = self._problem
        normal(self._keys, step, self._draws)
        _noisy_quadratic(
            self._parameters, self._draws, problem.noise, problem.curvatures, problem.rotation, self._slopes,
            gradient, self._costs,
        )  # fmt: skip
        return self._costs


@kernel
def _noisy_quadratic(
    parameters: Any, draws: Any, noise: float, curvatures: Any, rotation: Any, slopes: Any,
    gradient: Any, costs: Any,
) -> None:  # fmt: skip
    size = curvatures.size
    batch = draws.shape[1] // size
    for r in range(len(parameters)):
        total = 0.0
        for i in range(size):
            u = 0.0
            for j in range(size):
                u += rotation[i, j] * parameters[r, j]
            mean = square = 0.0
            for b in range(batch):
                away = u - noise * draws[r, b * size + i]
                mean += away / batch
                square += away * away / batch
            slopes[i] = curvatures[i] * mean
            total += 0.5 * curvatures[i] * square
        costs[r] = total
        for j in range(size):
            slope = 0.0
            for i in range(size):
                slope += rotation[i, j] * slopes[i]
            gradient[r, j] = slope
