"""The two problems that 10,000 steps do not solve: their floors, and that they are not solved."""

import re

import numpy as np
import pytest

from talweg_core import Cohort, optimizers, problems
from talweg_core.problems import NetworkProblem
from talweg_core.problems.unsolved import WINDOW, zipf_floor, zipf_words

_STATED = re.compile(
    r"Adam at learning rate ([\d.]+), batches of (\d+), is at ([\d.]+) after 5,000 steps and at ([\d.]+) after 10,000",
)


def made(name: str) -> NetworkProblem:
    """The problem."""
    problem = problems.create(name)
    assert isinstance(problem, NetworkProblem)
    return problem


def test_the_logistic_regression_has_the_minimum_that_it_states() -> None:
    problem = made("ill-conditioned-logistic")
    inputs, labels = problem.dataset.part("validation")
    x = np.column_stack([inputs, np.ones(len(inputs))])
    w = np.zeros(x.shape[1])
    for _ in range(30):
        chances = 1 / (1 + np.exp(-x @ w))
        curved = (x * (chances * (1 - chances))[:, None]).T @ x / len(x)
        slope = x.T @ (chances - labels) / len(x)
        w -= np.linalg.solve(curved, slope)
    assert np.abs(slope).max() < 1e-12
    # Softmax over two classes with logits 0 and z is the logistic function of z.
    layer = {"dense1.weight": np.stack([np.zeros(50), w[:50]], axis=1), "dense1.bias": np.array([0, w[50]])}
    point = np.concatenate([layer[tensor].ravel() for tensor in problem.layout.names])
    assert problem.evaluate(point, "validation")[0] == pytest.approx(0.351642, abs=1e-6)
    assert "0.351642" in (problems.catalogue()["ill-conditioned-logistic"].__doc__ or "")
    # About 10⁴, as stated.
    assert 3e3 < np.linalg.cond(curved[:50, :50]) < 3e4


def test_the_language_has_the_entropy_that_its_problem_states() -> None:
    words, chances = zipf_words()
    assert len(set(words)) == len(words) == len(chances)
    assert max(map(len, words)) + 1 == WINDOW
    assert f"{zipf_floor():.4f} nats" in (problems.catalogue()["zipf-language-model"].__doc__ or "").replace(
        "\n    ", " "
    )


def test_who_knows_every_word_predicts_the_text_at_its_floor_and_needs_no_longer_window() -> None:
    words, chances = zipf_words()
    after: dict[str, dict[str, float]] = {}
    for word, chance in zip(words, chances, strict=True):
        for position, letter in enumerate(word + " "):
            found = after.setdefault(word[:position], {})
            found[letter] = found.get(letter, 0.0) + float(chance)
    inputs, targets = made("zipf-language-model").dataset.part("validation")
    letters = " abcdefghijklmnopqrstuvwxyz"
    costs = []
    for window, target in zip(inputs.astype(int), targets, strict=True):
        begun = "".join(letters[k] for k in window).rpartition(" ")[2]
        costs.append(-np.log(after[begun][letters[target]] / sum(after[begun].values())))
    # 8,000 characters, whose costs deviate by 1.5 or so: the mean is known to 0.02.
    assert np.mean(costs) == pytest.approx(zipf_floor(), abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "floor"), [("ill-conditioned-logistic", 0.351642), ("zipf-language-model", 1.0329)])
def test_ten_thousand_steps_of_a_good_adam_leave_it_unsolved_and_still_falling(name: str, floor: float) -> None:
    stated = _STATED.search(" ".join((problems.catalogue()[name].__doc__ or "").split()))
    assert stated is not None
    rate, batch, halfway, end = (float(number) for number in stated.groups())
    seeds = [0, 1, 2]
    rules = [optimizers.create("adam", learning_rate=rate)] * len(seeds)
    runs = Cohort(problems.create(name), rules, seeds, batch_size=int(batch))
    found = []
    for steps in (5_000, 10_000):
        for _ in runs.run(steps):
            pass
        found.append([runs.evaluate(row, "validation")[0] for row in range(len(seeds))])
    # Seeds differ by about 0.01.
    assert found == [pytest.approx([halfway] * 3, abs=0.02), pytest.approx([end] * 3, abs=0.02)]
    assert (np.array(found[1]) < np.array(found[0]) - 0.008).all()
    assert min(found[1]) > floor + 0.008
