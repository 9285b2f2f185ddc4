"""The factors of PyTorch's and optax's schedules at their first steps; run by generate.py."""

import jax
import jax.numpy as jnp
import optax
import torch

jax.config.update("jax_enable_x64", True)


def torch_rates(make, steps):
    """The learning rates of a scheduler on a rate of 1."""
    rule = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(rule), []
    for _ in range(steps):
        rates.append(scheduler.get_last_lr()[0])
        rule.step()
        scheduler.step()
    return rates


ONES = optax.constant_schedule(1.0)
# Name, settings, the library's schedule, and its source text; 40 steps, or as many as the library's formula covers.
LR_OF = torch.optim.lr_scheduler
SCHEDULES = [
    ("constant", {}, ONES, "optax.constant_schedule(1.0)", 40),
    (
        "linear",
        {"steps": 10, "start": 0.5, "end": 0.1},
        lambda rule: LR_OF.LinearLR(rule, 0.5, 0.1, 10),
        "LinearLR(start_factor=0.5, end_factor=0.1, total_iters=10)",
        40,
    ),
    ("linear", {"steps": 10}, optax.linear_schedule(1.0, 0.0, 10), "optax.linear_schedule(1.0, 0.0, 10)", 40),
    (
        "cosine",
        {"steps": 10, "end": 0.2},
        lambda rule: LR_OF.CosineAnnealingLR(rule, 10, 0.2),
        "CosineAnnealingLR(T_max=10, eta_min=0.2), which rises again after T_max",
        11,
    ),
    (
        "cosine",
        {"steps": 10, "end": 0.2},
        optax.cosine_decay_schedule(1.0, 10, 0.2),
        "optax.cosine_decay_schedule(1.0, 10, alpha=0.2)",
        40,
    ),
    (
        "cosine_restarts",
        {"steps": 4, "growth": 2, "end": 0.1},
        lambda rule: LR_OF.CosineAnnealingWarmRestarts(rule, 4, 2, 0.1),
        "CosineAnnealingWarmRestarts(T_0=4, T_mult=2, eta_min=0.1)",
        40,
    ),
    ("step", {"every": 3, "factor_each": 0.5}, lambda rule: LR_OF.StepLR(rule, 3, 0.5), "StepLR(3, 0.5)", 40),
    ("exponential", {"rate": 0.9}, lambda rule: LR_OF.ExponentialLR(rule, 0.9), "ExponentialLR(0.9)", 40),
    (
        "exponential",
        {"rate": 0.25, "steps": 4},
        optax.exponential_decay(1.0, 4, 0.25),
        "optax.exponential_decay(1.0, transition_steps=4, decay_rate=0.25)",
        40,
    ),
    (
        "polynomial",
        {"steps": 10, "power": 3},
        lambda rule: LR_OF.PolynomialLR(rule, 10, 3.0),
        "PolynomialLR(total_iters=10, power=3)",
        40,
    ),
    (
        "polynomial",
        {"steps": 10, "power": 3, "end": 0.2},
        optax.polynomial_schedule(1.0, 0.2, 3, 10),
        "optax.polynomial_schedule(1.0, 0.2, power=3, transition_steps=10)",
        40,
    ),
    (
        "warmup",
        {"steps": 4, "start": 0.2, "then": {"name": "cosine", "steps": 10}},
        optax.warmup_cosine_decay_schedule(0.2, 1.0, 4, 14),
        "optax.warmup_cosine_decay_schedule(0.2, 1.0, warmup_steps=4, decay_steps=14)",
        40,
    ),
    (
        "one_cycle",
        {"steps": 20},
        lambda rule: LR_OF.OneCycleLR(rule, 1.0, total_steps=20, cycle_momentum=False),
        "OneCycleLR(max_lr=1, total_steps=20)",
        20,
    ),
    (
        "one_cycle",
        {"steps": 20, "rise": 0.5, "divisor": 10, "last_divisor": 100},
        lambda rule: LR_OF.OneCycleLR(rule, 1.0, 20, None, None, 0.5, "cos", False, 0.85, 0.95, 10.0, 100.0),
        "OneCycleLR(max_lr=1, total_steps=20, pct_start=0.5, div_factor=10, final_div_factor=100)",
        20,
    ),
    (
        "warmup_stable_decay",
        {"steps": 20, "warmup": 4, "decay": 5, "end": 0.1},
        optax.join_schedules([optax.linear_schedule(0.0, 1.0, 4), ONES, optax.linear_schedule(1.0, 0.1, 5)], [4, 15]),
        "optax.join_schedules of linear_schedule(0, 1, 4), a constant and linear_schedule(1, 0.1, 5) at 4 and 15",
        40,
    ),
    (
        "polynomial",
        {"steps": 10, "power": 3, "end": 0.2, "begin": 7},
        optax.polynomial_schedule(1.0, 0.2, 3, 10, 7),
        "optax.polynomial_schedule(1.0, 0.2, power=3, transition_steps=10, transition_begin=7)",
        40,
    ),
    (
        "cosine_restarts",
        {"steps": 10, "end": 0.1, "decay": 0.5},
        optax.sgdr_schedule(
            [
                {"init_value": p, "peak_value": p, "warmup_steps": 0, "decay_steps": 10, "end_value": 0.1}
                for p in (1.0, 0.5, 0.25)
            ]
        ),
        "optax.sgdr_schedule of three cosines of 10 steps from 1, 0.5 and 0.25 to 0.1",
        30,
    ),
    (
        "sequence",
        {
            "schedules": ["constant", {"name": "constant", "scale": 0.1}, {"name": "constant", "scale": 0.1 * 0.1}],
            "boundaries": [12, 25],
        },
        lambda rule: LR_OF.MultiStepLR(rule, [12, 25], 0.1),
        "MultiStepLR(milestones=[12, 25], gamma=0.1)",
        40,
    ),
    (
        "sequence",
        {
            "schedules": [
                {"name": "linear", "steps": 5, "start": 0.1, "end": 1},
                "constant",
                {"name": "exponential", "rate": 0.9},
            ],
            "boundaries": [5, 20],
        },
        lambda rule: LR_OF.SequentialLR(
            rule,
            [LR_OF.LinearLR(rule, 0.1, 1.0, 5), LR_OF.ConstantLR(rule, 1.0, 1), LR_OF.ExponentialLR(rule, 0.9)],
            [5, 20],
        ),
        "SequentialLR of LinearLR(0.1, 1, 5), ConstantLR(1) and ExponentialLR(0.9) at 5 and 20",
        40,
    ),
    (
        "sequence",
        {
            "schedules": [
                {"name": "cosine", "steps": 5, "start": 0.04, "end": 1},
                {"name": "cosine", "steps": 5, "end": 0.04},
                {"name": "cosine", "steps": 9, "start": 0.04, "end": 4e-6},
            ],
            "boundaries": [5, 10],
        },
        lambda rule: LR_OF.OneCycleLR(rule, 1.0, 20, None, None, 0.3, "cos", False, 0.85, 0.95, 25.0, 1e4, True),
        "OneCycleLR(max_lr=1, total_steps=20, three_phase=True)",
        20,
    ),
    (
        "sequence",
        {"schedules": ["constant", {"name": "linear", "steps": 10, "end": 0.2}], "boundaries": [15]},
        optax.linear_schedule(1.0, 0.2, 10, 15),
        "optax.linear_schedule(1.0, 0.2, transition_steps=10, transition_begin=15)",
        40,
    ),
]


def factors(make, said, steps):
    """The factors of a schedule of either library."""
    if not said.startswith("optax"):
        return torch_rates(make, steps)
    # A count in float64: JAX divides int32 in float32.
    return [float(make(jnp.asarray(step, jnp.float64))) for step in range(steps)]


def schedules():
    """For each: Talweg's name and settings, the library's source text, and its factors."""
    return [
        {"schedule": name, "settings": settings, "reference": said, "factors": factors(make, said, steps)}
        for name, settings, make, said, steps in SCHEDULES
    ]
