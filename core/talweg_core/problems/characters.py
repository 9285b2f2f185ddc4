"""Predict the next character of a short text, by a recurrent network and by a small transformer.

Data: bundled/talweg.txt, written for this project. The input is 32 characters; for each of them the target is the next
character. The text is split into train, validation and test before windows are cut, so that no window spans two splits.
"""

from typing import Any

from talweg_core.problems import bundled
from talweg_core.problems.network_problem import NetworkProblem

Layers = list[dict[str, Any]]


def recurrent() -> NetworkProblem:
    """An embedding of 16, an LSTM of 64 units and cross-entropy: 23,166 parameters.

    Source: Graves 2013, "Generating sequences with recurrent neural networks", at a smaller size.
    """
    data = bundled.load("characters")
    layers: Layers = [
        {"layer": "embedding", "vocabulary": data.classes, "units": 16, "initial": "lecun"},
        {"layer": "lstm", "units": 64},
        {"layer": "dense", "units": data.classes},
    ]
    return NetworkProblem("characters-recurrent", data, layers, "cross_entropy")


def transformer() -> NetworkProblem:
    """Two blocks of attention with 4 heads and of 4 × 32 gelu units, over 32 numbers a character: 28,190 parameters.

    Source: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3, at a smaller size.
    Reaches: cost 2.1 on the validation split at step 300 of AdamW at learning rate 0.003, batches of 32; the text is
    short, so that it overfits after that step.
    """
    data = bundled.load("characters")
    attention: Layers = [{"layer": "layer_norm"}, {"layer": "self_attention", "heads": 4}]
    perceptron: Layers = [
        {"layer": "layer_norm"},
        {"layer": "dense", "units": 128},
        {"layer": "gelu_tanh"},
        {"layer": "dense", "units": 32},
    ]
    block: Layers = [{"layer": "residual", "layers": attention}, {"layer": "residual", "layers": perceptron}]
    layers: Layers = [
        {"layer": "embedding", "vocabulary": data.classes, "units": 32, "positions": True},
        *block,
        *block,
        {"layer": "layer_norm"},
        {"layer": "dense", "units": data.classes},
    ]
    return NetworkProblem("characters-transformer", data, layers, "cross_entropy")
