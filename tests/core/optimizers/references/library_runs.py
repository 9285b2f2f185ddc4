"""Train one problem with PyTorch or optax, and the table of cases; run by generate.py."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

jax.config.update("jax_enable_x64", True)
torch.set_default_dtype(torch.float64)
# torch.optim.Muon orthogonalises in bfloat16; in float64 it is the same algorithm.
torch.Tensor.bfloat16 = lambda tensor: tensor.clone()

STEPS = 50
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
    """One vector of all tensors in Talweg's order."""
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
    """`make()` is a transformation; `evaluation(state, parameters)` the point at which a method is evaluated."""
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
