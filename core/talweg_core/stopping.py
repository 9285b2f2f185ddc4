"""Why a run ends."""

from typing import Literal, get_args

StopReason = Literal["finished", "diverged", "target", "time", "cancelled", "failed"]
STOP_REASONS: tuple[str, ...] = get_args(StopReason)
