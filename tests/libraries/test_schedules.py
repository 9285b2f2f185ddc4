"""Schedules equal PyTorch's and optax's over 1,000 steps."""

from collections.abc import Callable
from math import cos, pi, sqrt
from typing import Any

import jax
import optax
import pytest
import torch
from jax import numpy as jnp

from talweg_core import schedules

STEPS = 1000
LR = torch.optim.lr_scheduler
ONE: dict[str, Any] = {"name": "constant"}


def of_torch(make: Callable[[Any], Any]) -> list[float]:
    """The learning rates of a scheduler of PyTorch, on a rate of 1."""
    rule = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(rule), []
    for _ in range(STEPS):
        rates.append(float(scheduler.get_last_lr()[0]))
        rule.step()
        scheduler.step()
    return rates


def of_optax(made: Callable[[Any], Any]) -> list[float]:
    """The rates of a schedule of optax, in float64."""
    with jax.enable_x64():
        return [float(made(jnp.asarray(step, jnp.float64))) for step in range(STEPS)]


def vaswani(step: int) -> float:
    """min(t / w, √(w / t)) with w = 100: Vaswani et al. 2017, equation 3, and transformers' inverse_sqrt."""
    return step / 100 if step < 100 else sqrt(100 / step)


def cosine_with_hard_restarts(step: int) -> float:
    """transformers' get_cosine_with_hard_restarts_schedule_with_warmup(100, 1000, num_cycles=3)."""
    if step < 100:
        return step / 100
    share = (step - 100) / 900
    return 0.5 * (1 + cos(pi * ((3 * share) % 1.0)))


CASES: dict[str, tuple[dict[str, Any], Callable[[], list[float]]]] = {
    "MultiStepLR": (
        {
            "name": "sequence",
            "schedules": [ONE, ONE | {"scale": 0.1}, ONE | {"scale": 0.1 * 0.1}],
            "boundaries": [300, 800],
        },
        lambda: of_torch(lambda rule: LR.MultiStepLR(rule, [300, 800], 0.1)),
    ),
    "delayed linear": (
        {"name": "sequence", "schedules": [ONE, {"name": "linear", "steps": 600, "end": 0.2}], "boundaries": [250]},
        lambda: of_optax(optax.linear_schedule(1.0, 0.2, 600, 250)),
    ),
    "staircase exponential": (
        {"name": "step", "every": 70, "factor_each": 0.8},
        lambda: of_optax(optax.exponential_decay(1.0, 70, 0.8, staircase=True)),
    ),
    "three phases": (
        {
            "name": "sequence",
            "schedules": [
                {"name": "cosine", "steps": 299, "start": 0.04, "end": 1},
                {"name": "cosine", "steps": 299, "end": 0.04},
                {"name": "cosine", "steps": 401, "start": 0.04, "end": 4e-6},
            ],
            "boundaries": [299, 598],
        },
        lambda: of_torch(lambda rule: LR.OneCycleLR(rule, 1.0, STEPS, cycle_momentum=False, three_phase=True)),
    ),
    "inverse square root with warm-up": (
        {
            "name": "sequence",
            "schedules": [
                {"name": "linear", "steps": 100, "start": 0, "end": 1},
                {"name": "inverse_square_root", "after": 100, "skip": 100},
            ],
            "boundaries": [100],
        },
        lambda: [vaswani(step) for step in range(STEPS)],
    ),
    "cosine with hard restarts": (
        {
            "name": "sequence",
            "schedules": [
                {"name": "linear", "steps": 100, "start": 0, "end": 1},
                {"name": "cosine_restarts", "steps": 300},
            ],
            "boundaries": [100],
        },
        lambda: [cosine_with_hard_restarts(step) for step in range(STEPS)],
    ),
    "polynomial with a begin": (
        {"name": "polynomial", "steps": 500, "power": 2.5, "end": 0.1, "begin": 200},
        lambda: of_optax(optax.polynomial_schedule(1.0, 0.1, 2.5, 500, 200)),
    ),
    "sequential": (
        {
            "name": "sequence",
            "schedules": [
                {"name": "linear", "steps": 50, "start": 0.1, "end": 1},
                {"name": "cosine", "steps": 600, "end": 0.05},
                ONE | {"scale": 0.05},
            ],
            "boundaries": [50, 650],
        },
        lambda: of_optax(
            optax.join_schedules(
                [
                    optax.linear_schedule(0.1, 1.0, 50),
                    optax.cosine_decay_schedule(1.0, 600, 0.05),
                    optax.constant_schedule(0.05),
                ],
                [50, 650],
            )
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_schedule_equals_the_library_s_over_a_thousand_steps(name: str) -> None:
    settings, reference = CASES[name]
    made = schedules.create(**settings)
    assert [made.factor(step) for step in range(STEPS)] == pytest.approx(reference(), rel=1e-12, abs=1e-15)
