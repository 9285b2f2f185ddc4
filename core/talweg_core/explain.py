"""Explain a step: a derivative in words, the tensors' shares of an update's effect, an optimizer's next update."""

from dataclasses import dataclass, field
from math import acos, degrees

import numpy as np

from talweg_core.cohort import Cohort
from talweg_core.errors import EngineError
from talweg_core.layout import Array, Layout

# The nudges tried, in this order: the first at which the derivative predicts the change of the cost is used.
_NUDGES = (1.0, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class TensorShare:
    """One tensor: Euclidean norms of its gradient g and update u, and g · u, the predicted change of the cost."""

    tensor: str
    gradient_norm: float
    update_norm: float
    predicted_change: float


@dataclass(frozen=True)
class CoordinateShare:
    """One coordinate: its parameter, derivative g and update u, and g u, the predicted change of the cost."""

    tensor: str
    index: tuple[int, ...]
    parameter: float
    derivative: float
    update: float
    predicted_change: float


def tensor_shares(layout: Layout, gradient: Array, update: Array) -> list[TensorShare]:
    """Every tensor, the largest |g · u| first; gradient and update are (P,)."""
    g, u = gradient.astype(np.float64), update.astype(np.float64)
    found = [
        TensorShare(name, float(np.linalg.norm(g[s])), float(np.linalg.norm(u[s])), float(g[s] @ u[s]))
        for name, s in ((name, layout.slice(name)) for name in layout.names)
    ]
    return sorted(found, key=lambda share: -abs(share.predicted_change))


def coordinate_shares(
    layout: Layout, parameters: Array, gradient: Array, update: Array, count: int
) -> list[CoordinateShare]:
    """The `count` coordinates with the largest |g u|, in that order; arrays are (P,)."""
    products = gradient.astype(np.float64) * update.astype(np.float64)
    # NaN sorts last: in a diverged step, the coordinates that are still numbers come first.
    order = np.argsort(-np.abs(products), kind="stable")[:count]
    return [
        CoordinateShare(
            *layout.place(int(i)), float(parameters[i]), float(gradient[i]), float(update[i]), float(products[i])
        )
        for i in order
    ]


@dataclass(frozen=True, eq=False)
class NextUpdate:
    """The next update of one optimizer.

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
    """Make one step of a cohort of one run, in place, and return its update."""
    step, before = cohort.step, cohort.parameters[0].astype(np.float64)
    record = cohort.advance()
    gradient = record.gradient[0].astype(np.float64)
    with np.errstate(all="ignore"):
        update = cohort.parameters[0].astype(np.float64) - before
    # The cost after the update, on the same batch and noise.
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
    """One coordinate at one step: the cost after a nudge δ, as the derivative predicts it and as recomputed."""

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
        """The explanation in words."""
        measured = (self.nudged_cost - self.cost) / self.nudge
        agrees = abs(self.nudged_cost - self.predicted_cost) <= 0.005 * abs(self.nudged_cost - self.cost)
        link = "so" if agrees else f"{_number(measured)} a unit;"
        if self.derivative == 0:
            meaning = "at this point the cost does not move with it"
        else:
            opposite = "" if self.derivative > 0 else ", the other way"
            meaning = f"the cost moves {_times(abs(self.derivative))} as much as the {self.kind}{opposite}"
        verb = "raises" if self.nudged_cost > self.cost else "lowers" if self.nudged_cost < self.cost else "keeps"
        change = f"from {_number(self.cost)} to {_number(self.nudged_cost)}"
        return (
            f"Raising {self.where} from {_number(self.parameter)} to {_number(self.parameter + self.nudge)} "
            f"{verb} the cost {change}, {link} the derivative is {_number(self.derivative)}: {meaning}. "
            f"{self.optimizer} made an update of {_number(self.update)}." + (f" {self.reason}" if self.reason else "")
        )

    @property
    def kind(self) -> str:
        """weight, bias, or parameter."""
        last = self.tensor.rsplit(".", 1)[-1]
        return last if last in ("weight", "bias") else "parameter"

    @property
    def where(self) -> str:
        """`dense1.weight[3, 5]`; the name alone for a tensor of one number."""
        index = ", ".join(map(str, self.index))
        return f"`{self.tensor}`" if set(self.index) <= {0} and self.single else f"`{self.tensor}[{index}]`"

    single: bool = False
    # The optimizer's learning rate, and its state at this coordinate before and after this gradient, where known.
    learning_rate: float | None = None
    state: dict[str, float] = field(default_factory=dict)
    state_after: dict[str, float] = field(default_factory=dict)

    @property
    def descent(self) -> float | None:
        """−η g: the update of plain gradient descent at the same learning rate."""
        return None if self.learning_rate is None else -self.learning_rate * self.derivative

    @property
    def reason(self) -> str:
        """Why the update has its size, in words; empty where the learning rate is not known."""
        if self.descent is None:
            return ""
        rate = f"At its learning rate of {_number(self.learning_rate or 0.0)}"
        if self.descent == 0:
            compared = f"{rate}, gradient descent would have made no update."
        else:
            ratio = self.update / self.descent
            same = "the same" if abs(ratio - 1) < 5e-4 else f"{_number(ratio)} times that"
            compared = (
                f"{rate}, gradient descent would have made an update of {_number(self.descent)}; this one is {same}."
            )
        if not self.state_after:
            return compared
        changes = ", ".join(
            f"{name} from {_number(self.state[name])} to {_number(value)}" for name, value in self.state_after.items()
        )
        return f"{compared} With this derivative, the state of {self.optimizer} there changed: {changes}."


def state_at(cohort: Cohort, row: int, position: int) -> dict[str, float]:
    """The optimizer's state of run `row`: its numbers for one coordinate, and its numbers for the whole run."""
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
    """Explain one coordinate of run `row` at the cohort's step, without a step.

    `update` is the coordinate's recorded update. Without `nudge`, it is the largest of 1, 0.1, 0.01 and 0.001 for which
    the predicted and the recomputed change of the cost agree to 5 %, or else 0.001. Raises UnknownName or EngineError.
    """
    layout = cohort.problem.layout
    position = layout.position(tensor, index)
    if nudge is not None and (nudge == 0 or nudge != nudge or abs(nudge) == float("inf")):
        raise EngineError(f"nudge: must be finite and not 0, got {nudge}")
    costs, gradient = cohort.gradient()
    cost, derivative = float(costs[row]), float(gradient[row, position])
    tried = (nudge,) if nudge is not None else _NUDGES
    for delta in tried:
        nudged_parameters = cohort.parameters.copy()
        with np.errstate(over="ignore"):
            nudged_parameters[row, position] += delta
        nudged = float(cohort.costs(nudged_parameters)[row])
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
