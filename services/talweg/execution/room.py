"""Whether the disk has room for what runs are still to record, as far as the database is a file here."""

import math
from collections.abc import Iterable, Sequence

from talweg.errors import DiskFull
from talweg.store import NewRun, RunRow, Store
from talweg.store.policy import Resolved, recorded_bytes


def left_to_record(runs: Iterable[NewRun | RunRow], record: Resolved | None = None) -> int:
    """About how many bytes the steps that they have not made will take; as if all were recorded so, where given."""
    return sum(
        recorded_bytes(
            record or run.record,
            size=sum(math.prod(tensor["shape"]) for tensor in run.tensors),
            tensors=len(run.tensors),
            steps=max(0, run.total_steps - run.step),
            itemsize=8 if run.precision == "float64" else 4,
        )
        for run in runs
    )


def require_room(store: Store, runs: Sequence[NewRun | RunRow]) -> None:
    """Raises DiskFull where these runs alone would record more than is free."""
    room = store.room()
    if room is None:
        return
    (folder, free), needed = room, left_to_record(runs)
    if needed <= free:
        return
    least = left_to_record(runs, "replay")
    instead = f"; record='replay' would record {readable(least)}" if least <= free else ""
    raise DiskFull(
        f"submission: would record about {readable(needed)}, and {readable(free)} are free in {folder}{instead}; "
        "make room, or ask for fewer steps or runs"
    )


def readable(count: int) -> str:
    """Bytes as people read them: 312 kB, 4.6 MB, 187 MB."""
    if count < 1_000_000:
        return f"{count / 1e3:.0f} kB"
    return f"{count / 1e6:.1f} MB" if count < 100_000_000 else f"{count / 1e6:.0f} MB"
