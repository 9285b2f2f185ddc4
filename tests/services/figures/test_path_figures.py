"""Paths over contours, on a plane, and step by step."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from talweg.comparison.contenders import contenders
from talweg.figures.colours import style
from talweg.figures.path_figures import animation, frame_steps, paths, plane_figure, plane_of
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


def test_paths_begin_where_the_seed_drew_the_start() -> None:
    problem = create("rosenbrock-n", dimension=2)
    assert isinstance(problem, SurfaceProblem)
    spec = StudySpec.model_validate({"problem": "rosenbrock", "optimizers": ["sgd", "adam"]})
    walk = np.linspace(problem.initial(3).astype(np.float64), [1.0, 1.0], 9)
    taken = {contender: walk[: 9 - 3 * i] for i, contender in enumerate(contenders(spec))}
    assert svg(paths(problem, taken)).startswith(b"<?xml")
    assert Image.open(io.BytesIO(animation(problem, taken, frames=2))).format == "GIF"


def test_animated_paths_have_their_contenders_colours() -> None:
    problem = create("rosenbrock")
    assert isinstance(problem, SurfaceProblem)
    spec = StudySpec.model_validate({"problem": "rosenbrock", "optimizers": ["sgd", "adam"]})
    walk = np.linspace([-0.5, 1.5], [1.0, 1.0], 30)
    taken = {contender: walk[: 30 - 10 * i] for i, contender in enumerate(contenders(spec))}
    animated = Image.open(io.BytesIO(animation(problem, taken, frames=4)))
    assert (animated.format, getattr(animated, "n_frames", 0)) == ("GIF", 4)
    animated.seek(3)
    shown = animated.convert("RGB").getcolors(1 << 24) or []
    colours = {"#{:02X}{:02X}{:02X}".format(*colour) for _, colour in shown if isinstance(colour, tuple)}
    assert {style("sgd").colour, style("adam").colour} <= colours
    assert frame_steps(100, 5) == [0, 6, 25, 56, 100]


def test_a_plane_through_the_ends_of_paths_has_its_share_of_their_spread() -> None:
    # Two paths from one point, in a plane of a five-dimensional space: the plane holds all of their spread.
    first, second = np.eye(5)[0], np.eye(5)[3]
    walk = np.linspace(0, 1, 11)[:, None]
    flat = plane_of([10 * walk * first, 4 * walk * second])
    assert flat.shares.sum() == pytest.approx(1)
    assert flat.shares[0] > flat.shares[1] > 0
    np.testing.assert_allclose(flat.axes @ flat.axes.T, np.eye(2), atol=1e-12)
    ends = flat.project(np.stack([10 * first, 4 * second]))
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
