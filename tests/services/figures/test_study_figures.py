"""Figures of a study: their lines and scales, and that no name is read as markup."""

import math
from collections.abc import Callable
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from talweg.comparison import Result
from talweg.figures.colours import style
from talweg.figures.study_figures import cost_curves, png, svg

Make = Callable[..., Result]


def colours(figure_lines: list[object]) -> set[str]:
    return {line.get_color() for line in figure_lines}  # type: ignore[attr-defined]  # matplotlib's Line2D


def test_each_optimizer_is_drawn_in_its_colour_with_a_band(result: Make) -> None:
    runs = [result(name, seed=seed) for name in ("sgd", "adam") for seed in range(3)]
    (axes,) = cost_curves(runs, title="t").axes
    assert colours([*axes.lines]) == {style("sgd").colour, style("adam").colour}
    assert len(axes.collections) == 2


def test_validation_has_a_panel_of_its_own(result: Make) -> None:
    training, validation = cost_curves([result(validation=[0.5, 0.4])], title="t").axes
    assert (training.get_title("left"), validation.get_title("left")) == (
        "Training cost (each step’s batch)",
        "Validation cost",
    )


@pytest.mark.parametrize(
    ("costs", "scale"),
    [
        ([3, 2, 1], "linear"),
        ([100, 1, 0.01], "log"),
        ([100, 1, 0], "log"),
        ([100, 1, -0.01], "linear"),
        ([0], "linear"),
    ],
)
def test_the_scale_is_logarithmic_where_costs_span_decades(result: Make, costs: list[float], scale: str) -> None:
    (axes,) = cost_curves([result(costs=costs)], title="t").axes
    assert axes.get_yscale() == scale


def test_a_diverging_run_does_not_stretch_the_axis(result: Make) -> None:
    runs = [result("adam"), result("sgd", costs=[1, 1e30, math.inf], stop_reason="diverged")]
    (axes,) = cost_curves(runs, title="t").axes
    assert axes.get_ylim()[1] < 10


def test_runs_that_all_diverged_are_drawn_all_the_same(result: Make) -> None:
    figure = cost_curves([result(costs=[1, 1e9, math.nan], stop_reason="diverged")], title="t")
    assert figure.axes[0].get_ylim()[1] > 1e8
    assert png(figure)


@pytest.mark.parametrize("state", ["queued", "failed", "running"])
def test_a_run_without_a_step_yet_is_no_error(result: Make, state: str) -> None:
    assert png(cost_curves([result(costs=[], state=state, stop_reason=None)], title="t"))
    assert png(cost_curves([], title="empty"))


def test_names_are_drawn_literally(result: Make) -> None:
    title = r"$\frac{1}$ <script>alert(1)</script> & _x_"
    drawn = svg(cost_curves([result("$a$<b>")], title=title))
    root = ET.fromstring(drawn)  # noqa: S314 - our own output
    assert {element.tag.rpartition("}")[2] for element in root.iter()}.isdisjoint({"script", "b", "text"})


def test_the_same_runs_give_the_same_picture(result: Make) -> None:
    runs = [result(seed=seed, costs=np.linspace(2, 1, 50)) for seed in range(3)]
    assert png(cost_curves(runs, title="t")) == png(cost_curves(runs, title="t"))
