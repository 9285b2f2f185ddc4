"""The style of axes: grid, tick labels, and a logarithmic scale where values span decades."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from talweg.comparison.results import Floats
from talweg.figures.curves import spans_decades

INK, MUTED, GRID, FRAME = "#1B1F24", "#59636E", "#E3E7EB", "#B7C0C9"


def dress(axes: Axes, name: str) -> None:
    """Style axes in place: title on the left, no box, grid behind the curves, whole steps with a thousands comma."""
    axes.set_title(name, loc="left", fontsize=10.5, color=INK)
    axes.set_xlabel("step", color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.margins(x=0.015)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, which="both", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FRAME)


def scale(axes: Axes, parts: Sequence[Floats]) -> None:
    """Fit the vertical axis to the finite values of `parts`; logarithmic where they are ≥ 0 and span decades."""
    values = np.concatenate([*parts, np.empty(0)])
    values = values[np.isfinite(values)]
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    least = float(values.min(initial=np.inf, where=values > 0))
    if spans_decades([values]):
        _logarithmic(axes, least, high)
    elif high > low:
        room = 0.05 * (high - low)
        axes.set_ylim(low - room, high + room)


def _logarithmic(axes: Axes, low: float, high: float) -> None:
    # An exact zero, which many test functions reach, is drawn on the lower edge; else it would interrupt the line.
    axes.set_yscale("log", nonpositive="clip")
    axes.set_ylim(low / 1.3, high * 1.3)
    plain, few = low > 1e-4 and high < 1e5, high < 1000 * low
    labels = FuncFormatter(lambda value, _: number(value) if plain else power(value))
    axes.yaxis.set_major_locator(LogLocator(numticks=9))
    axes.yaxis.set_major_formatter(labels)
    axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)) if few else NullLocator())
    axes.yaxis.set_minor_formatter(labels if few and plain else NullFormatter())


def number(value: float) -> str:
    """0.01, 5, 1,000."""
    return f"{value:,.10g}"


def power(value: float) -> str:
    """A power of ten, as 10 with its exponent."""
    return rf"$10^{{{round(np.log10(value))}}}$" if value > 0 else ""


def plain(text: str) -> str:
    """Literal text: matplotlib reads text between two dollar signs as a formula."""
    return text.replace("$", r"\$")
