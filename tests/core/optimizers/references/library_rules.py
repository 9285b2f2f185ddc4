"""Cases of the rules, in PyTorch and optax; run by generate.py."""

import math

import jax
import jax.numpy as jnp
import optax
import torch
from library_runs import LR, case, hutchinson, optax_case, torch_case, with_torch

torch_case("sgd", {LR: 1e-3}, "SGD", lr=1e-3)
torch_case("momentum", {LR: 5e-4, "momentum": 0.8}, "SGD", lr=5e-4, momentum=0.8)
torch_case("momentum", {LR: 5e-4, "momentum": 0.8, "dampening": 0.3}, "SGD", lr=5e-4, momentum=0.8, dampening=0.3)
torch_case("nesterov", {LR: 5e-4, "momentum": 0.8}, "SGD", lr=5e-4, momentum=0.8, nesterov=True)
torch_case(
    "sgd",
    {LR: 1e-3, "around": [{"name": "l2", "coefficient": 0.1, "biases_and_norms": True}]},
    "SGD",
    lr=1e-3,
    weight_decay=0.1,
)
torch_case("rprop", {LR: 0.01}, "Rprop", lr=0.01)
torch_case(
    "rprop",
    {LR: 0.02, "shrink": 0.4, "grow": 1.3, "largest": 0.05},
    "Rprop",
    lr=0.02,
    etas=(0.4, 1.3),
    step_sizes=(1e-6, 0.05),
)
torch_case("adagrad", {LR: 0.1}, "Adagrad", lr=0.1)
torch_case(
    "adagrad",
    {LR: 0.1, "learning_rate_decay": 0.1, "initial_accumulator": 0.5, "epsilon": 1e-3},
    "Adagrad",
    lr=0.1,
    lr_decay=0.1,
    initial_accumulator_value=0.5,
    eps=1e-3,
)
torch_case("rmsprop", {LR: 0.01}, "RMSprop", lr=0.01)
torch_case("rmsprop", {LR: 0.01, "momentum": 0.5, "rho": 0.9}, "RMSprop", lr=0.01, momentum=0.5, alpha=0.9)
torch_case(
    "rmsprop",
    {LR: 0.01, "momentum": 0.5, "rho": 0.9, "centred": True, "epsilon": 1e-2},
    "RMSprop",
    lr=0.01,
    momentum=0.5,
    alpha=0.9,
    centered=True,
    eps=1e-2,
)
torch_case("adadelta", {}, "Adadelta")
torch_case("adadelta", {LR: 0.5, "rho": 0.8, "epsilon": 1e-4}, "Adadelta", lr=0.5, rho=0.8, eps=1e-4)
torch_case("adam", {LR: 0.05}, "Adam", lr=0.05)
torch_case(
    "adam", {LR: 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3}, "Adam", lr=0.05, betas=(0.8, 0.95), eps=1e-3
)
torch_case(
    "adam",
    {LR: 0.05, "around": [{"name": "l2", "coefficient": 0.1, "biases_and_norms": True}]},
    "Adam",
    lr=0.05,
    weight_decay=0.1,
)
torch_case("adamax", {LR: 0.05, "beta2": 0.9}, "Adamax", lr=0.05, betas=(0.9, 0.9))
torch_case("amsgrad", {LR: 0.05, "beta2": 0.9}, "Adam", lr=0.05, betas=(0.9, 0.9), amsgrad=True)
torch_case("adamw", {LR: 0.05, "weight_decay": 0.1}, "AdamW", lr=0.05, weight_decay=0.1)
torch_case(
    "adam",
    {LR: 0.05, "around": [{"name": "weight_decay", "coefficient": 0.1, "biases_and_norms": True}]},
    "AdamW",
    lr=0.05,
    weight_decay=0.1,
)
torch_case("nadam", {LR: 0.02}, "NAdam", lr=0.02)
torch_case(
    "nadam", {LR: 0.01, "momentum_decay": 0.1, "beta2": 0.95}, "NAdam", lr=0.01, momentum_decay=0.1, betas=(0.9, 0.95)
)
torch_case("radam", {LR: 5e-4}, "RAdam", lr=5e-4)
torch_case("radam", {LR: 5e-4, "beta2": 0.9}, "RAdam", lr=5e-4, betas=(0.9, 0.9))
torch_case("adafactor", {LR: 0.05}, "Adafactor", lr=0.05)
torch_case(
    "adafactor",
    {LR: 0.05, "beta2_decay": -0.5, "clip": 1.2, "weight_decay": 0.1, "epsilon1": 1e-4},
    "Adafactor",
    lr=0.05,
    beta2_decay=-0.5,
    d=1.2,
    weight_decay=0.1,
    eps=(1e-4, 1e-3),
)
torch_case("lbfgs", {}, "LBFGS", lr=1.0, max_iter=1, max_eval=26, line_search_fn="strong_wolfe")
torch_case(
    "lbfgs",
    {LR: 0.5, "history": 3},
    "LBFGS",
    lr=0.5,
    max_iter=1,
    max_eval=26,
    history_size=3,
    line_search_fn="strong_wolfe",
)


def muon(**settings):
    """torch.optim.Muon for W as Linear holds it, AdamW for the rest."""
    arguments = {"weight_decay": 0.1, "momentum": 0.95, "nesterov": True, "adjust_lr_fn": None} | settings

    def make(parameters):
        flat_ones = [p for p in parameters if p.ndim == 1]
        return [
            *(
                [torch.optim.Muon([p for p in parameters if p.ndim == 2], lr=0.02, **arguments)]
                if len(parameters) > 1
                else []
            ),
            torch.optim.AdamW(flat_ones, lr=0.02, weight_decay=arguments["weight_decay"]),
        ]

    return lambda problem: with_torch(problem, make, transposed=True)


MUON = "torch.optim.Muon in float64 for the matrix (outputs, inputs), torch.optim.AdamW for vectors"
case("muon", {LR: 0.02}, muon(), MUON)
case(
    "muon",
    {LR: 0.02, "nesterov": False, "momentum": 0.8, "scale": "match_rms_adamw"},
    muon(nesterov=False, momentum=0.8, adjust_lr_fn="match_rms_adamw"),
    MUON,
    ("matrix",),
)

optax_case("adabelief", {LR: 0.05}, lambda _: optax.adabelief(0.05), "optax.adabelief(0.05)")
optax_case("yogi", {LR: 0.05}, lambda _: optax.yogi(0.05), "optax.yogi(0.05)")
optax_case("lion", {LR: 0.01}, lambda _: optax.lion(0.01), "optax.lion(0.01)")
optax_case(
    "adan",
    {LR: 0.02, "weight_decay": 0.1},
    lambda _: optax.adan(0.02, weight_decay=0.1),
    "optax.adan(0.02, weight_decay=0.1)",
)
optax_case("ademamix", {LR: 0.01}, lambda _: optax.contrib.ademamix(0.01), "optax.contrib.ademamix(0.01)")
optax_case(
    "ademamix",
    {LR: 0.01, "alpha": 2.0, "beta3": 0.99, "weight_decay": 0.1},
    lambda _: optax.contrib.ademamix(0.01, alpha=2.0, b3=0.99, weight_decay=0.1),
    "optax.contrib.ademamix(0.01, alpha=2.0, b3=0.99, weight_decay=0.1)",
)


def warm(count):
    """From 0 to 1 in 20 steps; JAX divides int32 in float32 unless asked."""
    return jnp.minimum(count.astype(jnp.float64) / 20, 1.0)


def slow_decay(count):
    """f_β₃ of the AdEMAMix paper, from 0.9 to 0.999 in 20 steps."""
    x = warm(count)
    first, last = math.log(0.9), math.log(0.999)
    return jnp.minimum(jnp.exp(first * last / ((1 - x) * last + x * first)), 0.999)


optax_case(
    "ademamix",
    {LR: 0.01, "beta3": 0.999, "warmup_steps": 20},
    lambda _: optax.contrib.ademamix(0.01, b3=slow_decay, alpha=lambda k: 5.0 * warm(k)),
    "optax.contrib.ademamix(0.01) with the paper's schedules for b3 and alpha",
)
optax_case(
    "adopt",
    {LR: 0.05, "beta2": 0.99},
    lambda _: optax.contrib.adopt(0.05, b2=0.99),
    "optax.contrib.adopt(0.05, b2=0.99)",
)
optax_case(
    "schedule_free_sgd",
    {LR: 1e-3},
    lambda _: optax.contrib.schedule_free_sgd(1e-3),
    "optax.contrib.schedule_free_sgd(1e-3)",
    evaluation=optax.contrib.schedule_free_eval_params,
)
optax_case(
    "schedule_free_adamw",
    {LR: 0.05, "weight_decay": 0.01},
    lambda _: optax.contrib.schedule_free_adamw(0.05, weight_decay=0.01),
    "optax.contrib.schedule_free_adamw(0.05, weight_decay=0.01)",
    evaluation=optax.contrib.schedule_free_eval_params,
)
optax_case(
    "lars",
    {LR: 0.5, "weight_decay": 0.01, "trust_coefficient": 0.01},
    lambda _: optax.lars(0.5, weight_decay=0.01, trust_coefficient=0.01),
    "optax.lars(0.5, weight_decay=0.01, trust_coefficient=0.01)",
)
optax_case(
    "lamb",
    {LR: 0.05, "weight_decay": 0.01},
    lambda _: optax.lamb(0.05, weight_decay=0.01),
    "optax.lamb(0.05, weight_decay=0.01)",
)
optax_case(
    "prodigy",
    {"initial_distance": 1e-2, "weight_decay": 0.01},
    lambda _: optax.contrib.prodigy(estim_lr0=1e-2, weight_decay=0.01),
    "optax.contrib.prodigy(estim_lr0=1e-2, weight_decay=0.01)",
)
optax_case(
    "dadaptation",
    {"initial_distance": 1e-2, "weight_decay": 0.01},
    lambda _: optax.contrib.dadapt_adamw(estim_lr0=1e-2, weight_decay=0.01),
    "optax.contrib.dadapt_adamw(estim_lr0=1e-2, weight_decay=0.01)",
)
optax_case(
    "sophia",
    {LR: 0.02, "every": 3, "gamma": 1.0},
    lambda p: optax.contrib.sophia(0.02, gamma=1.0, update_interval=3, hessian_diagonal_fn=hutchinson(p, 3)),
    "optax.contrib.sophia(0.02, gamma=1.0, update_interval=3) with given signs",
)
optax_case(
    "sam",
    {LR: 5e-4, "momentum": 0.5, "rho": 0.02},
    lambda _: optax.contrib.sam(
        optax.sgd(5e-4, momentum=0.5),
        optax.chain(optax.contrib.normalize(), optax.sgd(0.02)),
        sync_period=2,
        opaque_mode=True,
    ),
    "optax.contrib.sam(optax.sgd(5e-4, momentum=0.5), normalize and sgd(0.02), opaque_mode=True)",
    grad_fn=lambda cost, _: lambda p, __: jax.grad(cost)(p),
)
