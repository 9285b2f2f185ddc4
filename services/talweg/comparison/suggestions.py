"""The next point of a search that learns: Optuna's TPE, asked anew each time and told everything from our store.

Nothing is kept between two questions. A sampler with a seed of its own hears of the earlier trials in the order of
their numbers, so the same results give the same suggestion, whoever asks and however often the study was interrupted.

Source: Bergstra, Bardenet, Bengio, Kégl, "Algorithms for Hyper-Parameter Optimization", 2011, section 4.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

from talweg.protocols import Range


def suggested(
    space: Mapping[str, Range], told: Sequence[tuple[Mapping[str, float], float]], key: Sequence[int]
) -> dict[str, float]:
    """The point that TPE takes to be worth trying next.

    Args:
        space: each hyperparameter's range.
        told: of each earlier trial, in their order, its values and its cost; infinite where it diverged or failed.
        key: what makes this question another than all others of the study; the sampler's seed comes from it.
    """
    # Optuna takes more than a second to import, and only these searches need it.
    import optuna

    # It would say on stderr that a study was made, at each question.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    axes: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(whole.low, whole.high, log=whole.scale == "log")
        for name, whole in space.items()
    }
    # Whatever was tried first has been tried by now: from here on it is TPE that chooses.
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=_seed(key), n_startup_trials=1))
    for values, cost in told:
        # An optimizer's own defaults may lie outside the range, of which the model then knows nothing.
        if all(space[name].low <= values[name] <= space[name].high for name in space):
            trial = optuna.trial.create_trial(params=dict(values), distributions=axes, value=cost)
            study.add_trial(trial)
    found = study.ask(axes).params
    return {name: _plain(float(found[name]), whole) for name, whole in space.items()}


def _plain(value: float, whole: Range) -> float:
    """To twelve digits, as people can write it down, and within the range."""
    return min(max(float(f"{value:.12g}"), whole.low), whole.high)


def _seed(key: Sequence[int]) -> int:
    digest = hashlib.sha256(json.dumps(list(key)).encode()).digest()
    return int.from_bytes(digest[:4], "big")
