"""What every child finds in its environment."""

import os
import platform
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from pydantic import SecretStr

from talweg.local.folder import Folder
from talweg.local.processes import MARK
from talweg.settings import Settings

# Two BLAS threads give other bits than one, and several processes with several threads each stand in each other's way.
ONE_THREAD = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS"),
    "1",
)
# Every x86-64 host with AVX2 computes the same bits. NUMBA_CPU_FEATURES must be there, and empty: without it Numba
# adds the features of the host to those of the CPU that NUMBA_CPU_NAME names.
PORTABLE = {
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "",
}
# A notebook's drawing back end does not exist outside of it; a client's address is no service's.
_DROPPED = frozenset({"MPLBACKEND", "TALWEG_URL", "PYTHONSTARTUP"})


def environment(settings: Settings, folder: Folder, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """`base` (this process's, where None) with the settings, the stack's mark and the numerics in it.

    The settings travel as variables, so that a child finds those of the folder in which the stack was started
    without being there.
    """
    kept = {key: value for key, value in (os.environ if base is None else base).items() if key not in _DROPPED}
    return (
        kept
        | _settings(settings)
        | ONE_THREAD
        | (PORTABLE if settings.numerics == "portable" and platform.machine() == "x86_64" else {})
        | _numba_cache(kept, folder)
        | {
            MARK: folder.marker,
            "TALWEG_HOME": str(folder.home),
            "PYTHONUNBUFFERED": "1",
            # Children stand in the laboratory's folder; no file there or on the way may pass for a module.
            "PYTHONSAFEPATH": "1",
        }
    )


def _settings(settings: Settings) -> dict[str, str]:
    found = {}
    for name in settings.model_fields_set - {"url", "home"}:
        value = getattr(settings, name)
        if value is not None:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            found[f"TALWEG_{name.upper()}"] = str(plain)
    return found


def _numba_cache(kept: Mapping[str, str], folder: Folder) -> dict[str, str]:
    """Compiled kernels lie beside the engine; where that is read-only, in the user's cache, or else with the runs."""
    spec = find_spec("talweg_core")
    beside = Path(spec.origin).parent if spec is not None and spec.origin else None
    if "NUMBA_CACHE_DIR" in kept or (beside is not None and os.access(beside, os.W_OK)):
        return {}
    cache = Path(kept.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "talweg" / "numba"
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(cache, os.W_OK)
    except OSError:
        usable = False
    return {"NUMBA_CACHE_DIR": str(cache if usable else folder.home / "numba")}
