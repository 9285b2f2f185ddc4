"""Readings drawn: a panel for each instrument over the steps, by matplotlib's objects, without pyplot."""

import io
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from talweg.client.analysis import Readings

_INK: Final = "#1a1a1a"
_LINE: Final = "#0072B2"
# Beside the whole, each tensor's own.
_TENSORS: Final = ("#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
# Where a line across helps to read.
_LEVELS: Final = {"alpha": 0.0, "gradient_cosine": 0.0, "gradient_snr": 1.0}
_LOGARITHMIC: Final = {"gradient_norm", "update_ratio", "gradient_snr"}


def draw(readings: "Readings") -> Figure:
    """Every instrument, in two columns."""
    names = list(readings)
    rows = -(-len(names) // 2)
    figure = Figure(figsize=(10.0 if len(names) > 1 else 6.0, 2.6 * rows + 0.4), layout="constrained")
    figure.set_facecolor("white")
    panels = figure.subplots(rows, min(2, len(names)), squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        axes.set_title(name, loc="left", color=_INK, fontsize=10)
        axes.set_xlabel("step", color=_INK, fontsize=8)
        axes.tick_params(labelsize=8)
        (_histogram if name in readings.edges else _lines)(axes, readings, name)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.suptitle(readings.run.replace("$", r"\$"), x=0.01, ha="left", color=_INK, fontsize=12)
    return figure


def svg(figure: Figure) -> str:
    """As SVG, for a page: letters are paths; the same figure gives the same text."""
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "talweg"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue().decode()
    # A page has a document type of its own.
    return text[text.index("<svg") :]


def _lines(axes: Axes, readings: "Readings", name: str) -> None:
    whole, *parts = [column for column in readings.columns[name] if not column.endswith((".error", ".mean"))]
    for place, part in enumerate(parts):
        colour = _TENSORS[place % len(_TENSORS)]
        axes.plot(readings.steps, readings[part], color=colour, linewidth=0.8, alpha=0.8)
    marker = "." if len(readings) < 2 else ""
    values = np.asarray(readings[whole], dtype=np.float64)
    axes.plot(np.asarray(readings.steps), values, color=_LINE, linewidth=1.6, marker=marker)
    if name in _LEVELS:
        axes.axhline(_LEVELS[name], color=_INK, linewidth=0.6, linestyle=":")
    if name in _LOGARITHMIC and (values > 0).any():
        axes.set_yscale("log")


def _histogram(axes: Axes, readings: "Readings", name: str) -> None:
    """Steps across, bins upwards in order of size, the darker the more; only the bins between those in use."""
    counts = np.asarray(readings[name], dtype=np.float64).T
    used = np.flatnonzero(counts.any(axis=1))
    low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, len(counts))
    bounds = [-np.inf, *readings.edges[name], np.inf]
    axes.imshow(
        np.log1p(counts[low:high]), aspect="auto", origin="lower", cmap="Blues", interpolation="nearest",
        extent=(float(readings.steps[0]), float(readings.steps[-1]) + 1, low, high),
    )  # fmt: skip
    ticks = np.unique(np.linspace(low, high, 7).round().astype(int))
    axes.set_yticks(ticks, [f"{bounds[tick]:.0e}" for tick in ticks])
