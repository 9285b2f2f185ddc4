"""Paths over contours, on a plane, and step by step."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from talweg.comparison.contenders import contenders
from talweg.figures.colours import style
from talweg.figures.path_figures import animation, moments, paths, plane_figure, plane_of
from talweg.figures.study_figures import svg
from talweg.spec import StudySpec
from talweg_core.problems import create
from talweg_core.problems.surface import SurfaceProblem


def test_paths_are_drawn_over_a_test_function() -> None:
    problem = create("rosenbrock")
    assert isinstance(problem, SurfaceProblem)
    spec = StudySpec.model_validate({"problem": "rosenbrock", "optimizers": ["sgd", "adam"]})
    away = np.array([[-0.5, 1.5], [0.0, 1.0], [1e30, -np.inf]])
    taken = {contender: away[: 2 + i] for i, contender in enumerate(contenders(spec))}
    drawn = svg(paths(problem, taken))
    assert drawn.startswith(b"<?xml")
    assert len(drawn) < 500_000


def test_paths_are_shown_moving_in_their_own_colours() -> None:
    problem = create("rosenbrock")
    assert isinstance(problem, SurfaceProblem)
    spec = StudySpec.model_validate({"problem": "rosenbrock", "optimizers": ["sgd", "adam"]})
    walk = np.linspace([-0.5, 1.5], [1.0, 1.0], 30)
    taken = {contender: walk[: 30 - 10 * i] for i, contender in enumerate(contenders(spec))}
    moving = Image.open(io.BytesIO(animation(problem, taken, frames=4)))
    assert (moving.format, getattr(moving, "n_frames", 0)) == ("GIF", 4)
    moving.seek(3)
    shown = moving.convert("RGB").getcolors(1 << 24) or []
    colours = {"#{:02X}{:02X}{:02X}".format(*colour) for _, colour in shown if isinstance(colour, tuple)}
    assert {style("sgd").colour, style("adam").colour} <= colours
    assert moments(100, 5) == [0, 6, 25, 56, 100]


def test_a_plane_through_the_ends_of_paths_says_how_much_it_holds() -> None:
    # Two paths in a plane of five dimensions, from one point: all of them is in it.
    first, second = np.eye(5)[0], np.eye(5)[3]
    walk = np.linspace(0, 1, 11)[:, None]
    flat = plane_of([10 * walk * first, 4 * walk * second])
    assert flat.shares.sum() == pytest.approx(1)
    assert flat.shares[0] > flat.shares[1] > 0
    np.testing.assert_allclose(flat.axes @ flat.axes.T, np.eye(2), atol=1e-12)
    ends = flat.seen(np.stack([10 * first, 4 * second]))
    # Distances within the plane are those of the points.
    assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(math.hypot(10, 4), rel=1e-9)
    still = plane_of([np.ones((2, 3)), np.ones((2, 3))])
    assert still.shares.tolist() == [0, 0]


def test_a_plane_of_a_network_is_drawn() -> None:
    problem = create("wine-mlp")
    spec = StudySpec.model_validate({"problem": "wine-mlp", "optimizers": ["sgd", "adam"]})
    start = problem.initial(0)
    random = np.random.default_rng(0)
    walks = [np.cumsum(random.normal(0, 0.05, (5, start.size)), axis=0) for _ in spec.optimizers]
    taken = {c: (start + walk).astype(np.float64) for c, walk in zip(contenders(spec), walks, strict=True)}
    drawn = plane_figure(problem, taken)
    assert "% of the paths" in drawn.axes[0].get_title(loc="left")
    assert svg(drawn).startswith(b"<?xml")
