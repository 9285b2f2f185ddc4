"""What of a run is stored: every gradient and parameter, or checkpoints to recompute them from."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from talweg.spec import Record

Resolved = Literal["full", "replay"]

# `auto` stores everything up to this many values: gradients and parameters of all steps.
FULL_VALUES = 4_000_000
# Steps in a chunk. Segments never cross a multiple of it, so quick runs have chunks of exactly this size.
CHUNK_STEPS = 64
# Runs of at most this many coordinates also have a row for each derivative, for plain SQL.
ROW_COORDINATES = 32
# The values that a run's kept checkpoints may hold together before they are taken less often.
_CHECKPOINT_VALUES = 64_000_000
# Bytes: a step's row; its norms, a tensor; the row of a derivative. And what zstd leaves of gradients and parameters.
_STEP_BYTES, _NORM_BYTES, _DERIVATIVE_BYTES, _COMPRESSED = 100, 24, 100, 0.8


def resolve(record: "Record", size: int, steps: int) -> Resolved:
    """`auto` by how much there is: `size` coordinates, `steps` steps."""
    if record != "auto":
        return record
    return "full" if size * steps * 2 <= FULL_VALUES else "replay"


def checkpoint_every(record: Resolved, size: int, steps: int) -> int:
    """K: every K-th step's checkpoint is kept. A multiple of CHUNK_STEPS, and a function of the run alone.

    Under `replay`, reading a step recomputes at most K steps. Under `full` nothing is recomputed to be read;
    the checkpoints are there to fork from. A checkpoint is reckoned as three values a coordinate.
    """
    every = 2 * CHUNK_STEPS if record == "replay" else 16 * CHUNK_STEPS
    while 3 * size * (steps // every) > _CHECKPOINT_VALUES:
        every *= 2
    return every


def recorded_bytes(record: Resolved, *, size: int, tensors: int, steps: int, itemsize: int) -> int:
    """About what `steps` steps of a run take in the database, of `size` coordinates of `itemsize` bytes each.

    Measured on SQLite with the catalogue's problems: within a fifth, for what compresses as training usually does.
    """
    found = steps * (_STEP_BYTES + _NORM_BYTES * tensors)
    # Checkpoints that stay, and the last one.
    found += (steps // checkpoint_every(record, size, steps) + 1) * 3 * size * itemsize
    if record == "full":
        found += int(_COMPRESSED * 2 * size * steps * itemsize)
    if size <= ROW_COORDINATES:
        found += steps * size * _DERIVATIVE_BYTES
    return found
