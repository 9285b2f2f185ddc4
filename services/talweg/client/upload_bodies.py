"""What an upload sends: files as they are, tables as Arrow, arrays as npz, and images as a zip.

Objects of pandas, polars, PyTorch and scikit-learn are known by what they can do: none of these packages is imported.
"""

import io
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

from talweg.errors import InvalidSpec, MissingExtra

_FORMATS: Final = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".tab", ".data"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    **dict.fromkeys((".arrow", ".feather", ".ipc", ".arrows"), "arrow"),
    ".npz": "npz",
    ".npy": "npy",
}
_PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".zip")
_EXCEL: Final = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")
IMAGES: Final = (".png", ".jpg", ".jpeg")
_PIECE: Final = 1 << 20
# Of columns of Python objects; others could only be sent as a pickle.
_PLAIN: Final = (str, int, float, bool, Decimal, date, time, timedelta)


@dataclass(frozen=True)
class Body:
    """The content of an upload, opened when it is sent."""

    format: str
    open: Callable[[], AbstractContextManager[bytes | Iterator[bytes]]]


def _of_bytes(form: str, content: bytes) -> Body:
    return Body(form, lambda: nullcontext(content))


def body_of(data: object, targets: object = None) -> Body:
    """The body for a user's data; raises InvalidSpec for what cannot be sent."""
    if isinstance(data, (str, os.PathLike)):
        if targets is not None:
            raise InvalidSpec("upload: a file holds its targets, got a separate argument targets too")
        return _file(Path(data))
    if _is_bunch(data):
        return _bunch(data)
    if hasattr(data, "collect") and hasattr(data, "collect_schema"):
        data = data.collect()
    if hasattr(data, "to_parquet") or hasattr(data, "__arrow_c_stream__"):
        return _arrow(_with_target(_table(data), targets))
    if isinstance(data, Mapping):
        return _arrow(_with_target(_table_of_columns(data), targets))
    names = getattr(getattr(data, "dtype", None), "names", None)
    if names:
        columns: Any = data
        return _arrow(_with_target(_table_of_columns({name: columns[name] for name in names}), targets))
    if targets is None:
        if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not hasattr(data, "__array__"):
            return _pairs(data)
        raise InvalidSpec("upload: arrays of inputs need targets, as in lab.upload('mine', inputs, targets)")
    return _of_bytes("npz", _npz(data, targets))


def _file(path: Path) -> Body:
    if path.is_dir():
        return Body("images", lambda: _zipped(path))
    name = path.name.lower()
    if name.endswith(_EXCEL):
        raise InvalidSpec(
            f"upload: {path.name!r} is a workbook, which is not read; in Excel choose Save As, CSV UTF-8 (*.csv), or "
            f"in Python lab.upload(NAME, pandas.read_excel({path.name!r}))"
        )
    packing = next((end for end in _PACKED if name.endswith(end)), "")
    form = _FORMATS.get(Path(name.removesuffix(packing)).suffix)
    if packing == ".zip" and path.is_file():
        form = "images" if _holds_images(path) else "csv"
    if form is None or (packing and form not in ("csv", "images")):
        ends = ", ".join(_FORMATS)
        raise InvalidSpec(
            f"upload: a file must end in {ends}, text tables also in {', '.join(_PACKED)} after that, got {path.name!r}"
        )
    return Body(form, lambda: _read(path))


@contextmanager
def _read(path: Path) -> Iterator[Iterator[bytes]]:
    with path.open("rb") as handle:
        yield _pieces(handle)


def _pieces(handle: IO[bytes]) -> Iterator[bytes]:
    while piece := handle.read(_PIECE):
        yield piece


def _holds_images(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.lower().endswith(IMAGES) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


@contextmanager
def _zipped(folder: Path) -> Iterator[Iterator[bytes]]:
    """The images of a folder, which has a folder for each class, as a zip in a temporary file."""
    import tempfile

    found = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in IMAGES and path.is_file())
    if not found:
        raise InvalidSpec(f"upload: {folder.name!r} must have a folder for each class with {', '.join(IMAGES)} in it")
    with tempfile.TemporaryFile() as file:
        # Images are packed already.
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for path in found:
                archive.write(path, f"{path.parent.name}/{path.name}")
        file.seek(0)
        yield _pieces(file)


def _is_bunch(data: object) -> bool:
    return isinstance(data, Mapping) and "data" in data and "target" in data and hasattr(data, "target")


def _bunch(bunch: Any) -> Body:
    """A bunch of scikit-learn: its frame, or its inputs with their names and its targets with theirs."""
    import numpy as np

    if bunch.get("frame") is not None:
        return _arrow(_table(bunch["frame"]))
    inputs, targets, names = bunch["data"], bunch["target"], bunch.get("target_names")
    if hasattr(inputs, "__arrow_c_stream__"):
        return _arrow(_with_target(_table(inputs), targets))
    inputs, targets = np.asarray(inputs), np.asarray(targets)
    if targets.dtype.kind in "iu" and names is not None and len(names) > max(int(targets.max(initial=0)), 1):
        targets = np.asarray(names)[targets]
    columns = bunch.get("feature_names")
    if inputs.ndim != 2 or columns is None or len(columns) != inputs.shape[1]:
        return _of_bytes("npz", _npz(inputs, targets))
    table = _table_of_columns({str(name): inputs[:, i] for i, name in enumerate(columns)})
    return _arrow(_with_target(table, targets))


def _pairs(data: Any) -> Body:
    """A dataset that has a length and gives (inputs, target) by position, as PyTorch's do."""
    import numpy as np

    if not len(data):
        raise InvalidSpec("upload: a dataset must have examples, got none")
    inputs, targets = [], []
    for position in range(len(data)):
        example = data[position]
        if not isinstance(example, (tuple, list)) or len(example) != 2:
            raise InvalidSpec(
                "upload: a dataset must give pairs of inputs and target, as PyTorch's do, "
                f"got {type(example).__name__} for example {position}; arrays of inputs need targets, as in "
                "lab.upload('mine', inputs, targets)"
            )
        inputs.append(np.asarray(example[0]))
        targets.append(np.asarray(example[1]))
    shapes = {array.shape for array in inputs}
    if len(shapes) > 1:
        raise InvalidSpec(f"upload: all examples must have one shape, got {sorted(shapes)[:4]}")
    return _of_bytes("npz", _npz(np.stack(inputs), np.stack(targets)))


def _npz(inputs: object, targets: object) -> bytes:
    import numpy as np

    arrays = {"inputs": np.asarray(inputs), "targets": np.asarray(targets)}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            # Text in pandas has this dtype; any other object could only be sent as a pickle.
            words = array.ravel().tolist()
            if not all(isinstance(word, str) for word in words):
                raise InvalidSpec(f"upload: {name} must hold numbers or text throughout, got an array of objects")
            arrays[name] = np.array(words, dtype=str).reshape(array.shape)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _table(data: Any) -> Any:
    """A table of pandas, polars or Arrow as Arrow's; raises InvalidSpec where it has columns of Python objects."""
    with MissingExtra.unless_installed("pyarrow", needed_by="uploading a table"):
        import pyarrow as pa
    if not hasattr(data, "to_parquet"):
        return pa.table(data)
    # pandas: an index with names holds data; one without only counts.
    if any(name is not None for name in data.index.names):
        data = data.reset_index()
    columns = {}
    for position, name in enumerate(data.columns):
        if (text := str(name)) in columns:
            raise InvalidSpec(
                f"columns: each name must differ from the others, got {text!r} twice; "
                f"rename one of them, to {text + '_2'!r} for instance"
            )
        columns[text] = _arrow_column(text, data.iloc[:, position])
    return pa.table(columns)


def _table_of_columns(columns: Mapping[Any, Any]) -> Any:
    with MissingExtra.unless_installed("pyarrow", needed_by="uploading a table"):
        import pyarrow as pa
    try:
        return pa.table({str(name): _arrow_column(str(name), values) for name, values in columns.items()})
    except pa.ArrowInvalid as error:
        raise InvalidSpec(f"upload: columns must have one length, got {str(error)[:200]}") from None


def _arrow_column(name: str, values: Any) -> Any:
    """A column for Arrow; one of mixed plain objects becomes text, which the laboratory reads as it reads a CSV."""
    import pyarrow as pa

    try:
        made = pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError, TypeError):
        made = None
    if made is not None:
        return made
    plain = values.tolist() if hasattr(values, "tolist") else list(values)
    for row, value in enumerate(plain):
        if value is not None and not isinstance(value, _PLAIN):
            raise InvalidSpec(
                f"column {name!r}: must hold numbers, text or dates, got {type(value).__name__} in row {row} "
                f"(counted from 0); leave the column out before the upload, as with frame.drop(columns=[{name!r}])"
            )
    return pa.array([None if value is None or value != value else str(value) for value in plain], pa.string())


def _with_target(table: Any, targets: object) -> Any:
    """The table with separate targets as its last column."""
    if targets is None:
        return table
    name = str(getattr(targets, "name", None) or "target")
    while name in table.column_names:
        name += "_"
    values: Any = targets
    if hasattr(values, "__arrow_c_stream__") and not hasattr(values, "index"):
        values = list(values)
    made = _arrow_column(name, values)
    if len(made) != table.num_rows:
        raise InvalidSpec(f"targets: must have a row for each of the {table.num_rows} rows of inputs, got {len(made)}")
    return table.append_column(name, made)


def _arrow(table: Any) -> Body:
    """A table as an Arrow stream."""
    from pyarrow import ipc

    buffer = io.BytesIO()
    with ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return _of_bytes("arrow", buffer.getvalue())
