"""Make a dataset of a file's content: targets, parts, and what the network is given, fitted on the training part."""

from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from talweg.datasets import splits
from talweg.datasets.arrow_columns import Table
from talweg.datasets.columns import Column
from talweg.datasets.fitting import Fitted, TargetScale, fit, matrix, stored
from talweg.datasets.options import MAXIMUM_ROWS, MINIMUM_ROWS, WIDENING, Json, Options
from talweg.datasets.splits import SPLITS, Parts
from talweg.datasets.targets import LARGEST, Label, Targets, as_numbers, from_array, from_column
from talweg.errors import InvalidSpec, TooLarge

_ROWS_AT_ONCE: Final = 65_536
# Columns that are kept in the report, which is read whenever datasets are listed.
_REPORTED: Final = 1000
# Names of columns that may say which part a row is in.
_SPLIT: Final = ("split", "part", "subset")


@dataclass(frozen=True, eq=False)
class Prepared:
    """A checked dataset.

    Attributes:
        inputs: (n, *shape) in their own type, of arrays and images; None for a table.
        held: A table's columns that give inputs, (n,) each, in the order of `used`.
        fitted: Every column of a table but the target, also those left out.
        targets: (n,) int64 positions in `classes`, or (n, outputs) numbers where `classes` is None.
        parts: (n,) positions in ("train", "validation", "test").
        scale: Of targets that are numbers, where they are standardised.
        divide: What inputs are divided by, where they are not standardised: 255 for images.
    """

    targets: NDArray[Any]
    classes: list[Label] | None
    parts: Parts
    standardise: bool
    inputs: NDArray[Any] | None = None
    held: list[NDArray[Any]] = field(default_factory=list)
    fitted: list[Fitted] = field(default_factory=list)
    scale: TargetScale | None = None
    divide: float = 1.0
    target: str | None = None
    target_note: str = ""
    split_by: str = "random"
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def used(self) -> list[Fitted]:
        """The columns that give inputs."""
        return [one for one in self.fitted if one.taken != "left out"]

    @property
    def columns(self) -> list[str] | None:
        """The names of the columns that give inputs; None where the inputs are an array."""
        return [one.name for one in self.used] if self.inputs is None else None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        if self.inputs is not None:
            return tuple(self.inputs.shape[1:])
        return (sum(len(one.inputs) for one in self.used),)

    @property
    def arrays(self) -> list[NDArray[Any]]:
        """What is stored, in its order."""
        targets = self.targets
        if self.classes is not None:
            targets = targets.astype(np.uint8 if len(self.classes) <= 256 else np.uint16)
        return [*(self.held if self.inputs is None else [self.inputs]), targets, self.parts]

    def rows(self, part: str, at_most: int) -> NDArray[np.int64]:
        """Rows of a part, at most so many, evenly spaced."""
        found = np.flatnonzero(self.parts == SPLITS.index(part))
        if len(found) <= at_most:
            return found
        return found[np.linspace(0, len(found) - 1, at_most).astype(np.int64)]

    def examples(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Inputs (k, inputs) and targets of some rows, as the network gets them."""
        targets = self.targets[rows]
        if self.scale is not None:
            targets = self.scale.apply(targets)
        if self.inputs is None:
            return matrix([values[rows] for values in self.held], self.used, len(rows)), targets
        return self.inputs[rows].reshape(len(rows), -1).astype(np.float64) / self.divide, targets

    def _shown(self) -> list[Fitted]:
        """The columns that are reported: all, or of very many those that are not just numbers."""
        if len(self.fitted) <= _REPORTED:
            return self.fitted
        return [one for one in self.fitted if one.taken != "number" or one.missing or one.why][:_REPORTED]

    def about(self) -> Json:
        """What is shown of the dataset, as JSON."""
        counts = np.bincount(self.parts, minlength=3).tolist()
        return {
            "inputs": [len(self.parts), *self.input_shape],
            "targets": list(self.targets.shape),
            "classes": self.classes,
            "columns": self.columns,
            "target": self.target,
            "standardise": self.standardise,
            "split": {"by": self.split_by, **dict(zip(SPLITS, counts, strict=True))},
            "report": [
                {
                    "column": one.name,
                    "taken_as": one.taken,
                    "missing": one.missing,
                    "different": one.different,
                    "inputs": len(one.inputs) if one.taken != "left out" else 0,
                    "example": one.example,
                    "note": _note(one),
                }
                for one in self._shown()
            ],
            "target_note": self.target_note,
            "reading": self.notes,
            "warnings": self.warnings,
        }


def _note(one: Fitted) -> str:
    """How a column was read and filled, or why it is left out."""
    parts = [one.why] if one.why else []
    if one.taken == "category":
        kept = len(one.categories)
        noun = "category" if kept == 1 else "categories"
        parts.append(f"{kept} {noun}" + (f" of {one.different}, the others together" if one.others else ""))
    elif one.indicator and one.scales:
        parts.append(f"gaps filled with {one.scales[0].fill:.6g}" if len(one.scales) == 1 else "gaps filled")
    if one.taken == "date":
        parts.append(", ".join(scale.part for scale in one.scales))
    if one.indicator:
        parts.append("an input says where it is missing")
    return "; ".join(parts)


def prepare_table(table: Table, options: Options) -> Prepared:
    """The dataset of a table.

    Raises:
        InvalidSpec: There are too few rows, no column is of use, or a column or the target breaks a rule.
        TooLarge: The inputs would take too many bytes.
    """
    columns = {column.name: column for column in table.columns}
    target = _target(table.columns, options)
    columns, target, dropped = _without_target(columns, target, options)
    rows = len(target.values)
    _check_rows(rows)
    made = from_column(target, options)
    notes = [*table.notes, *([f"{dropped} rows without a target left out"] if dropped else [])]
    parts, by, note = _parts(columns, options, made)
    training = np.flatnonzero(parts == 0)
    roles = {options.groups: "names each row's group", _split_column(columns, options): "names each row's part"}
    fitted, held, needed = [], [], 0
    for name in list(columns):
        # Let go of each column once it is stored: a table may take a good part of the memory.
        column = columns.pop(name)
        if name == target.name:
            continue
        if name in roles:
            fitted.append(Fitted(name, "left out", roles[name], column.missing, column.example))
            continue
        one = fit(column, training, options)
        fitted.append(one)
        if one.taken != "left out":
            held.append(stored(column, one))
            needed += len(one.inputs) * rows * 8
    _check_inputs(fitted, needed, options)
    scale = TargetScale.of(made.values[training]) if made.classes is None and options.standardise else None
    return Prepared(
        made.values, made.classes, parts, options.standardise, None, held, fitted, scale,
        target=target.name, target_note=_target_note(made, scale, target), split_by=by,
        notes=[*notes, *([note] if note else [])], warnings=_warnings(made, parts),
    )  # fmt: skip


def prepare_arrays(
    inputs: NDArray[Any], targets: NDArray[Any], options: Options, *, divide: float = 1.0, folders: Column | None = None
) -> Prepared:
    """The dataset of an array of inputs (n, …) and targets (n,) or (n, outputs); `folders` may say the part of each.

    Raises:
        InvalidSpec: Lengths differ, there are too few rows, a value is not finite, or an option needs columns.
        TooLarge: There are too many rows.
    """
    for name in ("columns", "groups", "order_by", "split"):
        if getattr(options, name):
            raise InvalidSpec(f"{name}: needs columns with names, which an array has not; upload a table")
    if len(inputs) != len(targets):
        raise InvalidSpec(f"targets: must have a row for each of the {len(inputs)} rows of inputs, got {len(targets)}")
    _check_rows(len(inputs))
    numbers = as_numbers("inputs", inputs)
    if numbers.ndim < 2 or not numbers[0].size:
        raise InvalidSpec(f"inputs: must be (rows, columns …), got shape {inputs.shape}")
    constant = _check_array(numbers)
    made = from_array("targets", targets, options)
    parts, by, note = _parts({} if folders is None else {"split": folders}, options, made)
    notes = [note] if note else []
    notes += [f"{constant} of {numbers[0].size} inputs are constant"] if constant else []
    training = np.flatnonzero(parts == 0)
    scale = TargetScale.of(made.values[training]) if made.classes is None and options.standardise else None
    return Prepared(
        made.values, made.classes, parts, options.standardise, numbers, scale=scale, divide=divide,
        target_note=_target_note(made, scale, None), split_by=by,
        notes=notes, warnings=_warnings(made, parts),
    )  # fmt: skip


def _check_rows(rows: int) -> None:
    if not rows >= MINIMUM_ROWS:
        raise InvalidSpec(f"rows: there must be at least {MINIMUM_ROWS}, to train, validate and test on, got {rows}")
    if rows > MAXIMUM_ROWS:
        raise TooLarge(f"rows: there must be at most {MAXIMUM_ROWS}, got {rows}")


def _check_array(inputs: NDArray[Any]) -> int:
    """The number of constant columns; raises InvalidSpec for a value that is not finite. Blocks avoid a copy of all."""
    flat = inputs.reshape(len(inputs), -1)
    low, high = flat[0].copy(), flat[0].copy()
    for start in range(0, len(flat), _ROWS_AT_ONCE):
        piece = flat[start : start + _ROWS_AT_ONCE]
        if piece.dtype.kind == "f":
            # NaN compares false, so this catches it with the infinities.
            wrong = ~(np.abs(piece) <= LARGEST)
            if wrong.any():
                row, position = (int(index) for index in np.argwhere(wrong)[0])
                raise InvalidSpec(
                    f"inputs: column {position}: must be finite, and at most 3.4e38 in size, got "
                    f"{piece[row, position]} in row {start + row} (counted from 0); gaps are filled in tables only: "
                    "upload pandas.DataFrame(inputs).assign(target=targets)"
                )
        np.minimum(low, piece.min(axis=0), out=low)
        np.maximum(high, piece.max(axis=0), out=high)
    return int((low == high).sum())


def _target(columns: list[Column], options: Options) -> Column:
    """The target column: the one asked for, else the last that has values and no other part."""
    others = (options.groups, options.order_by, options.split)
    if options.target is not None:
        found = next(column for column in columns if column.name == options.target)
        if found.kind in ("empty", "left out"):
            raise InvalidSpec(f"target: column {found.name!r} must have values, and is {found.kind}")
        return found
    for column in reversed(columns):
        if column.kind not in ("empty", "left out") and column.name not in others:
            return column
    raise InvalidSpec("target: no column has values to predict")


def _without_target(
    columns: dict[str, Column], target: Column, options: Options
) -> tuple[dict[str, Column], Column, int]:
    """Columns and target without the rows that have no target, where that was asked for; raises InvalidSpec."""
    missing = target.values < 0 if target.kind == "category" else np.isnan(target.values)
    count = int(missing.sum())
    if not count:
        return columns, target, 0
    if options.missing_target == "refuse":
        raise InvalidSpec(
            f"column {target.name!r}: the target must have a value in every row, row {int(np.argmax(missing))} "
            f'(counted from 0) has none ({count} in all); leave these rows out with missing_target="leave out"'
        )
    kept = {
        name: column if column.kind == "left out" else replace(column, values=column.values[~missing])
        for name, column in columns.items()
    }
    return kept, kept[target.name], count


def _split_column(columns: dict[str, Column], options: Options) -> str | None:
    """The column that says which part a row is in: the one asked for, or one called split that names parts."""
    if options.split or options.groups or options.order_by:
        return options.split
    for name, column in columns.items():
        if name.lower() in _SPLIT and column.kind == "category" and name not in options.columns:
            try:
                splits.given(column, None, 0)
            except InvalidSpec:
                continue
            return name
    return None


def _parts(columns: dict[str, Column], options: Options, targets: Targets) -> tuple[Parts, str, str]:
    """The parts, how they were made, and what is to be said about that."""
    codes = targets.values if targets.classes is not None else None
    name = _split_column(columns, options)
    note = ""
    if name is not None:
        (parts, note), by = splits.given(columns[name], codes, options.split_seed), f"column {name}"
    elif options.groups is not None:
        parts, by = splits.by_group(columns[options.groups], options.split_seed), f"group {options.groups}"
    elif options.order_by is not None:
        parts, by = splits.in_order(columns[options.order_by]), f"order of {options.order_by}"
    else:
        parts, by = _by_target(targets, options), "random" if codes is None else "class"
    splits.check(parts)
    return parts, by, note


def _by_target(targets: Targets, options: Options) -> Parts:
    if targets.classes is not None:
        parts = splits.stratified(targets.values, options.split_seed)
        # Where every class is too rare to be divided, nothing would be left to validate on.
        if len(np.unique(parts)) == len(SPLITS):
            return parts
    return splits.random(len(targets.values), options.split_seed)


def _check_inputs(fitted: list[Fitted], needed: int, options: Options) -> None:
    if not any(one.taken != "left out" for one in fitted):
        why = "; ".join(f"{one.name!r}: {one.why}" for one in fitted[:6])
        raise InvalidSpec(f"columns: one must be left to learn from, got none ({why[:300] or 'only the target'})")
    if needed > WIDENING * options.maximum:
        most = max(fitted, key=lambda one: len(one.inputs))
        raise TooLarge(
            f"inputs: must take at most {WIDENING * options.maximum} bytes, got {needed}; leave columns out, or give "
            f"text columns fewer categories ({most.name!r} has {len(most.inputs)} inputs)"
        )


def _target_note(targets: Targets, scale: TargetScale | None, column: Column | None) -> str:
    if targets.classes is not None:
        # Whole numbers are read as classes by a rule that the reader may not expect.
        whole = all(isinstance(label, int) and not isinstance(label, bool) for label in targets.classes)
        what = "whole numbers taken as classes" if whole else "classes"
        return f"{len(targets.classes)} {what}"
    note = "numbers" if scale is None else (
        f"numbers, scaled by mean {scale.mean[0]:.6g} and deviation {scale.deviation[0]:.6g} of the training part"
    )  # fmt: skip
    return "; ".join([note, *([column.note] if column is not None and column.note else [])])


def _warnings(targets: Targets, parts: Parts) -> list[str]:
    if targets.classes is None:
        return []
    codes = targets.values.astype(np.int64)
    return splits.rare_classes(codes, targets.classes, parts)
