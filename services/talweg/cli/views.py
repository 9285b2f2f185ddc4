"""A run or a study as the API last described it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talweg.client import Run, Study


def view_of(work: "Run | Study") -> dict[str, Any]:
    """The API's answer, as it is held: nothing is asked for anew."""
    return dict(work._view)
