"""Uploaded files, and reading them in this process or, as the API does, in a parser process."""

import io
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from talweg.datasets.formats import read
from talweg.datasets.options import Options
from talweg.datasets.preparing import Prepared
from talweg.datasets.sources import Parsed, parse

Npz = Callable[..., bytes]


@pytest.fixture
def npz() -> Npz:
    """An npz file of inputs (20, 3) and targets; each may be replaced, or left out with None."""

    def write(**changed: Any) -> bytes:
        rng = np.random.default_rng(0)
        arrays = {"inputs": rng.normal(size=(20, 3)), "targets": np.array(["no", "yes"] * 10)} | changed
        buffer = io.BytesIO()
        np.savez(buffer, **{name: array for name, array in arrays.items() if array is not None})
        return buffer.getvalue()

    return write


@pytest.fixture
def read_file() -> Callable[..., Prepared]:
    """Read bytes in this process: checks and limits of the options, without the parser process's limits."""

    def run(content: bytes, form: str, **options: Any) -> Prepared:
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.seek(0)
            return read(file, Options(form, **options))  # type: ignore[arg-type]  # one of the formats

    return run


@pytest.fixture
def parse_file() -> Callable[..., Parsed]:
    """Parse bytes as the API does, in a separate process."""

    def run(content: bytes, form: str, *, seconds: float = 60.0, **options: Any) -> Parsed:
        with tempfile.TemporaryFile() as file:
            file.write(content)
            return parse(file, Options(form, **options), seconds)  # type: ignore[arg-type]  # one of the formats

    return run
