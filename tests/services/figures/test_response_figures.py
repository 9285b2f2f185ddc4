"""Response surfaces: a map of two hyperparameters, a curve of one, a panel for each of more."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.figure import Figure

from talweg.comparison.responses import Response
from talweg.figures.response_figures import surfaces


def response(values: np.ndarray, costs: np.ndarray, *keys: str) -> Response:
    return Response("digits-mlp", "adam", keys, values, costs)


def seen(figure: Figure) -> list[Axes]:
    """The axes that show a response."""
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]


def grid() -> Response:
    rates, betas = np.meshgrid([1e-3, 1e-2, 1e-1], [0.9, 0.99])
    values = np.stack([rates.ravel(), betas.ravel()], axis=1)
    return response(values, np.array([3.0, 2.0, math.inf, 2.5, 1.0, 4.0]), "learning_rate", "beta2")


def test_a_grid_of_two_is_a_map_with_its_best_ringed_and_its_lost_crossed() -> None:
    (axes,) = seen(surfaces([grid()]))
    (cells,) = [drawn for drawn in axes.collections if isinstance(drawn, QuadMesh)]
    shown = np.ma.filled(np.ma.MaskedArray(cells.get_array()), np.nan).reshape(2, 3)
    np.testing.assert_array_equal(shown, [[3.0, 2.0, math.nan], [2.5, 1.0, 4.0]])
    best, lost = axes.lines
    np.testing.assert_array_equal(best.get_xydata(), [[1e-2, 0.99]])
    np.testing.assert_array_equal(lost.get_xydata(), [[1e-1, 0.9]])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning_rate", "beta2")


def test_scattered_settings_of_two_are_points() -> None:
    whole = grid()
    (axes,) = seen(surfaces([response(whole.values[:5], whole.costs[:5], *whole.keys)]))
    (points,) = [drawn for drawn in axes.collections if isinstance(drawn, PathCollection)]
    assert len(np.asarray(points.get_offsets())) == 4


def test_one_hyperparameter_is_a_curve_and_three_are_panels() -> None:
    rates = np.geomspace(1e-4, 1, 9)
    one = response(rates[:, None], np.abs(np.log(rates / 0.01)) + 1, "learning_rate")
    three = response(np.stack([rates, rates, rates], axis=1), one.costs, "learning_rate", "beta1", "beta2")
    curve, *panels = seen(surfaces([one, three]))
    assert [axes.get_xlabel() for axes in panels] == ["learning_rate", "beta1", "beta2"]
    assert curve.lines[0].get_linestyle() == "-"
    assert {axes.lines[0].get_linestyle() for axes in panels} == {"None"}
