"""What an instrument is: some numbers about one step, found from the record when asked for."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from talweg.records.walk import Point
from talweg.store import RunRow
from talweg_core import Cohort
from talweg_core.layout import Array


@dataclass(frozen=True, eq=False)
class Around:
    """One step and what lies around it, each only where the instrument asks for it.

    Attributes:
        norms: (3, T): of each tensor, the norm of gradient, parameters and update.
        point: Cost, parameters and gradient of the step itself.
        earlier, later: Those of the steps before and after; None where the record has none.
        start: θ_0 (P,).
        cohort: What makes a point's cohort of one run, on its batch.
    """

    step: int
    norms: Callable[[], Array]
    point: Callable[[], Point]
    earlier: Point | None
    later: Point | None
    start: Callable[[], Array]
    cohort: Callable[[Point], Cohort]


class Instrument(ABC):
    """One instrument; its docstring is its formula.

    Attributes:
        says: What it shows, in a line.
        points: Whether it looks at parameters and gradients; `earlier` and `later` whether at those beside, too.
        edges: Of a histogram, the bounds between its bins.
    """

    name: ClassVar[str]
    says: ClassVar[str]
    points: ClassVar[bool] = True
    earlier: ClassVar[bool] = False
    later: ClassVar[bool] = False
    edges: ClassVar[Array | None] = None

    def columns(self, run: RunRow) -> list[str]:
        """The names of its numbers; the first is what it is about."""
        return [self.name]

    def check(self, at: Around) -> str | None:
        """Why it has nothing to say about runs like this one; None where it has."""
        return None

    @abstractmethod
    def measure(self, at: Around) -> Sequence[float]:
        """A number for each column; NaN where there is none."""


def by_tensor(name: str, run: RunRow) -> list[str]:
    """One of all coordinates, and one for each tensor: `name`, `name.dense1.weight`, …"""
    return [name, *(f"{name}.{tensor['name']}" for tensor in run.tensors)]
