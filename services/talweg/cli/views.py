"""What the API answered, as it is."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talweg.client import Lab, Run, Study


def view_of(work: "Run | Study") -> dict[str, Any]:
    """The API's answer, as it is held: nothing is asked for anew."""
    return dict(work._view)


def catalogue_of(lab: "Lab", noun: str) -> list[dict[str, Any]]:
    """Every entry of the laboratory's catalogue of "optimizers", "problems" or "schedules"."""
    entries: list[dict[str, Any]] = lab._wire.get(f"/v1/{noun}")
    return entries
