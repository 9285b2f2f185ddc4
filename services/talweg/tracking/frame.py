"""What every figure of a run has around its curves: title, margins, legend, a note in the corner.

Margins are fixed, in inches. matplotlib's constrained layout draws each figure twice to find them, which takes longer
than the curves do, and a study has hundreds of figures.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from talweg.comparison.axes import INK, MUTED, dress

LEFT, RIGHT, TOP, BOTTOM = 0.72, 0.16, 0.74, 0.52
# Between columns there is room for the numbers of the right one, between rows for a title.
ACROSS, DOWN = 0.78, 0.36
# Entries of a legend beside each other, and the height of a row of them.
COLUMNS, ROW = 4, 0.23


def framed(
    title: str, *, width: float, height: float, rows: int = 1, columns: int = 1, entries: int = 0, note: str = ""
) -> tuple[Figure, Any]:
    """A figure of rows × columns axes (an array of that shape), `height` inches each row, with room for `entries`."""
    legend = ROW * -(-entries // COLUMNS)
    whole = TOP + rows * height + (rows - 1) * DOWN + BOTTOM + legend
    figure = Figure(figsize=(width, whole), facecolor="white")
    each = (width - LEFT - RIGHT - (columns - 1) * ACROSS) / columns
    room = {
        "left": LEFT / width,
        "right": 1 - RIGHT / width,
        "bottom": (BOTTOM + legend) / whole,
        "top": 1 - TOP / whole,
        "wspace": ACROSS / each,
        "hspace": DOWN / height,
    }
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, gridspec_kw=room)
    # A long name is smaller rather than cut off; a bold letter is about 0.7 of its size wide.
    size = min(13.0, 72 * (width - 0.2) / (0.7 * max(len(title), 1)))
    figure.text(0.012, 1 - 0.1 / whole, plain(title), va="top", color=INK, fontsize=size, fontweight="bold")
    # Below the title, not beside it: a run's name is as long as its settings.
    figure.text(0.012, 1 - 0.33 / whole, note, va="top", color=MUTED, fontsize=8.5)
    return figure, panels


def name(axes: Axes, title: str) -> None:
    """Dressed, with a title that stays where it is put: matplotlib would look for a place at each drawing."""
    dress(axes, plain(title))
    axes.set_title(plain(title), loc="left", fontsize=10.5, y=1.0, color=INK)


def explain(figure: Figure, handles: Sequence[Any]) -> None:
    """The legend, in the lower left corner, in the room that `framed` left for it."""
    if handles:
        figure.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0.004, 0.0),
            borderaxespad=0.1,
            ncols=min(len(handles), COLUMNS),
            frameon=False,
            labelcolor=INK,
            fontsize=9,
        )


def plain(text: str) -> str:
    """Text as it stands: matplotlib would read what is between two dollar signs as a formula."""
    return text.replace("$", r"\$")
