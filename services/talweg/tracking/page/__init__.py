"""The interactive page of a run: one HTML file that needs nothing else, and may only run its own script."""

from talweg.tracking.page.content import Shown, content, first_own, shown
from talweg.tracking.page.document import document

__all__ = ["Shown", "content", "document", "first_own", "shown"]
