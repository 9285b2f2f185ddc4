"""Handwritten digits: classified by a perceptron and by a convolutional network, reconstructed by two autoencoders.

Data: Alpaydin & Kaynak 1998; 1,797 images of 8 × 8 in [0, 1], see bundled/README.md.
"""

from dataclasses import replace
from typing import Any

from talweg_core.data import Dataset
from talweg_core.problems import bundled
from talweg_core.problems.network_problem import NetworkProblem

Layers = list[dict[str, Any]]


def mlp() -> NetworkProblem:
    """64-64-10 units with relu and cross-entropy: 4,810 parameters."""
    layers: Layers = [{"layer": "dense", "units": 64}, {"layer": "relu"}, {"layer": "dense", "units": 10}]
    return NetworkProblem("digits-mlp", bundled.load("digits"), layers, "cross_entropy")


def cnn() -> NetworkProblem:
    """Convolutions to 16 and 32 channels, 3 × 3, then 64 and 10 units, with relu and cross-entropy: 38,282 parameters.

    The shape is LeCun et al. 1998's, "Gradient-based learning applied to document recognition", at this image's size.
    Reaches: accuracy 0.96 on the validation split at step 500 of AdamW at learning rate 0.003, batches of 32.
    """
    layers: Layers = [
        {"layer": "reshape", "shape": [1, 8, 8]},
        {"layer": "conv2d", "channels": 16},
        {"layer": "relu"},
        {"layer": "conv2d", "channels": 32},
        {"layer": "relu"},
        {"layer": "flatten"},
        {"layer": "dense", "units": 64},
        {"layer": "relu"},
        {"layer": "dense", "units": 10},
    ]
    return NetworkProblem("digits-cnn", bundled.load("digits"), layers, "cross_entropy")


def autoencoder() -> NetworkProblem:
    """64-32-8-32-64 units with tanh and binary cross-entropy for each pixel: 4,744 parameters.

    Source: Hinton & Salakhutdinov 2006, "Reducing the dimensionality of data with neural networks", at a smaller size.
    """
    layers: Layers = [
        {"layer": "dense", "units": 32},
        {"layer": "tanh"},
        {"layer": "dense", "units": 8},
        {"layer": "dense", "units": 32},
        {"layer": "tanh"},
        {"layer": "dense", "units": 64},
    ]
    return NetworkProblem("digits-autoencoder", _itself(), layers, "binary_cross_entropy")


def vae() -> NetworkProblem:
    """64-32-(4 + 4)-32-64 units with relu; the cost is the negative evidence bound for each pixel: 4,616 parameters.

    Binary cross-entropy is a mean over 64 pixels, so the divergence has the factor 1 / 64 as well.
    Source: Kingma & Welling 2014, "Auto-encoding variational Bayes", appendix C.
    """
    layers: Layers = [
        {"layer": "dense", "units": 32},
        {"layer": "relu"},
        {"layer": "dense", "units": 8},
        {"layer": "gaussian", "weight": 1 / 64},
        {"layer": "dense", "units": 32},
        {"layer": "relu"},
        {"layer": "dense", "units": 64},
    ]
    return NetworkProblem("digits-vae", _itself(), layers, "binary_cross_entropy")


def _itself() -> Dataset:
    digits = bundled.load("digits")
    return replace(digits, name="digits-itself", targets=digits.inputs)
