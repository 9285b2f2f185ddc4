"""What comes next? The next character of a short text, by a recurrent network and by a small transformer.

Data: bundled/talweg.txt, written for this project. 32 characters are given, and each of the 32 that follow them by
one is to be foretold. The text is cut in three, train, validation and test, so that no window spans two of them.
"""

from typing import Any

from talweg_core.problems import bundled
from talweg_core.problems.network_problem import NetworkProblem

Layers = list[dict[str, Any]]


def recurrent() -> NetworkProblem:
    """An embedding of 16, an LSTM of 64 units and cross-entropy: 23,166 parameters.

    Source: Graves 2013, "Generating sequences with recurrent neural networks", in small.
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

    Source: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3, in small.
    Reaches: cost 2.1 on the validation split at step 300 of AdamW at learning rate 0.003, batches of 32; the text is
    short, so that it overfits from there on.
    """
    data = bundled.load("characters")
    attention: Layers = [{"layer": "layer_norm"}, {"layer": "self_attention", "heads": 4}]
    thought: Layers = [
        {"layer": "layer_norm"},
        {"layer": "dense", "units": 128},
        {"layer": "gelu_tanh"},
        {"layer": "dense", "units": 32},
    ]
    block: Layers = [{"layer": "residual", "layers": attention}, {"layer": "residual", "layers": thought}]
    layers: Layers = [
        {"layer": "embedding", "vocabulary": data.classes, "units": 32, "positions": True},
        *block,
        *block,
        {"layer": "layer_norm"},
        {"layer": "dense", "units": data.classes},
    ]
    return NetworkProblem("characters-transformer", data, layers, "cross_entropy")
