"""What every child finds in its environment."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from pydantic import SecretStr

from talweg.inherited import inherited
from talweg.local.folder import Folder
from talweg.local.processes import MARK
from talweg.pinning import numerics_environment
from talweg.settings import Settings

# A client's address is no service's.
_DROPPED = frozenset({"TALWEG_URL"})


def environment(settings: Settings, folder: Folder, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """What is inherited of `base` (this process's, where None), with the settings, the stack's mark and the numerics.

    The settings travel as variables, so that a child finds those of the folder in which the stack was started
    without being there.
    """
    kept = {key: value for key, value in inherited(base).items() if key not in _DROPPED}
    return (
        kept
        | _settings(settings)
        | numerics_environment(settings.numerics)
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
