"""Trajectories of PyTorch and optax, float64, for tests/core/optimizers/test_references.py.

Run once in an environment of its own, `pip install torch==2.13.0 optax==0.2.8`, then
`python generate.py`; it writes cases.json, schedules.json and trajectories.npz beside itself. Neither library is a
dependency of the project, and nothing of the project is imported here.

Each case: our name and settings, and how the library says the same. Two problems: Rosenbrock from (−0.5, 1.5), and
`matrix`, C = mean (x W + b − y)² with W (5, 3) and b (3). A trajectory is θ_0 … θ_50 as flat vectors (W row by row,
then b); where a method is judged at another point than it moves, `<case>/evaluation` holds those. Beside them the
libraries' default hyperparameters, under our names, and their schedules' factors at the first steps.
"""

import hashlib
import json
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from library_defaults import defaults
from library_schedules import schedules

jax.config.update("jax_enable_x64", True)
torch.set_default_dtype(torch.float64)
# torch.optim.Muon orthogonalises in bfloat16; in float64 it is the same algorithm.
torch.Tensor.bfloat16 = lambda tensor: tensor.clone()

STEPS = 50
HERE = Path(__file__).parent
_draws = np.random.default_rng(20)
DATA = {
    "inputs": _draws.normal(size=(8, 5)),
    "targets": _draws.normal(size=(8, 3)),
    "start": _draws.normal(size=18) * 0.5,
}


def rosenbrock(p):
    """Of x (2,)."""
    x = p["x"]
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def matrix(p):
    """Of w (5, 3) and b (3,); arrays of either library."""
    inputs, targets = DATA["inputs"], DATA["targets"]
    if isinstance(p["w"], torch.Tensor):
        inputs, targets = torch.tensor(inputs), torch.tensor(targets)
    return ((inputs @ p["w"] + p["b"] - targets) ** 2).mean()


PROBLEMS = {
    "rosenbrock": (rosenbrock, {"x": np.array([-0.5, 1.5])}),
    "matrix": (matrix, {"w": DATA["start"][:15].reshape(5, 3), "b": DATA["start"][15:]}),
}


def flat(p):
    """One vector of all tensors in order, whatever order a library has put them in."""
    return np.concatenate([np.asarray(p[name]).ravel() for name in ("x", "w", "b") if name in p])


def penalised(cost, coefficient):
    """The cost with ½ λ |θ|² of all parameters added."""
    return lambda p: cost(p) + 0.5 * coefficient * sum((value**2).sum() for value in p.values())


def with_torch(problem, make, transposed=False, penalty=0.0, average=None):
    """`make(parameters)` is a list of optimizers; `transposed` keeps W as PyTorch's Linear does.

    `penalty` is a coefficient for `penalised`, `average` the decay of an average at which the method is judged.
    """
    cost, start = PROBLEMS[problem]
    cost = penalised(cost, penalty) if penalty else cost
    turn = lambda value: value.T if transposed and value.ndim == 2 else value
    own = {name: torch.nn.Parameter(torch.tensor(turn(value).copy())) for name, value in start.items()}
    view = lambda: {name: turn(value) for name, value in own.items()}
    optimizers = make(list(own.values()))
    module = torch.nn.ParameterList(own.values())
    averaged = average and torch.optim.swa_utils.AveragedModel(
        module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(average)
    )
    points = [flat({name: value.detach().numpy() for name, value in view().items()})]
    judged = [points[0]]
    for _ in range(STEPS):

        def closure():
            for optimizer in optimizers:
                optimizer.zero_grad()
            value = cost(view())
            value.backward()
            return value

        closure()
        for optimizer in optimizers:
            # Any other would evaluate again, between one optimizer's step and the next one's.
            optimizer.step(*([closure] if isinstance(optimizer, torch.optim.LBFGS) else []))
        points.append(flat({name: value.detach().numpy() for name, value in view().items()}))
        if averaged:
            averaged.update_parameters(module)
            kept = [value.detach().numpy().copy() for value in averaged.module]
            judged.append(flat(dict(zip(own, kept, strict=True))))
    return np.array(points), np.array(judged) if averaged else None


def with_optax(problem, make, evaluation=None, penalty=0.0, **extra):
    """`make()` is a transformation; `evaluation(state, parameters)` the point where a method is judged."""
    cost, start = PROBLEMS[problem]
    cost = penalised(cost, penalty) if penalty else cost
    p = {name: jnp.asarray(value) for name, value in start.items()}
    rule = make(problem)
    state = rule.init(p)
    gradient = jax.jit(jax.grad(cost))
    points, judged = [flat(p)], [flat(p)]
    for step in range(STEPS):
        more = {key: value(cost, step) for key, value in extra.items()}
        updates, state = rule.update(gradient(p), state, p, **more)
        p = optax.apply_updates(p, updates)
        points.append(flat(p))
        judged.append(flat(evaluation(state, p)) if evaluation else None)
    return np.array(points), np.array(judged) if evaluation else None


def probe(step):
    """The signs that a Talweg run of seed 0 draws at `step`, from the definition of its streams."""
    key = hashlib.blake2b(f"0/probe/{step}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))


def hutchinson(problem, every):
    """optax's estimator of the Hessian's diagonal, with those signs in place of its own."""
    cost, start = PROBLEMS[problem]
    size = sum(value.size for value in start.values())
    signs = np.array([probe(step).choice([-1.0, 1.0], size) for step in range(0, STEPS, every)])

    def update(updates, count, params=None, **_):
        flat_signs = jnp.asarray(signs)[count]
        parts, at = {}, 0
        for name, value in start.items():
            parts[name] = flat_signs[at : at + value.size].reshape(value.shape)
            at += value.size
        product = jax.jvp(jax.grad(cost), (params,), (parts,))[1]
        return jax.tree.map(lambda h, u: h * u, product, parts), count + 1

    return optax.GradientTransformationExtraArgs(lambda _: jnp.zeros([], jnp.int32), update)


CASES = []


def case(name, settings, run, said, problems=("rosenbrock", "matrix")):
    """One line of the table."""
    CASES.append((name, settings, run, said, problems))


def torch_case(name, settings, kind, problems=("rosenbrock", "matrix"), **arguments):
    """A torch.optim class with its arguments."""
    said = f"torch.optim.{kind}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
    case(
        name,
        settings,
        lambda p: with_torch(p, lambda ps: [getattr(torch.optim, kind)(ps, **arguments)]),
        said,
        problems,
    )


def optax_case(name, settings, make, said, **extra):
    """An optax transformation."""
    case(name, settings, lambda p: with_optax(p, make, **extra), said)


LR = "learning_rate"
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


# What stands around a rule that looks at other points than θ.
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


def write(name, value):
    """As JSON beside this file, a line an entry of `cases` and `defaults`."""
    lines = []
    for key, held in value.items():
        if isinstance(held, list):
            inner = ",\n".join(f"  {json.dumps(one)}" for one in held)
            held = f"[\n{inner}\n ]"
        elif key == "defaults":
            inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in held.items())
            held = f"{{\n{inner}\n }}"
        else:
            held = json.dumps(held)
        lines.append(f" {json.dumps(key)}: {held}")
    (HERE / name).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    """Write all three files."""
    facts, arrays = [], {}
    for number, (name, settings, run, said, problems) in enumerate(CASES):
        key = f"{number:02d}-{name}"
        for problem in problems:
            points, judged = run(problem)
            assert np.isfinite(points).all(), (key, problem)
            arrays[f"{key}/{problem}"] = points
            if judged is not None:
                arrays[f"{key}/{problem}/evaluation"] = judged
        facts.append(
            {"key": key, "optimizer": name, "settings": settings, "reference": said, "problems": list(problems)}
        )
    versions = {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "optax": optax.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
    }
    write("cases.json", {"versions": versions, "steps": STEPS, "cases": facts, "defaults": defaults()})
    write("schedules.json", {"versions": versions, "cases": schedules()})
    np.savez_compressed(HERE / "trajectories.npz", **{f"data/{k}": v for k, v in DATA.items()}, **arrays)


if __name__ == "__main__":
    main()
