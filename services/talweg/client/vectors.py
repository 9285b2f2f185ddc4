"""A run's record: gradients and parameters by step, slice and tensor; batches; Parquet files."""

import json
import math
import operator
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, SupportsIndex, overload

from talweg.client.run_or_study import RunOrStudy
from talweg.client.table import Table
from talweg.client.wire import Wire
from talweg.errors import InvalidSpec, MissingExtra, NotFound

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]
    import pyarrow as pa


# Bytes of one answer: half of the API's limit. For a part of each vector the API reads more than it sends; its limit is
# this many times the bytes sent.
PAGE: Final = 32_000_000
READ_FOR_ONE_SENT: Final = 16
_ITEMSIZE: Final = {"float32": 4, "float64": 8}
# Numbers of one row group, which is held in memory.
_VALUES: Final = 4_000_000
_COLUMNS: Final = ("cost", "learning_rate", "gradient_norm", "parameter_norm", "update_norm")


@dataclass(frozen=True)
class Vectors:
    """One quantity of a run at every step. `steps()` is their present number; `itemsize` is the bytes of a number."""

    wire: Wire
    path: str
    quantity: Literal["gradient", "parameters"]
    shapes: dict[str, tuple[int, ...]]
    itemsize: int
    steps: Callable[[], int]

    def __len__(self) -> int:
        """The number of steps."""
        return self.steps()

    @overload
    def __getitem__(self, key: str) -> "TensorOverTime": ...
    @overload
    def __getitem__(self, key: "int | slice") -> "dict[str, Array]": ...
    def __getitem__(self, key: "str | int | slice") -> "TensorOverTime | dict[str, Array]":
        """A tensor by its name, for slicing; or every tensor at a step or a slice of steps."""
        if isinstance(key, str):
            if key not in self.shapes:
                raise InvalidSpec(f"tensor: must be one of {', '.join(self.shapes)}, got {key!r}")
            return TensorOverTime(self, key)
        start, stop, stride = span(key, len(self))
        flat = self.fetch(start, stop, self.size)[::stride]
        return split(flat if isinstance(key, slice) else flat[0], self.shapes)

    def __repr__(self) -> str:
        return f"<{self.quantity} of {len(self)} steps: {', '.join(self.shapes)}>"

    @property
    def size(self) -> int:
        """P: the number of coordinates."""
        return sum(map(math.prod, self.shapes.values()))

    def fetch(self, start: int, stop: int, width: int, **part: str) -> "Array":
        """The steps start … stop − 1, in pages; `width` is the numbers sent for a step."""
        import numpy as np

        most = max(1, PAGE // (max(width, self.size // READ_FOR_ONE_SENT) * self.itemsize))
        # Of an empty range, one step is fetched for shape and type.
        bounds = [(at, min(at + most, stop)) for at in range(start, stop, most)] or [(0, 1)]
        place = f"{self.path}/{self.quantity}"
        pages = [self.wire.array(place, start=first, stop=last, **part) for first, last in bounds]
        whole = pages[0] if len(pages) == 1 else np.concatenate(pages)
        return whole[: stop - start]


@dataclass(frozen=True)
class TensorOverTime:
    """One tensor at every step, (steps, *shape); a basic NumPy index fetches only what it selects."""

    vectors: Vectors
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(steps, *shape)."""
        return (len(self.vectors), *self.vectors.shapes[self.name])

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.vectors)

    def __getitem__(self, key: Any) -> "Array":
        """Index by step, then by the tensor's axes: integers, slices and `...`."""
        steps, *shape = self.shape
        wanted, *rest = _entries(key, 1 + len(shape))
        start, stop, stride = span(wanted, steps)
        index = [
            ":" if isinstance(w, slice) else str(position(w, n, self.name)) for w, n in zip(rest, shape, strict=True)
        ]
        local = [w for w in rest if isinstance(w, slice)]
        width = math.prod(n for n, w in zip(shape, rest, strict=True) if isinstance(w, slice))
        found = self.vectors.fetch(start, stop, width, tensor=self.name, index=",".join(index))
        first = slice(None, None, stride) if isinstance(wanted, slice) else 0
        part: Array = found[(first, *local)]
        return part

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> "Array":
        """The whole array."""
        whole = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def __repr__(self) -> str:
        return f"<{self.vectors.quantity} of {self.name}, {self.shape}>"


def split(flat: "Array", shapes: dict[str, tuple[int, ...]]) -> "dict[str, Array]":
    """(…, P) as a tensor (…, *shape) for each name; copies, so that keeping one tensor does not keep them all."""
    tensors: dict[str, Array] = {}
    first = 0
    for name, shape in shapes.items():
        last = first + math.prod(shape)
        tensors[name] = flat[..., first:last].reshape(*flat.shape[:-1], *shape).copy()
        first = last
    return tensors


def span(wanted: Any, steps: int) -> tuple[int, int, int]:
    """Start, stop and stride of a step or a slice of steps; raises InvalidSpec for anything else."""
    if not isinstance(wanted, slice):
        at = position(wanted, steps, "step")
        return at, at + 1, 1
    start, stop, stride = wanted.indices(steps)
    if stride < 0:
        raise InvalidSpec(f"step: a slice must have a positive stride, got {stride}")
    return start, max(start, stop), stride


def position(wanted: Any, length: int, what: str) -> int:
    """The position from the start; a negative index counts from the end. Raises InvalidSpec."""
    try:
        at = operator.index(wanted)
    except TypeError:
        raise InvalidSpec(f"{what}: an index must be an integer or a slice, got {wanted!r}") from None
    if isinstance(wanted, bool) or not -length <= at < length:
        raise InvalidSpec(f"{what}: an index must lie in [0, {length - 1}], got {wanted}")
    return at % length


def _entries(key: Any, axes: int) -> list[Any]:
    """One entry for each axis; whole slices replace `...` and missing entries."""
    entries = list(key) if isinstance(key, tuple) else [key]
    ellipses = [at for at, entry in enumerate(entries) if entry is Ellipsis]
    if len(ellipses) > 1 or len(entries) - len(ellipses) > axes:
        raise InvalidSpec(f"index: has at most {axes} axes, the steps first, got {len(entries)}")
    at = ellipses[0] if ellipses else len(entries)
    return [*entries[:at], *[slice(None)] * (axes - len(entries) + len(ellipses)), *entries[at + len(ellipses) :]]


@dataclass(frozen=True, eq=False)
class Batch:
    """Indices (B,) into the training split, with inputs and targets; these are None for a problem without examples."""

    indices: "Array"
    inputs: "Array | None"
    targets: "Array | None"

    def __len__(self) -> int:
        """B, the batch size."""
        return len(self.indices)


class Recorded(RunOrStudy):
    """Many steps of a run: vectors, batches, tables."""

    columns: ClassVar[tuple[str, ...]] = _COLUMNS

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor by its name, in the order of the flat vector."""
        return {tensor["name"]: tuple(tensor["shape"]) for tensor in self._view["tensors"]}

    @property
    def gradients(self) -> Vectors:
        """The derivatives of every step, fetched on slicing: `run.gradients["dense1.weight"][:, 3, 5]`."""
        return self._vectors("gradient", after_last=False)

    @property
    def trajectory(self) -> Vectors:
        """The parameters before every step, and after the last step of an ended run; fetched on slicing."""
        return self._vectors("parameters", after_last=True)

    def batch(self, step: SupportsIndex) -> Batch:
        """The examples of the step's gradient.

        Raises:
            NoSuchStep: that step is not recorded (yet).
        """
        at = step.__index__()
        indices = self._wire.array(self._path("batch", "indices"), step=at)
        try:
            inputs, targets = (self._wire.array(self._path("batch", what), step=at) for what in ("inputs", "targets"))
        except NotFound:
            return Batch(indices, None, None)
        return Batch(indices, inputs, targets)

    def table(self, tensor: str | None = None, index: int | Sequence[int] = ()) -> Table:
        """A row for each step: cost, learning rate and norms; `.to_pandas()` and `.to_arrow()` convert it.

        With `tensor` and `index` also parameter, derivative and update of that coordinate.

        Raises:
            InvalidSpec: the tensor or coordinate does not exist.
        """
        import numpy as np

        found: dict[str, Any] = {name: self._column(name) for name in self.columns}
        count = len(found["cost"])
        if tensor is not None:
            place = [index] if isinstance(index, int) else list(index)
            shape = self.gradients[tensor].shape[1:]
            if len(place) != len(shape):
                raise InvalidSpec(f"{tensor}: the index must lie in the shape {shape}, got {tuple(place)}")
            found["derivative"] = self.gradients[tensor][(slice(count), *place)]
            path = self.trajectory[tensor][(slice(count + 1), *place)].astype(np.float64)
            found["parameter"] = path[:count]
            # The result of the last update is not known before the run ends.
            after = np.append(path[1:], np.full(count + 1 - len(path), np.nan))
            with np.errstate(invalid="ignore"):
                found["update"] = after - path[:count]
        columns = [range(count), *(column.tolist() for column in found.values())]
        return Table(("step", *found), tuple(zip(*columns, strict=True)))

    def _column(self, name: str) -> "Array":
        raise NotImplementedError

    def _vectors(self, quantity: Literal["gradient", "parameters"], *, after_last: bool) -> Vectors:
        steps, itemsize = partial(self._step_count, after_last), _ITEMSIZE[self._view["precision"]]
        return Vectors(self._wire, self._path("records"), quantity, self.shapes, itemsize, steps)

    def _step_count(self, after_last: bool) -> int:
        view = self._now()
        return int(view["step"]) + (after_last and self._is_over())


def write_parquet(runs: Sequence["Recorded"], path: str | os.PathLike[str], *, vectors: bool) -> Path:
    """Write all recorded steps of the runs to a Parquet file, whole or not at all; returns the path.

    Columns: run, problem, optimizer, setting (JSON), seed, step, cost, learning_rate and the three norms; with
    `vectors` also gradient and parameters, each a list of all coordinates in the order of `tensors` in the file's
    metadata. Raises InvalidSpec where the path does not end in .parquet, MissingExtra without pyarrow.
    """
    path = Path(path)
    if path.suffix.lower() != ".parquet":
        raise InvalidSpec(f"path: must end in .parquet, got {str(path)!r}")
    with MissingExtra.unless_installed("pyarrow", needed_by="export"):
        import pyarrow.parquet as pq
    schema = _schema(runs, vectors=vectors)
    with replaced(path) as draft, pq.ParquetWriter(draft, schema, compression="zstd") as writer:
        for run in runs:
            for table in _tables(run, schema, vectors=vectors):
                writer.write_table(table)
    return path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary file next to `path` that replaces it if the block succeeds: no reader sees half a file."""
    # Not by mkstemp, whose files only their owner may read.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    draft.touch(exist_ok=False)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _schema(runs: Sequence["Recorded"], *, vectors: bool) -> "pa.Schema":
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    fields = [pa.field(name, word) for name in ("run", "problem", "optimizer", "setting")]
    fields += [pa.field("seed", pa.int64()), pa.field("step", pa.int32())]
    fields += [pa.field(name, pa.float64()) for name in _COLUMNS]
    shapes = runs[0].shapes if runs else {}
    if vectors and runs:
        precisions = {run.view["precision"] for run in runs}
        number = pa.float32() if precisions == {"float32"} else pa.float64()
        fields += [pa.field(name, pa.list_(number)) for name in ("gradient", "parameters")]
    described = json.dumps([{"name": name, "shape": list(shape)} for name, shape in shapes.items()])
    return pa.schema(fields, metadata={"tensors": described, "written by": "talweg"})


def _tables(run: "Recorded", schema: "pa.Schema", *, vectors: bool) -> Iterator["pa.Table"]:
    """Tables of consecutive steps, sized by _VALUES."""
    import numpy as np
    import pyarrow as pa

    view = run.view
    columns = run.table().columns_by_name()
    steps = len(columns["step"])
    words = {
        "run": run.name,
        "problem": view["problem"],
        "optimizer": view["spec"]["optimizer"]["name"],
        "setting": json.dumps({k: v for k, v in view["spec"]["optimizer"].items() if k != "name"}),
    }
    size = run.gradients.size
    at_once = max(1, _VALUES // (2 * size)) if vectors else steps
    for start in range(0, steps, at_once or 1):
        stop = min(start + at_once, steps)
        count = stop - start
        found: dict[str, Any] = {
            name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))
            for name, text in words.items()
        }
        found["seed"] = pa.array(np.full(count, view["seed"], np.int64))
        found |= {name: pa.array(columns[name][start:stop], schema.field(name).type) for name in ("step", *_COLUMNS)}
        if vectors:
            for name, source in (("gradient", run.gradients), ("parameters", run.trajectory)):
                flat = np.asarray(source.fetch(start, stop, size))
                offsets = pa.array(np.arange(count + 1, dtype=np.int32) * size)
                numbers = pa.array(flat.reshape(-1)).cast(schema.field(name).type.value_type)
                found[name] = pa.ListArray.from_arrays(offsets, numbers)
        yield pa.Table.from_arrays([found[name] for name in schema.names], schema=schema)
