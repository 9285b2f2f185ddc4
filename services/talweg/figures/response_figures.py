"""The response surface of a sweep or a search: the final cost by hyperparameter, for one, two or more of them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from talweg.comparison.responses import Response
from talweg.comparison.results import Floats
from talweg.figures.axes import INK, MUTED, dress, plain, scale
from talweg.figures.colours import VERMILLION, style
from talweg.figures.curves import spans_decades
from talweg.figures.study_figures import figure_of

# Of more hyperparameters the first few are drawn, each alone.
_MOST = 4
_COLOURS = "viridis_r"
# A colour bar of a narrower range of costs is linear.
_DECADE = 10.0


def surfaces(found: Sequence[Response]) -> Figure:
    """A row for each response. Of two hyperparameters a map, whose colour is the cost; else the cost over each."""
    panels = max(1 if len(response.keys) == 2 else min(len(response.keys), _MOST) for response in found)
    figure = figure_of(max(4.6 * panels, 7.6), 3.9 * len(found) + 0.4)
    grid = figure.subplots(len(found), panels, squeeze=False)
    for row, response in zip(grid, found, strict=True):
        for axes in row:
            axes.set_visible(False)
        if len(response.keys) == 2:
            _map(figure, row[0], response)
        else:
            for column, axes in enumerate(row[: len(response.keys)]):
                _profile(axes, response, column)
    return figure


def _map(figure: Figure, axes: Axes, response: Response) -> None:
    """A cell or a point a setting; the best has a ring, one that did not train a cross."""
    _dress(axes, response)
    _axis(axes, "x", response, 0)
    _axis(axes, "y", response, 1)
    x, y = response.values.T
    trained = np.isfinite(response.costs)
    costs = response.costs[trained]
    if costs.size:
        low, high = float(costs.min()), float(costs.max())
        norm = LogNorm(low, high) if low > 0 and high > _DECADE * low else Normalize(low, high)
        cells = _cells(response)
        drawn: PathCollection | QuadMesh
        if cells is None:
            drawn = axes.scatter(x[trained], y[trained], c=costs, norm=norm, cmap=_COLOURS, s=36, linewidths=0)
        else:
            drawn = axes.pcolormesh(*cells, norm=norm, cmap=_COLOURS, shading="nearest")
        bar = figure.colorbar(drawn, ax=axes)
        bar.set_label("final cost", color=MUTED)
        bar.ax.tick_params(colors=MUTED, which="both", length=0)
        bar.outline.set_visible(False)
        best = int(np.argmin(np.where(trained, response.costs, np.inf)))
        axes.plot(x[best], y[best], "o", markersize=11, fillstyle="none", color=VERMILLION, markeredgewidth=2)
    axes.plot(x[~trained], y[~trained], "x", color=MUTED, markersize=4, linestyle="none")


def _cells(response: Response) -> tuple[Floats, Floats, Floats] | None:
    """Columns, rows and costs (rows, columns), where the settings are a whole grid."""
    (columns, across), (rows, down) = (np.unique(own, return_inverse=True) for own in response.values.T)
    if columns.size * rows.size != len(response.costs) or min(columns.size, rows.size) < 2:
        return None
    table = np.full((rows.size, columns.size), np.nan)
    table[down, across] = np.where(np.isfinite(response.costs), response.costs, np.nan)
    return columns, rows, table


def _profile(axes: Axes, response: Response, column: int) -> None:
    """The cost over one hyperparameter: a point a setting, and a line where no other differs."""
    _dress(axes, response)
    _axis(axes, "x", response, column)
    axes.set_ylabel("final cost", color=MUTED)
    trained = np.isfinite(response.costs)
    x, costs = response.values[:, column], response.costs
    scale(axes, [costs[trained]])
    colour = style(response.optimizer).colour
    order = np.argsort(x[trained])
    joined = "-" if len(response.keys) == 1 else "none"
    axes.plot(x[trained][order], costs[trained][order], "o", linestyle=joined, color=colour, markersize=4)
    if trained.any():
        best = int(np.argmin(np.where(trained, costs, np.inf)))
        axes.plot(x[best], costs[best], "o", markersize=11, fillstyle="none", color=VERMILLION, markeredgewidth=2)
    lost = x[~trained]
    axes.plot(lost, np.full(len(lost), 1.02), "x", color=MUTED, clip_on=False, transform=axes.get_xaxis_transform())


def _dress(axes: Axes, response: Response) -> None:
    axes.set_visible(True)
    dress(axes, plain(f"{response.optimizer} on {response.problem}"))
    axes.set_title(axes.get_title(loc="left"), loc="left", fontsize=10.5, color=INK, pad=10)


def _axis(axes: Axes, which: str, response: Response, column: int) -> None:
    """Name and scale of an axis; logarithmic where the values span decades."""
    values = response.values[:, column]
    set_scale, set_label = getattr(axes, f"set_{which}scale"), getattr(axes, f"set_{which}label")
    axis = getattr(axes, f"{which}axis")
    set_label(response.keys[column], color=MUTED)
    if values.min() > 0 and spans_decades([values]):
        set_scale("log")
        axis.set_minor_formatter(NullFormatter())
    else:
        set_scale("linear")
        axis.set_major_formatter("{x:g}")
