"""Two problems on generated data that 10,000 steps do not solve: a logistic regression and a language model.

Both have a known floor, so that it can be said how far from solved a run is.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talweg_core.data import Dataset
from talweg_core.initial import orthogonal
from talweg_core.problems.network_problem import NetworkProblem
from talweg_core.randomness import stream

Layers = list[dict[str, Any]]

# The logistic regression's.
EXAMPLES, FEATURES, SCALES = 1000, 50, (1.0, 1e-2)
# The language's: words, letters, the shortest and the longest word, characters given. The longest word and the space
# before it fill a window, so that a longer one would not help.
WORDS, LETTERS, LENGTHS, WINDOW = 500, 26, (1, 7), 8
TRAINING, EVALUATION = 60_000, 8_000


def ill_conditioned_logistic() -> NetworkProblem:
    """Logistic regression, by softmax over 2 classes, on 50 features of very unequal scale: 102 parameters, convex.

    1,000 examples with normal features, whose deviations along 50 random axes are evenly apart in logarithm from 1 to
    0.01, so that the Hessian's condition number is about 10⁴. The label is 1 with chance σ(wᵀx), where each axis moves
    wᵀx as much as any other and all together by a deviation of 3. No axis is a coordinate.

    All three splits are the whole data: what is judged is the cost that is minimised. Its minimum, found by Newton's
    method, is 0.351642. Adam at learning rate 0.03, batches of 128, is at 0.377 after 5,000 steps and at 0.364 after
    10,000.

    Source: the model is Cox 1958, "The regression analysis of binary sequences".
    """
    layers: Layers = [{"layer": "dense", "units": 2}]
    return NetworkProblem("ill-conditioned-logistic", _logistic_data(), layers, "cross_entropy", batch_size=128)


@cache
def _logistic_data() -> Dataset:
    generator = stream(0, "data", 5)
    axes = orthogonal(generator, (FEATURES, FEATURES), FEATURES, FEATURES)
    along = generator.normal(size=(EXAMPLES, FEATURES))
    signs = generator.choice([-1.0, 1.0], FEATURES)
    logits = along @ (signs * 3 / np.sqrt(FEATURES))
    labels = (generator.uniform(size=EXAMPLES) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    inputs = (along * np.geomspace(*SCALES, FEATURES)) @ axes
    every = np.arange(EXAMPLES)
    return Dataset("ill-conditioned-logistic", inputs, labels, {"train": every, "validation": every, "test": every})


def zipf_language_model() -> NetworkProblem:
    """Predict the character after 8: an embedding of 12, 64 relu units and cross-entropy: 8,287 parameters.

    The text is made of 500 words of 1 to 7 letters, drawn once; the k-th of them comes with chance ∝ 1 / k, whatever
    stood before, and a space follows. Frequent words are learned soon, each rarer one later, as in natural language, so
    that the cost goes on falling. Training has 60,000 characters, each evaluation 8,000 others.

    No model can be expected to reach less than the entropy of a word over its mean length with the space: 1.0329 nats
    a character. Adam at learning rate 0.003, batches of 64, is at 1.46 after 5,000 steps and at 1.34 after 10,000.

    Sources: Bengio, Ducharme, Vincent & Jauvin 2003, "A neural probabilistic language model" (the network); Zipf 1935,
    "The psycho-biology of language" (the frequencies); Shannon 1951, "Prediction and entropy of printed English" (the
    floor).
    """
    data = _zipf_data()
    layers: Layers = [
        {"layer": "embedding", "vocabulary": data.classes, "units": 12, "initial": "lecun"},
        {"layer": "flatten"},
        {"layer": "dense", "units": 64},
        {"layer": "relu"},
        {"layer": "dense", "units": data.classes},
    ]
    return NetworkProblem("zipf-language-model", data, layers, "cross_entropy", batch_size=64)


def zipf_words() -> tuple[list[str], NDArray[np.float64]]:
    """The language's words, all different, the most frequent first, and the chance of each."""
    generator = stream(0, "data", 6)
    found: list[str] = []
    while len(found) < WORDS:
        length = int(generator.integers(LENGTHS[0], LENGTHS[1], endpoint=True))
        word = "".join(chr(ord("a") + int(letter)) for letter in generator.integers(0, LETTERS, length))
        if word not in found:
            found.append(word)
    chances = 1 / np.arange(1, WORDS + 1)
    return found, chances / chances.sum()


def zipf_floor() -> float:
    """The least expected cost, in nats a character: the entropy of a word over its mean length with the space."""
    words, chances = zipf_words()
    length = float(chances @ np.array([len(word) + 1 for word in words]))
    return float(-chances @ np.log(chances)) / length


@cache
def _zipf_data() -> Dataset:
    words, chances = zipf_words()
    generator = stream(1, "data", 6)
    inputs, targets, parts, begin = [], [], {}, 0
    for part, size in (("train", TRAINING), ("validation", EVALUATION), ("test", EVALUATION)):
        # A space, which is 0, stands before the first word, and the text is cut where it is long enough.
        drawn = generator.choice(WORDS, size, p=chances)
        text = (" " * WINDOW + "".join(words[k] + " " for k in drawn))[: size + WINDOW]
        numbers = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)
        numbers = np.where(numbers == ord(" "), 0, numbers - ord("a") + 1)
        inputs.append(np.lib.stride_tricks.sliding_window_view(numbers, WINDOW)[:-1])
        targets.append(numbers[WINDOW:])
        parts[part] = np.arange(begin, begin + size)
        begin += size
    return Dataset("zipf", np.concatenate(inputs).astype(np.float64), np.concatenate(targets), parts)
