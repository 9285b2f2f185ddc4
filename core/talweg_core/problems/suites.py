"""Suites: problems with steps, batch size and target, so that "on the standard suite" means the same to all.

A suite stands here, beside the catalogue whose problems it names, so that who uses the engine alone has it too. Its
entries never change once a version has been released with them: another choice of problems is another suite, by
another name.

`standard` is ten small problems. Four optimizers with ten seeds, 400 runs of 796,000 steps in all, trained in nine
minutes on two busy cores, with everything recorded.

Its targets were chosen from runs of SGD, Nesterov, RMSProp and Adam (on digits-cnn of the first two) at ten learning
rates from 10⁻⁴ to 3, three seeds each, after Dahl et al. 2023, "Benchmarking neural network training algorithms"
(AlgoPerf), section 4.2. Each is a round number a little above the best median within three quarters of the steps; one
optimizer that reaches it in them is stated. A deviation: it is chosen once and stays, where AlgoPerf's rule gives a
number to all digits. Learning rates must be tuned to reach it: at the defaults, most optimizers miss most targets.
"""

from dataclasses import dataclass, field
from typing import Any

from talweg_core.errors import UnknownName


@dataclass(frozen=True)
class Entry:
    """One problem of a suite: its name, and how a run on it is judged."""

    problem: str
    steps: int
    # Arrived: a cost at most this; on the validation split, where the problem has one.
    target: float
    # An optimizer and a learning rate that arrive within three quarters of the steps.
    reached_by: tuple[str, float]
    # Steps between evaluations.
    evaluate_every: int = 25
    # None: the problem has no examples.
    batch_size: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)


_STANDARD = (
    # A curved valley. Below the local minimum of 3.99, in which one start in ten ends.
    Entry("rosenbrock-n", 3000, 0.1, ("adam", 0.1), settings={"dimension": 10}),
    # Dents everywhere: descent from where it starts ends near 114, and is to get out of some of them.
    Entry("rastrigin", 2000, 80.0, ("rmsprop", 0.3), settings={"dimension": 10, "start": "random"}),
    # Curvatures from 10⁻⁴ to 1, without noise.
    Entry("rotated-quadratic", 3000, 1e-3, ("nesterov", 0.3), settings={"condition": 1e4, "spectrum": "log"}),
    # Ten large curvatures among ninety small ones, with noise: the floor is 0.5.
    Entry(
        "rotated-quadratic",
        3000,
        0.515,
        ("nesterov", 0.1),
        settings={"condition": 1e3, "spectrum": "outliers", "noise": 0.1},
    ),
    # Convex, with a floor of 0.3516.
    Entry("ill-conditioned-logistic", 3000, 0.385, ("adam", 0.1), batch_size=128),
    Entry("deep-linear", 1500, 0.005, ("adam", 0.01), batch_size=32),
    Entry("digits-mlp", 600, 0.13, ("adam", 0.01), 10, 32),
    Entry("digits-cnn", 300, 0.17, ("nesterov", 0.1), 10, 32),
    Entry("digits-autoencoder", 1500, 0.285, ("adam", 0.01), batch_size=32),
    # Its floor is 1.0329.
    Entry("zipf-language-model", 2000, 1.62, ("adam", 0.01), batch_size=64),
)
_SUITES: dict[str, tuple[Entry, ...]] = {"standard": _STANDARD}


def names() -> list[str]:
    """Every suite."""
    return sorted(_SUITES)


def suite(name: str) -> tuple[Entry, ...]:
    """The suite of that name; raises UnknownName."""
    if name not in _SUITES:
        raise UnknownName("suite", name, _SUITES)
    return _SUITES[name]
