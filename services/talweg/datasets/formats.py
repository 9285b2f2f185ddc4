"""Choose the reader for a file. Readers get an open file, never a name: no file can make them open another."""

import os
from dataclasses import replace
from typing import IO

from talweg.datasets.opening import EXCEL, kind_of
from talweg.datasets.options import Options
from talweg.datasets.preparing import Prepared, prepare_arrays, prepare_table
from talweg.errors import InvalidSpec


def read(handle: IO[bytes], options: Options) -> Prepared:
    """The dataset in an open file, checked; raises InvalidSpec or TooLarge."""
    options.check()
    if kind_of(handle) == "excel":
        raise InvalidSpec(EXCEL)
    if options.format == "npz":
        from talweg.datasets.npy import read_npz

        inputs, targets = read_npz(handle, options.maximum)
        return prepare_arrays(inputs, targets, options)
    if options.format == "npy":
        return _from_npy(handle, options)
    if options.format == "csv":
        from talweg.datasets.csv_files import read_csv

        return prepare_table(read_csv(handle, options), options)
    if options.format == "images":
        from talweg.datasets.images import read_images

        found = read_images(handle, options)
        # Pixels lie in 0 … 1, as networks are commonly given them, and are not scaled by their spread.
        unscaled = replace(options, standardise=False)
        return prepare_arrays(found.inputs, found.targets, unscaled, divide=255.0, folders=found.parts)
    from talweg.datasets import parquet_files

    reader = parquet_files.read_parquet if options.format == "parquet" else parquet_files.read_arrow
    return prepare_table(reader(handle, options), options)


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
    return prepare_arrays(table[:, :-1], table[:, -1], options)
