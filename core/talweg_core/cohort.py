"""The cohort: R runs of one problem under one optimizer, trained in lock-step.

A step is a pure function of (spec, seed, step, parameters, optimizer state). So a cohort can be restored from any
checkpoint, and a run's bits depend neither on the other runs of its cohort nor on where it was interrupted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from talweg_core.checkpoint import pack, unpack
from talweg_core.compilation import kernel, ready, summing_kernel
from talweg_core.data import Precision
from talweg_core.errors import InvalidCheckpoint, InvalidCohort
from talweg_core.evaluations import Counts, Trials
from talweg_core.layout import Array
from talweg_core.optimizers.base import Flags, Hyperparameters, Numbers, Optimizer, Situation
from talweg_core.problems.base import Problem
from talweg_core.schedules import Constant, Schedule

StopReason = Literal["finished", "diverged", "target", "time", "cancelled", "failed"]
STOP_REASONS: tuple[str, ...] = get_args(StopReason)
# The width of the central difference in `Cohort.hessian_product`, in float64.
_NARROW = 1e-9


@dataclass(frozen=True)
class Record:
    """Step `step` of every run: its cost C_t (float64), gradient g_t and learning rate.

    `gradient` (R, P) is a live buffer, overwritten by the next step. `stepped` (R,) is true for the runs that were
    active: the record is valid for those alone. `diverged` (R,) is true for the runs among them whose cost or gradient
    was not finite; their parameters do not change, and this is their last step.
    """

    step: int
    costs: Numbers
    gradient: Array
    learning_rates: Numbers
    stepped: Flags
    diverged: Flags
    # (3, R): the evaluations that the optimizer made in addition to this gradient; None where it made none.
    trials: NDArray[np.int64] | None = None

    @property
    def evaluations(self) -> Counts:
        """How many gradients, costs and Hessian products (R,) this step took; a gradient includes its cost."""
        counts = np.zeros((3, len(self.stepped)), dtype=np.int64) if self.trials is None else self.trials.copy()
        counts[0] += self.stepped
        return Counts(*counts)


class Cohort:
    """Runs in lock-step; `checkpoint(row)` holds everything that a run's further steps depend on."""

    def __init__(
        self,
        problem: Problem,
        optimizers: Sequence[Optimizer],
        seeds: Sequence[int],
        *,
        batch_size: int | None = None,
        precision: Precision = "float32",
        schedule: Schedule | Sequence[Schedule] | None = None,
    ) -> None:
        """One optimizer and one seed for each run; one schedule for all, or one for each. Raises InvalidCohort."""
        runs = len(seeds)
        if not runs or len(optimizers) != runs:
            raise InvalidCohort(
                f"cohort: needs one optimizer for each seed, got {len(optimizers)} optimizers and {runs} seeds"
            )
        if precision not in ("float32", "float64"):
            raise InvalidCohort(f"precision: must be float32 or float64, got {precision!r}")
        schedules = [schedule or Constant()] * runs if not isinstance(schedule, Sequence) else list(schedule)
        if len(schedules) != runs:
            raise InvalidCohort(
                f"cohort: needs one schedule for each run, got {len(schedules)} schedules for {runs} runs"
            )
        self.problem, self.optimizers, self.seeds = problem, tuple(optimizers), tuple(seeds)
        self.batch_size = batch_size or (problem.examples if optimizers[0].full_batch else problem.default_batch_size)
        if optimizers[0].full_batch and self.batch_size != problem.examples:
            raise InvalidCohort(
                f"{optimizers[0].name}: batch_size must be all {problem.examples} training examples, got {batch_size}"
            )
        self.precision = precision
        self.step = 0
        dtype = np.dtype(precision)
        drawn = {seed: problem.initial(seed) for seed in set(seeds)}
        self.parameters: Array = np.stack([drawn[seed] for seed in seeds]).astype(dtype)
        self.active: Flags = np.ones(runs, dtype=np.bool_)
        self.stop_reasons: list[StopReason | None] = [None] * runs
        self._gradient = np.zeros_like(self.parameters)
        self._schedules = schedules
        self._constant = all(isinstance(schedule, Constant) for schedule in schedules)
        self._hyperparameters = Hyperparameters(optimizers)
        self._learning_rates = self._hyperparameters.learning_rate
        self._rule = optimizers[0].bind(optimizers, problem.layout, dtype)
        self._oracle = problem.bind(self.parameters, self._gradient, self.seeds, self.batch_size)
        self._trials = Trials(problem, self._oracle, self.parameters, self._gradient, self.seeds, self.batch_size)
        # The number of updates of each run, from which Adam corrects its moments.
        self._updates = np.zeros(runs)
        self._count = ready(_add, self.active, self._updates)

    @property
    def runs(self) -> int:
        """R."""
        return len(self.seeds)

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """The optimizer's state by name, one row for each run; live buffers."""
        return self._rule.state

    def gradient(self) -> tuple[Numbers, Array]:
        """Costs (R,) and gradient (R, P) at this step's parameters and batch, without a step; live buffers."""
        with np.errstate(all="ignore"):
            return self._oracle.gradient(self.step), self._gradient

    def costs(self, parameters: Array | None = None) -> Numbers:
        """The costs (R,) of `parameters` (R, P), by default the current ones, on this step's batch; without a step."""
        kept = self.parameters.copy()
        with np.errstate(all="ignore"):
            if parameters is not None:
                self.parameters[:] = parameters
            costs = self._oracle.costs(self.step).copy()
        self.parameters[:] = kept
        return costs

    def examples(self) -> Iterator[tuple[float, Array]]:
        """For a cohort of one run: each example's cost and gradient (P,) at this step, without a step; a live buffer.

        Their means are the batch's cost and gradient. In the order of the batch; none where the problem has no
        examples. Raises EngineError where the cost is not a mean over examples.
        """
        found = self._oracle.examples(self.step)
        while True:
            # Not across the yield, where the caller's warnings must stay as they are.
            with np.errstate(all="ignore"):
                cost = next(found, None)
            if cost is None:
                return
            yield cost, self._gradient[0]

    def hessian_product(self, vector: Array) -> Array:
        """For a cohort of one run: H v (P,) in float64 on this step's batch.

        By central differences as in talweg_core.evaluations, with a width of 1e-9. The rounding error is about 1e-7 of
        the gradient's size, small enough for an eigenvalue. Such a short difference hardly ever crosses the kink of a
        relu, where a secant may be a thousand times H.
        """
        self._trials.begin(self.step)
        with np.errstate(all="ignore"):
            vectors = vector.astype(np.float64)[None]
            product: Array = self._trials.hessian_product(vectors, self.active, width=_NARROW)[0]
        return product

    def advance(self) -> Record:
        """Make one step, in place."""
        stepped = self.active.copy()
        with np.errstate(all="ignore"):
            costs = self._oracle.gradient(self.step).copy()
            diverged = np.empty_like(stepped)
            if _not_finite(stepped, costs, self._gradient, diverged):
                for row in np.flatnonzero(diverged):
                    self.freeze(int(row), "diverged")
            # Before the optimizer evaluates other points: the network's state must follow the evaluation at θ_t.
            self._oracle.settle(self.active)
            rates = self.learning_rates()
            self._trials.begin(self.step)
            h = self._hyperparameters if self._constant else self._hyperparameters | {"learning_rate": rates}
            self._rule.update(
                Situation(self.parameters, costs, self._gradient, self._updates, h, self.active, self._trials)
            )
        self._count()
        record = Record(self.step, costs, self._gradient, rates, stepped, diverged, self._trials.counts())
        self.step += 1
        return record

    def run(self, steps: int) -> Iterator[Record]:
        """Make steps until `self.step` is `steps` or no run is active; yields each record."""
        while self.step < steps and self.active.any():
            yield self.advance()

    def learning_rates(self) -> Numbers:
        """η_t (R,) of the next step."""
        if self._constant:
            return self._learning_rates
        factors = [schedule.factor(self.step) for schedule in self._schedules]
        return self._learning_rates * factors

    def freeze(self, row: int, reason: StopReason) -> None:
        """End one run: later steps neither update nor record it."""
        self.active[row] = False
        self.stop_reasons[row] = reason

    def norms(self, previous: Array, record: Record) -> Numbers:
        """Euclidean norms (3, R, T) of each tensor: of g_t, of θ_t = `previous` and of θ_{t+1} − θ_t.

        In place, `previous` becomes θ_{t+1}, so that a caller who reads every step passes over memory once, not twice.
        """
        offsets = self.problem.layout.offsets
        out = np.empty((3, self.runs, len(offsets) - 1))
        _norms(record.gradient, previous, self.parameters, offsets, out)
        return out

    def evaluate(self, row: int, split: str) -> tuple[float, float | None]:
        """Cost and metric of one run on a whole split, at its evaluation parameters."""
        parameters = self.evaluation_parameters[row]
        with np.errstate(all="ignore"):
            if self._oracle.state is None:
                return self.problem.evaluate(parameters, split)
            return self.problem.evaluate(parameters, split, self._oracle.state[row])

    @property
    def evaluation_parameters(self) -> Array:
        """The point (R, P) at which runs are evaluated: an average that the optimizer keeps, or else the parameters."""
        with np.errstate(all="ignore"):
            return self._rule.evaluation_parameters(self.parameters, self._updates)

    def batch(self, row: int, step: int) -> NDArray[np.int64]:
        """The indices (B,) of the training examples in the batch of run `row` at `step`."""
        return self._oracle.batch(row, step)

    def checkpoint(self, row: int) -> bytes:
        """Everything except its spec that the further steps of run `row` depend on."""
        facts = {
            "step": self.step,
            "stop_reason": self.stop_reasons[row],
            "updates": float(self._updates[row]),
        }
        return pack(facts, {name: array[row] for name, array in self._kept().items()})

    def _kept(self) -> dict[str, NDArray[Any]]:
        """The arrays that a step changes: parameters, the optimizer's state and, where it has any, the network's."""
        network = self._oracle.state
        kept: dict[str, NDArray[Any]] = {"parameters": self.parameters}
        kept |= {f"state.{name}": array for name, array in self.state.items()}
        return kept if network is None or not network.size else kept | {"network": network}

    def restore(self, row: int, payload: bytes) -> None:
        """Restore run `row` from a checkpoint, and set the cohort to its step; raises InvalidCheckpoint.

        All rows must be restored to the same step before the next step is made.
        """
        facts, arrays = unpack(payload)
        expected = self._kept()
        if _forms(arrays) != _forms({name: array[row] for name, array in expected.items()}):
            raise InvalidCheckpoint(f"checkpoint: must hold {sorted(expected)} of this cohort, got {sorted(arrays)}")
        for name, array in arrays.items():
            expected[name][row] = array
        self._rule.restored(row)
        self.step = int(facts["step"])
        self._updates[row] = facts["updates"]
        self.stop_reasons[row] = facts["stop_reason"]
        self.active[row] = facts["stop_reason"] is None


@kernel
def _add(active: Any, updates: Any) -> None:
    """Add 1 where active. NumPy takes ten times as long for one number."""
    for r in range(len(active)):
        updates[r] += active[r]


@summing_kernel
def _not_finite(stepped: Any, costs: Any, gradient: Any, out: Any) -> Any:
    """Write which of the stepped runs have a cost or derivative that is NaN or infinite; return whether any has."""
    found = False
    for r in range(len(costs)):
        out[r] = False
        if stepped[r]:
            row = gradient[r]
            # A finite number times 0 is 0; NaN and infinity give NaN, and a sum with NaN is NaN in any order.
            none = row.dtype.type(0)
            probe = none
            for i in range(row.size):
                probe += row[i] * none
            out[r] = not (np.isfinite(costs[r]) and probe == none)
            found |= out[r]
    return found


@summing_kernel
def _norms(gradient: Any, before: Any, after: Any, offsets: Any, out: Any) -> None:
    for r in range(len(gradient)):
        for k in range(len(offsets) - 1):
            # Loops over slices become vector instructions; loops from one offset to the next do not.
            first, last = offsets[k], offsets[k + 1]
            g, p, q = gradient[r, first:last], before[r, first:last], after[r, first:last]
            slope = size = moved = 0.0
            for i in range(g.size):
                # `float` would leave float32 as it is, and squares would be summed in float32.
                a, b = np.float64(g[i]), np.float64(p[i])
                c = np.float64(q[i]) - b
                p[i] = q[i]
                slope += a * a
                size += b * b
                moved += c * c
            out[0, r, k], out[1, r, k], out[2, r, k] = np.sqrt(slope), np.sqrt(size), np.sqrt(moved)


def same_rule(one: Optimizer, other: Optimizer) -> bool:
    """Whether one optimizer's state is valid for the other: the same kind, choices and wrappers.

    Numbers such as the learning rate or β₁ may differ.
    """
    return type(one) is type(other) and one.shared() == other.shared()


def parameters_of(payload: bytes) -> tuple[Array, Array | None]:
    """The parameters (P,) in a checkpoint, and the network's state (S,) or None."""
    _, arrays = unpack(payload)
    return arrays["parameters"], arrays.get("network")


def keeps_state(cohort: Cohort) -> bool:
    """Whether the network has state besides its parameters, as batch norm does."""
    return parameters_of(cohort.checkpoint(0))[1] is not None


def fresh_checkpoint(cohort: Cohort, step: int, parameters: Array, network: Array | None = None) -> bytes:
    """The checkpoint of a run at `step` with the optimizer's initial state.

    `cohort` must hold that run alone, at step 0. Raises InvalidCheckpoint where an array has another shape or
    precision.
    """
    facts, arrays = unpack(cohort.checkpoint(0))
    given = {"parameters": parameters} if network is None else {"parameters": parameters, "network": network}
    for name, array in given.items():
        if name not in arrays or (array.dtype, array.shape) != (arrays[name].dtype, arrays[name].shape):
            raise InvalidCheckpoint(
                f"{name}: must have this run's shape and precision, got {array.dtype} {array.shape}"
            )
    return pack(facts | {"step": step}, arrays | given)


def checkpoint_fits(cohort: Cohort, payload: bytes) -> bool:
    """Whether the only run of `cohort` can continue from this checkpoint."""
    return _forms(unpack(payload)[1]) == _forms(unpack(cohort.checkpoint(0))[1])


def _forms(arrays: dict[str, NDArray[Any]]) -> dict[str, tuple[Any, tuple[int, ...]]]:
    return {name: (array.dtype, array.shape) for name, array in arrays.items()}
