"""Test functions: a cost over a few coordinates, with a known minimum and no data."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from talweg_core.compilation import Kernel, specialise
from talweg_core.errors import InvalidProblem
from talweg_core.layout import Array, Layout
from talweg_core.problems.base import Oracle, Problem
from talweg_core.problems.network_problem import start_of
from talweg_core.randomness import stream

# surface(x (P,), gradient (P,), constants) -> cost: writes the gradient, computes in float64.
Surface = Callable[[Any, Any, Any], Any]
# A point, or "random": drawn by each run's seed.
Start = Sequence[float] | Literal["random"]
Box = tuple[float, float]


class SurfaceProblem(Problem):
    """Minimise a test function of one tensor, "x"."""

    def __init__(
        self,
        name: str,
        surface: Surface,
        start: Start,
        *,
        constants: tuple[Any, ...] = (),
        minimiser: Sequence[float],
        minimum: float = 0.0,
        box: Box | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """`constants` are passed to `surface`; `minimiser` (P,) is a point where the cost is `minimum`.

        `box` is the usual domain, the same interval in each coordinate; a start may be "random" only where it is given.
        """
        self.name = name
        self.layout = Layout.of({"x": (len(minimiser),)})
        # None: drawn by the seed.
        self.start = fixed_start(name, start, len(minimiser), box)
        self.minimiser = np.asarray(minimiser, dtype=np.float64)
        self.least, self.box, self._constants, self._surface = minimum, box, constants, surface
        self._settings = settings or {}

    @property
    def surface(self) -> Surface:
        """The test function; its docstring holds the formulas of the function and its derivatives."""
        return self._surface

    def settings(self) -> dict[str, Any]:
        """The starting point, and the settings of the surface."""
        return {"start": "random" if self.start is None else self.start.tolist()} | self._settings

    def initial(self, seed: int) -> Array:
        """The starting point, whatever the seed; or drawn evenly from the box by (seed, "parameters")."""
        return drawn_start(self.box, self.layout.size, seed) if self.start is None else self.start.copy()

    def bind(self, parameters: Array, gradient: Array, seeds: Sequence[int], batch_size: int) -> Oracle:
        """Bind to buffers."""
        return _SurfaceOracle(specialise(_every_row, surface=self._surface), parameters, gradient, self._constants)


def fixed_start(name: str, start: Start, size: int, box: Box | None) -> Array | None:
    """A starting point (P,) in float64, None for "random"; raises InvalidProblem where it can be neither."""
    if isinstance(start, str):
        if start != "random" or box is None:
            also = '"random" or ' if box is not None else ""
            raise InvalidProblem(f"{name}: start must be {also}a list of {size} numbers, got {start!r}")
        return None
    checked = start_of(name, start, size)
    if checked is None:
        raise InvalidProblem(f"{name}: start must be given")
    return checked


def drawn_start(box: Box | None, size: int, seed: int) -> Array:
    """A point (P,) drawn evenly from the box by (seed, "parameters")."""
    assert box is not None
    return stream(seed, "parameters").uniform(*box, size)


class _SurfaceOracle(Oracle):
    def __init__(self, rows: Kernel, parameters: Array, gradient: Array, constants: tuple[Any, ...]) -> None:
        self._rows, self._parameters, self._gradient, self._constants = rows, parameters, gradient, constants
        self._scratch = np.empty_like(gradient)
        self._costs = np.empty(len(parameters))

    def costs(self, step: int) -> NDArray[np.float64]:
        self._rows(self._parameters, self._scratch, self._costs, self._constants)
        return self._costs

    def gradient(self, step: int) -> NDArray[np.float64]:
        self._rows(self._parameters, self._gradient, self._costs, self._constants)
        return self._costs


def surface(*_: Any) -> Any:
    """A name for the linter: `specialise` binds it to the test function."""


def _every_row(parameters: Any, gradient: Any, costs: Any, constants: Any) -> None:
    """Write costs (R,) and gradient (R, P) of every run."""
    for r in range(len(parameters)):
        costs[r] = surface(parameters[r], gradient[r], constants)
