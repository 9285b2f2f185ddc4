"""Turn the garbage collector off while a service starts.

The collector looks at everything that is loaded, again and again as more is: at modules, that is, which stay until the
end. It takes a quarter of the time to start. So it waits, and leaves out for good what is there when it begins.
"""

import gc


def begin() -> None:
    """Before anything large is imported, in the process's main module only."""
    gc.disable()


def loaded() -> None:
    """All is imported: what is there now stays, what comes and goes from here on is collected. Undoes `begin` only."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
