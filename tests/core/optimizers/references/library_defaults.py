"""The default hyperparameters of PyTorch and optax under Talweg's names; run by generate.py."""

import inspect

import optax
import torch

BETAS = {"beta1": "betas.0", "beta2": "betas.1"}
B = {"beta1": "b1", "beta2": "b2"}
EPS, DECAY = {"epsilon": "eps"}, {"weight_decay": "weight_decay"}
RATE, TORCH_RATE = {"learning_rate": "learning_rate"}, {"learning_rate": "lr"}
# Talweg's names for the arguments of each, where the library has a default.
DEFAULTS = {
    "sgd": (torch.optim.SGD, TORCH_RATE),
    "momentum": (torch.optim.SGD, TORCH_RATE | {"dampening": "dampening"}),
    "nesterov": (torch.optim.SGD, TORCH_RATE),
    "rprop": (
        torch.optim.Rprop,
        TORCH_RATE | {"shrink": "etas.0", "grow": "etas.1", "smallest": "step_sizes.0", "largest": "step_sizes.1"},
    ),
    "adagrad": (
        torch.optim.Adagrad,
        TORCH_RATE | EPS | {"learning_rate_decay": "lr_decay", "initial_accumulator": "initial_accumulator_value"},
    ),
    "rmsprop": (
        torch.optim.RMSprop,
        TORCH_RATE | EPS | {"rho": "alpha", "momentum": "momentum", "centred": "centered"},
    ),
    "adadelta": (torch.optim.Adadelta, TORCH_RATE | EPS | {"rho": "rho"}),
    "adam": (torch.optim.Adam, TORCH_RATE | BETAS | EPS),
    "adamax": (torch.optim.Adamax, TORCH_RATE | BETAS | EPS),
    "amsgrad": (torch.optim.Adam, TORCH_RATE | BETAS | EPS),
    "adamw": (torch.optim.AdamW, TORCH_RATE | BETAS | EPS | DECAY),
    "nadam": (torch.optim.NAdam, TORCH_RATE | BETAS | EPS | {"momentum_decay": "momentum_decay"}),
    "radam": (torch.optim.RAdam, TORCH_RATE | BETAS | EPS),
    "adafactor": (
        torch.optim.Adafactor,
        TORCH_RATE | DECAY | {"beta2_decay": "beta2_decay", "epsilon2": "eps.1", "clip": "d"},
    ),
    "muon": (
        torch.optim.Muon,
        TORCH_RATE | DECAY | {"momentum": "momentum", "nesterov": "nesterov", "iterations": "ns_steps"},
    ),
    "lbfgs": (
        torch.optim.LBFGS,
        TORCH_RATE
        | {
            "history": "history_size",
            "gradient_tolerance": "tolerance_grad",
            "change_tolerance": "tolerance_change",
        },
    ),
    "adabelief": (optax.adabelief, B | EPS | {"epsilon_root": "eps_root"}),
    "yogi": (optax.yogi, B | EPS),
    "lion": (optax.lion, B | DECAY),
    "adan": (optax.adan, B | EPS | DECAY | {"beta3": "b3", "epsilon_root": "eps_root"}),
    "ademamix": (optax.contrib.ademamix, B | EPS | DECAY | {"beta3": "b3", "alpha": "alpha"}),
    "adopt": (optax.contrib.adopt, B | EPS),
    "schedule_free_sgd": (optax.contrib.schedule_free_sgd, RATE | {"beta1": "b1"}),
    "schedule_free_adamw": (optax.contrib.schedule_free_adamw, RATE | B | EPS | DECAY),
    "lars": (
        optax.lars,
        DECAY | EPS | {"momentum": "momentum", "trust_coefficient": "trust_coefficient"},
    ),
    "lamb": (optax.lamb, B | EPS | DECAY),
    "prodigy": (
        optax.contrib.prodigy,
        RATE | BETAS | EPS | DECAY | {"initial_distance": "estim_lr0", "growth": "estim_lr_coef"},
    ),
    "dadaptation": (optax.contrib.dadapt_adamw, RATE | BETAS | EPS | DECAY | {"initial_distance": "estim_lr0"}),
    "sophia": (
        optax.contrib.sophia,
        B | EPS | DECAY | {"gamma": "gamma", "clip": "clip_threshold", "every": "update_interval"},
    ),
}


def default(kind, where):
    """The default of an argument, or of one entry of a tuple: `betas.1`."""
    name, _, place = where.partition(".")
    value = inspect.signature(kind).parameters[name].default
    return value[int(place)] if place else value


def defaults():
    """For each: the library's class, and the values."""
    return {
        name: {
            "reference": f"{kind.__module__}.{kind.__name__}",
            "values": {ours: default(kind, theirs) for ours, theirs in names.items()},
        }
        for name, (kind, names) in DEFAULTS.items()
    }
