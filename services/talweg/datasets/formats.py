"""Choose the parser for a file. Parsers get an open file, never a name: no file can make them open another."""

import os
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from talweg.datasets.preparing import Column, Options, Prepared, Text, prepare, stack
from talweg.errors import InvalidSpec

_EXACT: Final = 2.0**53


def read(handle: IO[bytes], options: Options) -> Prepared:
    """The dataset in an open file, checked; raises InvalidSpec or TooLarge."""
    if options.format == "npz":
        from talweg.datasets.npy import read_npz

        inputs, targets = read_npz(handle, options.maximum)
        return prepare(inputs, targets, options)
    if options.format == "npy":
        return _from_npy(handle, options)
    if options.format == "csv":
        from talweg.datasets.csv_and_parquet import read_csv

        columns, target = read_csv(handle, options.target)
    else:
        from talweg.datasets.csv_and_parquet import read_parquet

        columns, target = read_parquet(handle, options.target, options.maximum)
    return _from_table(columns, target, options)


def _from_npy(handle: IO[bytes], options: Options) -> Prepared:
    """A table of numbers whose last column is the target: `numpy.save` stores no names."""
    from talweg.datasets.npy import read_npy

    table = read_npy("npy", handle, os.fstat(handle.fileno()).st_size, options.maximum)
    if table.ndim != 2 or table.shape[1] < 2:
        raise InvalidSpec(f"npy: must be (rows, columns), the last column being the target, got shape {table.shape}")
    if options.target is not None:
        raise InvalidSpec(
            f"target: an npy file has no names, its target is the last column; got {options.target[:80]!r}"
        )
    targets = table[:, -1]
    if options.kind == "labels" and targets.dtype.kind == "f" and _whole(targets):
        # One array has one dtype: in a table of floats, classes are floats with integer values.
        targets = targets.astype(np.int64)
    return prepare(table[:, :-1], targets, options)


def _whole(values: NDArray[Any]) -> bool:
    """Whether all values are integers below 2**53, which float64 represents exactly; NaN and infinity are not."""
    return bool((np.abs(values) < _EXACT).all() and (values == np.round(values)).all())


def _from_table(columns: dict[str, Column], target: str, options: Options) -> Prepared:
    names = [name for name in columns if name != target]
    inputs = []
    for name in names:
        values = columns[name]
        if isinstance(values, Text):
            raise InvalidSpec(f"column {name!r}: must hold numbers, got text")
        inputs.append(values)
    return prepare(stack(inputs), columns[target], options, columns=names, target=target)
