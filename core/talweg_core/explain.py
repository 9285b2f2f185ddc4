"""Explain a step: one derivative in numbers and a sentence, shares of an update's effect, an optimizer's update."""

from dataclasses import dataclass, field
from math import acos, degrees

import numpy as np

from talweg_core.cohort import Cohort
from talweg_core.errors import EngineError
from talweg_core.layout import Array, Layout

# Nudges to choose from: the largest at which derivative and truth still agree tells most.
_NUDGES = (1.0, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class TensorShare:
    """One tensor: Euclidean norms of its derivatives and its update, and g · u, what it does to the cost by those."""

    tensor: str
    gradient_norm: float
    update_norm: float
    predicted_change: float


@dataclass(frozen=True)
class CoordinateShare:
    """One coordinate: its parameter, derivative g and update u, and g u."""

    tensor: str
    index: tuple[int, ...]
    parameter: float
    derivative: float
    update: float
    predicted_change: float


def tensor_shares(layout: Layout, gradient: Array, update: Array) -> list[TensorShare]:
    """Every tensor, the one that mattered most first; gradient and update are (P,)."""
    g, u = gradient.astype(np.float64), update.astype(np.float64)
    found = [
        TensorShare(name, float(np.linalg.norm(g[s])), float(np.linalg.norm(u[s])), float(g[s] @ u[s]))
        for name, s in ((name, layout.slice(name)) for name in layout.names)
    ]
    return sorted(found, key=lambda share: -abs(share.predicted_change))


def coordinate_shares(
    layout: Layout, parameters: Array, gradient: Array, update: Array, count: int
) -> list[CoordinateShare]:
    """The `count` coordinates that mattered most, in that order; arrays are (P,)."""
    products = gradient.astype(np.float64) * update.astype(np.float64)
    # NaN sorts last: of a diverged step, what is still a number comes first.
    order = np.argsort(-np.abs(products), kind="stable")[:count]
    return [
        CoordinateShare(
            *layout.place(int(i)), float(parameters[i]), float(gradient[i]), float(update[i]), float(products[i])
        )
        for i in order
    ]


@dataclass(frozen=True, eq=False)
class NextUpdate:
    """One optimizer's answer.

    Attributes:
        update: θ_{t+1} − θ_t (P,), in float64.
        angle: Between the update and −g_t, in degrees; None where either is zero or not finite.
        cost: C(θ_t; B_t).
        cost_after: C(θ_{t+1}; B_t), on the same batch.
    """

    optimizer: str
    learning_rate: float
    update: Array
    angle: float | None
    cost: float
    cost_after: float

    @property
    def size(self) -> float:
        """The update's Euclidean norm."""
        return float(np.linalg.norm(self.update))


def next_update(cohort: Cohort) -> NextUpdate:
    """Let a cohort of one run make its step, in place, and say what it was."""
    step, before = cohort.step, cohort.parameters[0].astype(np.float64)
    record = cohort.advance()
    gradient = record.gradient[0].astype(np.float64)
    with np.errstate(all="ignore"):
        update = cohort.parameters[0].astype(np.float64) - before
    # The batch and the noise are the step's that was made.
    cohort.step = step
    after = float(cohort.costs()[0])
    cohort.step = step + 1
    return NextUpdate(
        optimizer=cohort.optimizers[0].name,
        learning_rate=float(record.learning_rates[0]),
        update=update,
        angle=_angle(update, -gradient),
        cost=float(record.costs[0]),
        cost_after=after,
    )


def _angle(one: Array, other: Array) -> float | None:
    with np.errstate(all="ignore"):
        sizes = float(np.linalg.norm(one) * np.linalg.norm(other))
    if not 0 < sizes < np.inf:
        return None
    return degrees(acos(max(-1.0, min(1.0, float(one @ other) / sizes))))


@dataclass(frozen=True)
class Explanation:
    """One coordinate at one step: what a nudge δ does to the cost by the derivative, and in truth."""

    tensor: str
    index: tuple[int, ...]
    step: int
    optimizer: str
    parameter: float
    derivative: float
    update: float
    cost: float
    nudge: float
    # The cost at θ + δ, recomputed on the same batch.
    nudged_cost: float

    @property
    def predicted_cost(self) -> float:
        """C + δ ∂C/∂θ."""
        return self.cost + self.nudge * self.derivative

    @property
    def sentence(self) -> str:
        """As a person would say it."""
        truth = (self.nudged_cost - self.cost) / self.nudge
        agrees = abs(self.nudged_cost - self.predicted_cost) <= 0.005 * abs(self.nudged_cost - self.cost)
        so = "so" if agrees else f"{_number(truth)} a unit;"
        if self.derivative == 0:
            meaning = "at this point the cost does not move with it"
        else:
            way = "" if self.derivative > 0 else ", the other way"
            meaning = f"the cost moves {_times(abs(self.derivative))} as much as the {self.kind}{way}"
        moved = "raises" if self.nudged_cost > self.cost else "lowers" if self.nudged_cost < self.cost else "keeps"
        change = f"from {_number(self.cost)} to {_number(self.nudged_cost)}"
        return (
            f"Raising {self.where} from {_number(self.parameter)} to {_number(self.parameter + self.nudge)} "
            f"{moved} the cost {change}, {so} the derivative is {_number(self.derivative)}: {meaning}. "
            f"{self.optimizer} answered with an update of {_number(self.update)}."
            + (f" {self.reason}" if self.reason else "")
        )

    @property
    def kind(self) -> str:
        """weight, bias, or parameter."""
        last = self.tensor.rsplit(".", 1)[-1]
        return last if last in ("weight", "bias") else "parameter"

    @property
    def where(self) -> str:
        """`dense1.weight[3, 5]`, or for a tensor of one number its name alone."""
        place = ", ".join(map(str, self.index))
        return f"`{self.tensor}`" if set(self.index) <= {0} and self.single else f"`{self.tensor}[{place}]`"

    single: bool = False
    # What the optimizer had there, where that is known: its rate, and its state before and after this gradient.
    learning_rate: float | None = None
    state: dict[str, float] = field(default_factory=dict)
    state_after: dict[str, float] = field(default_factory=dict)

    @property
    def descent(self) -> float | None:
        """−η g: what plain gradient descent would have answered at the same rate."""
        return None if self.learning_rate is None else -self.learning_rate * self.derivative

    @property
    def reason(self) -> str:
        """Why the update has its size, in words; nothing where the optimizer's state is not known."""
        if self.descent is None:
            return ""
        rate = f"At its learning rate of {_number(self.learning_rate or 0.0)}"
        if self.descent == 0:
            compared = f"{rate}, gradient descent would not have moved it."
        else:
            ratio = self.update / self.descent
            same = "just that" if abs(ratio - 1) < 5e-4 else f"{_number(ratio)} times that"
            compared = f"{rate}, gradient descent would have answered {_number(self.descent)}; the update is {same}."
        if not self.state_after:
            return compared
        kept = ", ".join(
            f"{name} from {_number(self.state[name])} to {_number(value)}" for name, value in self.state_after.items()
        )
        return f"{compared} What {self.optimizer} keeps there went with this derivative: {kept}."


def state_at(cohort: Cohort, row: int, position: int) -> dict[str, float]:
    """The optimizer's state of run `row` at one coordinate: what it has a number for each of, and its own numbers."""
    size = cohort.problem.layout.size
    found = {}
    for name, array in cohort.state.items():
        if array.shape[1:] == (size,):
            found[name] = float(array[row, position])
        elif array.ndim == 1:
            found[name] = float(array[row])
    return found


def explain(
    cohort: Cohort,
    row: int,
    tensor: str,
    index: tuple[int, ...],
    *,
    update: float,
    nudge: float | None = None,
) -> Explanation:
    """Explain one coordinate of run `row` at the cohort's step; moves nothing.

    `update` is what the optimizer made of it, as recorded. Without `nudge` the largest of 1, 0.1, 0.01 and 0.001 is
    taken at which derivative and truth agree to 5 %, else the least. Raises UnknownName or EngineError.
    """
    layout = cohort.problem.layout
    position = layout.position(tensor, index)
    if nudge is not None and (nudge == 0 or nudge != nudge or abs(nudge) == float("inf")):
        raise EngineError(f"nudge: must be finite and not 0, got {nudge}")
    costs, gradient = cohort.look()
    cost, derivative = float(costs[row]), float(gradient[row, position])
    tried = (nudge,) if nudge is not None else _NUDGES
    for delta in tried:
        moved = cohort.parameters.copy()
        with np.errstate(over="ignore"):
            moved[row, position] += delta
        nudged = float(cohort.costs(moved)[row])
        if abs(nudged - cost - delta * derivative) <= 0.05 * abs(delta * derivative):
            break
    return Explanation(
        tensor=tensor,
        index=index,
        step=cohort.step,
        optimizer=type(cohort.optimizers[row]).__name__,
        parameter=float(cohort.parameters[row, position]),
        derivative=derivative,
        update=update,
        cost=cost,
        nudge=delta,
        nudged_cost=nudged,
        single=layout.slice(tensor).stop - layout.slice(tensor).start == 1,
    )


_WORDS = {1.0: "exactly as much", 2.0: "twice", 3.0: "three times", 4.0: "four times", 5.0: "five times"}


def _times(factor: float) -> str:
    return _WORDS.get(round(factor, 6), f"{_number(factor)} times")


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")
