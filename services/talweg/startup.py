"""Disable the garbage collector while a service starts.

During start the collector scans the loaded modules repeatedly, although they live until the end; that takes a quarter
of the start time. So it is disabled during start, and never scans what was loaded then.
"""

import gc


def begin() -> None:
    """Disable the collector. Call before any large import, in the main module of a process only."""
    gc.disable()


def loaded() -> None:
    """Exclude all present objects from collection and enable the collector, after the start; only after `begin`."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
