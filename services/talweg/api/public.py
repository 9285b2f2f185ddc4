"""What is open to everyone: that the API lives, and whether it is ready."""

from typing import Final

PUBLIC: Final = frozenset({"/healthz", "/readyz"})
