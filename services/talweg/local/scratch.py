"""The folder under the system's temporary one that holds the broker's socket when `.talweg/` lies too deep."""

import contextlib
from pathlib import Path


def discard(folder: Path) -> None:
    """Remove the socket and its folder, and nothing else."""
    with contextlib.suppress(OSError):
        (folder / "broker.sock").unlink(missing_ok=True)
        folder.rmdir()
