"""Cases with wrappers, in PyTorch and optax; run by generate.py."""

import jax
import optax
import torch
from library_runs import LR, case, optax_case, with_torch

optax_case(
    "adam",
    {LR: 0.05, "around": [{"name": "clip_value", "limit": 2.0}]},
    lambda _: optax.chain(optax.clip(2.0), optax.adam(0.05)),
    "optax.chain(optax.clip(2.0), optax.adam(0.05))",
)


def clipped(problem):
    """clip_grad_norm_ before Adam."""

    class Clipped(torch.optim.Adam):
        def step(self, closure=None):
            torch.nn.utils.clip_grad_norm_([p for group in self.param_groups for p in group["params"]], 2.0)
            return super().step()

    return with_torch(problem, lambda ps: [Clipped(ps, lr=0.05)])


case(
    "adam",
    {LR: 0.05, "around": [{"name": "clip_norm", "limit": 2.0}]},
    clipped,
    "clip_grad_norm_(2.0), torch.optim.Adam(lr=0.05)",
)


def accumulated(problem):
    """Three backward passes of a third of the cost each, then a step."""

    class Third(torch.optim.Adam):
        passes = 0

        def zero_grad(self, set_to_none=True):
            if self.passes % 3 == 0:
                super().zero_grad(set_to_none)

        def step(self, closure=None):
            self.passes += 1
            if self.passes % 3 == 0:
                for group in self.param_groups:
                    for p in group["params"]:
                        p.grad /= 3
                super().step()

    return with_torch(problem, lambda ps: [Third(ps, lr=0.05)])


case(
    "adam",
    {LR: 0.05, "around": [{"name": "accumulate", "steps": 3}]},
    accumulated,
    "the mean of three gradients, torch.optim.Adam(lr=0.05)",
)


# Wrappers around a rule that evaluates other points than θ.
L2 = {"name": "l2", "coefficient": 0.1, "biases_and_norms": True}
SAM = {"name": "sam", "rho": 0.02}
case(
    "lbfgs",
    {"around": [L2]},
    lambda problem: with_torch(
        problem,
        lambda ps: [torch.optim.LBFGS(ps, lr=1.0, max_iter=1, max_eval=26, line_search_fn="strong_wolfe")],
        penalty=0.1,
    ),
    "torch.optim.LBFGS on the cost + 0.05 |θ|²",
)


def sam(base):
    """optax.contrib.sam around it, with radius 0.02."""
    return optax.contrib.sam(
        base, optax.chain(optax.contrib.normalize(), optax.sgd(0.02)), sync_period=2, opaque_mode=True
    )


optax_case(
    "adam",
    {LR: 0.05, "around": [L2, SAM]},
    lambda _: sam(optax.adam(0.05)),
    "optax.contrib.sam(optax.adam(0.05)) on the cost + 0.05 |θ|²",
    penalty=0.1,
    grad_fn=lambda cost, _: lambda p, __: jax.grad(cost)(p),
)
optax_case(
    "adam",
    {LR: 0.05, "around": [SAM, L2]},
    lambda _: sam(optax.chain(optax.add_decayed_weights(0.1), optax.adam(0.05))),
    "optax.contrib.sam(optax.chain(add_decayed_weights(0.1), adam(0.05)))",
    grad_fn=lambda cost, _: lambda p, __: jax.grad(cost)(p),
)
case(
    "adam",
    {LR: 0.05, "around": [{"name": "average", "decay": 0.9}]},
    lambda problem: with_torch(problem, lambda ps: [torch.optim.Adam(ps, lr=0.05)], average=0.9),
    "torch.optim.Adam(lr=0.05), judged at AveragedModel with get_ema_multi_avg_fn(0.9)",
)


def weights_alone(kind, **arguments):
    """Decay of the matrix, none of the vector, by parameter groups."""

    def make(parameters):
        groups = [{"params": [p], **({} if p.ndim > 1 else {"weight_decay": 0.0})} for p in parameters]
        return [kind(groups, **arguments)]

    return lambda problem: with_torch(problem, make)


case(
    "sgd",
    {LR: 0.05, "around": [{"name": "l2", "coefficient": 0.1}]},
    weights_alone(torch.optim.SGD, lr=0.05, weight_decay=0.1),
    "torch.optim.SGD(lr=0.05, weight_decay=0.1) with 0 for vectors",
    ("matrix",),
)
case(
    "adam",
    {LR: 0.05, "around": [{"name": "weight_decay", "coefficient": 0.1}]},
    weights_alone(torch.optim.AdamW, lr=0.05, weight_decay=0.1),
    "torch.optim.AdamW(lr=0.05, weight_decay=0.1) with 0 for vectors",
    ("matrix",),
)
