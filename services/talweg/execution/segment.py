"""A few consecutive steps of a cohort, as arrays, and as bytes between a worker and its writer process."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from talweg.store import StopReason
from talweg.store.batch import CHUNK_STEPS, ROW_COORDINATES, Resolved

if TYPE_CHECKING:
    from talweg_core import Cohort, Record

# The writer process does not import the engine, which would take 100 MB more.

Array = NDArray[np.floating[Any]]

Numbers = NDArray[np.float64]

# Bytes of one segment's gradients and parameters; wide cohorts have shorter segments.
_SEGMENT_BYTES = 16_000_000


@dataclass(frozen=True)
class Evaluated:
    """Cost and metric of one run's parameters before `step`, on a whole split."""

    row: int
    step: int
    split: str
    cost: float
    metric: float | None


@dataclass(frozen=True)
class Checkpoint:
    """All that a run's next steps depend on, `step` updates after its start."""

    step: int
    payload: bytes
    # Stored for good; otherwise replaced by the next one.
    kept: bool


@dataclass(kw_only=True)
class Columns:
    """The numbers of n consecutive steps of R runs with T tensors each.

    Shapes: costs, learning_rates, stepped (n, R); norms (n, 3, R, T) of gradient, parameters and update; seconds
    (n,), a run's share of the step's time; evaluations (n, 3, R), None as long as every step took one gradient.
    """

    first_step: int
    costs: Numbers
    learning_rates: Numbers
    norms: Numbers
    seconds: Numbers
    evaluations: NDArray[np.int64] | None = None
    stepped: NDArray[np.bool_]

    def counted(self) -> NDArray[np.int64]:
        """The evaluations (n, 3, R); one gradient each step where they are None."""
        if self.evaluations is not None:
            return self.evaluations
        return one_gradient_each(*self.costs.shape)


_COLUMNS = tuple(column.name for column in fields(Columns) if column.name != "first_step")
_VECTORS = ("gradients", "parameters", "after")
# Widest elements first, so that each array is aligned.
_ARRAYS = (*(name for name in _COLUMNS if name != "stepped"), *_VECTORS, "stepped")


@dataclass(kw_only=True)
class Segment(Columns):
    """Steps first_step … first_step + count − 1 of R runs: columns and vectors with room for `capacity` steps.

    Gradients and parameters are (n, R, P) in the runs' precision, or None where nothing needs them.
    """

    capacity: int
    count: int = 0
    gradients: Array | None
    parameters: Array | None
    # The parameters (R, P) after the last step, where gradients are kept.
    after: Array | None = None
    evaluated: list[Evaluated] = field(default_factory=list)
    checkpoints: dict[int, list[Checkpoint]] = field(default_factory=dict)
    stops: dict[int, StopReason] = field(default_factory=dict)
    # The writer commits after this segment.
    commit: bool = False

    @classmethod
    def of(cls, cohort: "Cohort", record: Resolved, last_step: int) -> "Segment":
        """An empty segment from the cohort's step on; it ends at a multiple of CHUNK_STEPS or earlier."""
        runs, size = cohort.parameters.shape
        tensors = len(cohort.problem.layout.names)
        keeps = record == "full" or size <= ROW_COORDINATES
        room = max(1, _SEGMENT_BYTES // (2 * cohort.parameters.nbytes)) if keeps else CHUNK_STEPS
        capacity = min(CHUNK_STEPS - cohort.step % CHUNK_STEPS, last_step - cohort.step, room)
        kept = (capacity, runs, size)
        return cls(
            first_step=cohort.step,
            capacity=capacity,
            costs=np.empty((capacity, runs)),
            learning_rates=np.empty((capacity, runs)),
            stepped=np.zeros((capacity, runs), dtype=np.bool_),
            norms=np.empty((capacity, 3, runs, tensors)),
            seconds=np.empty(capacity),
            gradients=np.empty(kept, cohort.parameters.dtype) if keeps else None,
            parameters=np.empty(kept, cohort.parameters.dtype) if keeps else None,
        )

    @property
    def full(self) -> bool:
        """Whether it has no room for another step."""
        return self.count == self.capacity

    @property
    def nbytes(self) -> int:
        """Bytes in memory, without the small arrays."""
        arrays = (self.norms, self.gradients, self.parameters, self.after)
        payloads = (len(made.payload) for checkpoints in self.checkpoints.values() for made in checkpoints)
        return sum(array.nbytes for array in arrays if array is not None) + sum(payloads)

    def add(self, record: "Record", norms: Numbers, seconds: float) -> None:
        """Copy a step's record, whose gradient is a live buffer; the parameters were copied before the step."""
        i = self.count
        self.seconds[i] = seconds / max(int(record.stepped.sum()), 1)
        if record.trials is not None:
            self._count(i, record)
        self.costs[i], self.learning_rates[i], self.stepped[i] = record.costs, record.learning_rates, record.stepped
        self.norms[i] = norms
        if self.gradients is not None:
            self.gradients[i] = record.gradient
        self.count += 1

    def _count(self, i: int, record: "Record") -> None:
        if self.evaluations is None:
            self.evaluations = one_gradient_each(self.capacity, len(record.costs))
        made = record.evaluations
        self.evaluations[i] = made.gradients, made.costs, made.hessian_products

    def columns(self) -> Columns:
        """Its columns so far, as views; they do not keep the vectors in memory."""
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _COLUMNS}
        for name, array in arrays.items():
            arrays[name] = None if array is None else array[: self.count]
        return Columns(first_step=self.first_step, **arrays)

    def steps_of(self, row: int) -> int:
        """The number of its steps that the run in this row made; a run that has stopped makes no more."""
        return int(self.stepped[: self.count, row].sum())


def joined(parts: Sequence[Columns]) -> Columns:
    """Concatenate the columns of consecutive steps."""
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS if name != "evaluations"
    }
    if any(part.evaluations is not None for part in parts):
        arrays["evaluations"] = np.concatenate([part.counted() for part in parts])
    return Columns(first_step=parts[0].first_step, **arrays)


def one_gradient_each(steps: int, runs: int) -> NDArray[np.int64]:
    """Evaluations (steps, 3, runs) of gradients, costs and Hessian products, with one gradient each."""
    counts = np.zeros((steps, 3, runs), dtype=np.int64)
    counts[:, 0] = 1
    return counts


def pack(segment: Segment) -> tuple[dict[str, Any], list[memoryview]]:
    """The segment's steps so far, as a header for JSON and consecutive pieces of bytes."""
    arrays, pieces = [], list[memoryview]()
    for name in _ARRAYS:
        array = getattr(segment, name)
        if array is not None:
            part = array if name == "after" else array[: segment.count]
            arrays.append((name, part.dtype.str, part.shape))
            pieces.append(part.reshape(-1).view(np.uint8).data)
    checkpoints = [(row, made) for row, several in segment.checkpoints.items() for made in several]
    header = {
        "first_step": segment.first_step,
        "count": segment.count,
        "commit": segment.commit,
        "arrays": arrays,
        "evaluated": [(e.row, e.step, e.split, e.cost, e.metric) for e in segment.evaluated],
        "checkpoints": [(row, made.step, made.kept, len(made.payload)) for row, made in checkpoints],
        "stops": list(segment.stops.items()),
    }
    return header, pieces + [memoryview(made.payload) for _, made in checkpoints]


def unpack(header: dict[str, Any], body: NDArray[np.uint8]) -> Segment:
    """The segment that `pack` was given; its vectors are views of `body`, all else is copied."""
    at, arrays = 0, dict.fromkeys(_ARRAYS)
    for name, kind, shape in header["arrays"]:
        size = math.prod(shape) * np.dtype(kind).itemsize
        array = body[at : at + size].view(kind).reshape(shape)
        arrays[name], at = array if name in _VECTORS else array.copy(), at + size
    checkpoints: dict[int, list[Checkpoint]] = {}
    for row, step, kept, size in header["checkpoints"]:
        checkpoints.setdefault(row, []).append(Checkpoint(step, body[at : at + size].tobytes(), kept))
        at += size
    return Segment(
        first_step=header["first_step"],
        capacity=header["count"],
        count=header["count"],
        evaluated=[Evaluated(*one) for one in header["evaluated"]],
        checkpoints=checkpoints,
        stops=dict(header["stops"]),
        commit=header["commit"],
        **arrays,  # type: ignore[arg-type]  # by name
    )
