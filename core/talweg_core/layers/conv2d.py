"""Convolution over height and width, fused with the activation that follows it.

It is a matrix product over patches (im2col): for each output position, the numbers under the kernel as one row.
Source: Chellapilla, Puri & Simard 2006, "High performance convolutional neural networks for document processing".

Inputs and outputs are channels first, (C, H, W). Patches are channels last, so that a row of a patch is kernel × C
adjacent numbers in memory: copying them takes most of the time of im2col. The passes for bias and activation read one
order and write the other, so that the change of order takes no extra pass.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from talweg_core.activations import activation as named_activation
from talweg_core.compilation import kernel, specialise
from talweg_core.initial import Initial, weight_initial
from talweg_core.layers.activation import ActivationLayer, derivative, value
from talweg_core.layers.base import BoundLayer, Layer, Shape, Space


@dataclass(frozen=True)
class Conv2d(Layer):
    """y[o, h, w] = f(b[o] + Σ_{i, j, c} W[i, j, c, o] x[c, s h + i − p, s w + j − p]), stride s, padding p of zeros.

    With X the patches (positions, k k C), W as a matrix (k k C, channels), z = X W + b and δ = ∂C/∂y ⊙ f′(z):
    ∂C/∂W = Xᵀ δ, ∂C/∂b = Σ δ over positions; δ Wᵀ is the derivative by the patches, and ∂C/∂x sums it over every
    patch that contains x. The weight's order is (k, k, in, out), as dense's is (in, out).
    """

    channels: int
    size: int = 3
    stride: int = 1
    padding: int = 0
    bias: bool = True
    initial: str = "auto"
    activation: str = "identity"
    kind: ClassVar[str] = "conv2d"

    def __post_init__(self) -> None:
        """Check the settings that do not depend on the input shape."""
        self.require("channels", self.channels, 1)
        self.require("size", self.size, 1)
        self.require("stride", self.stride, 1)
        self.require("padding", self.padding, 0, self.size - 1)
        named_activation(self.activation)

    def output(self, shape: Shape) -> Shape:
        """(C, H, W) becomes (channels, ⌊(H + 2p − k) / s⌋ + 1, likewise W)."""
        if len(shape) != 3:
            raise self.needs("(channels, height, width)", shape)
        if min(shape[1:]) + 2 * self.padding < self.size:
            raise self.needs(f"at least {self.size - 2 * self.padding} high and wide for size {self.size}", shape)
        positions = [(n + 2 * self.padding - self.size) // self.stride + 1 for n in shape[1:]]
        return (self.channels, *positions)

    def tensors(self, shape: Shape) -> dict[str, Initial]:
        """weight (size, size, in, channels) and bias (channels)."""
        area = self.size * self.size
        fans = area * shape[0], area * self.channels
        initial = weight_initial(self.initial, self.activation)
        weight = Initial((self.size, self.size, shape[0], self.channels), initial, *fans)
        return {"weight": weight} | ({"bias": Initial((self.channels,))} if self.bias else {})

    def absorb(self, following: Layer) -> Layer | None:
        """Fuse with an activation that follows."""
        if isinstance(following, ActivationLayer) and self.activation == "identity":
            return replace(self, activation=following.activation)
        return None

    def bind(self, space: Space) -> BoundLayer:
        """Bind to buffers."""
        return _BoundConv2d(self, space)


class _BoundConv2d(BoundLayer):
    def __init__(self, layer: Conv2d, space: Space) -> None:
        runs, batch, rows = space.runs, space.batch, len(space.inputs)
        (c, h, w), (o, high, wide) = space.shape, layer.output(space.shape)
        k, p = layer.size, layer.padding
        self._geometry = (high, wide, k, layer.stride, c)
        self._padding, self._width, self._rows = p, w, range(rows)
        self.outputs = space.empty((o, high, wide))
        self._y = self.outputs.reshape(runs, batch, o, high * wide)
        self._x = space.inputs.reshape(rows, batch, c, h * w)
        # With one channel and no padding, the input already has the padded layout.
        padded = (rows, batch, h + 2 * p, (w + 2 * p) * c)
        self._reorders = c > 1 or p > 0
        self._padded = space.zeros(*padded) if self._reorders else space.inputs.reshape(padded)
        self._patches = space.array(rows, batch * high * wide, k * k * c)
        self._z = space.array(runs, batch * high * wide, o)
        weight = space.slots["weight"]
        self._weight = weight.value.reshape(runs, k * k * c, o)
        self._bias = space.slots["bias"].offset if layer.bias else -1
        self._parameters, self._gradient = space.parameters, space.gradient
        activation = named_activation(layer.activation)
        self._constants = space.number(*activation.constants)
        self._value = specialise(_bias_value_order, value=activation.value)
        self._slope = specialise(_slope_bias_order, derivative=activation.derivative)
        if space.training:
            self.output_derivative = space.empty((o, high, wide))
            self._dy = self.output_derivative.reshape(self._y.shape)
            self._dz = space.array(*self._z.shape)
            self._weight_gradient = weight.gradient.reshape(runs, k * k * c, o)
            self._patches_t = self._patches.swapaxes(1, 2)
            self._weight_t = self._weight.swapaxes(1, 2)
        self._dx = None
        if space.input_derivative is not None:
            self._dx = space.input_derivative.reshape(runs, batch, c, h * w)
            # Run by run in buffers of one run: they stay in the CPU's cache, and memory does not grow with R.
            self._patches_derivative = space.array(*self._patches.shape[1:])
            self._padded_derivative = space.array(*padded[1:])

    def forward(self, step: int) -> None:
        for r in self._rows:
            if self._reorders:
                _channels_last(self._x[r], self._padded[r], self._padding, self._width)
            _patches_of(self._padded[r], self._patches[r], *self._geometry)
        np.matmul(self._patches, self._weight, out=self._z)
        self._value(self._z, self._y, self._parameters, self._bias, self._constants)

    def backward(self) -> None:
        self._slope(self._z, self._y, self._dy, self._dz, self._gradient, self._bias, self._constants)
        np.matmul(self._patches_t, self._dz, out=self._weight_gradient)
        if self._dx is not None:
            for r, dx in enumerate(self._dx):
                np.matmul(self._dz[r], self._weight_t[r], out=self._patches_derivative)
                _add_patches(self._patches_derivative, self._padded_derivative, *self._geometry)
                _channels_first(self._padded_derivative, dx, self._padding, self._width)


@kernel
def _channels_last(x: Any, padded: Any, padding: int, width: int) -> None:
    """Copy (B, C, H W) into the middle of (B, H + 2p, (W + 2p) C)."""
    batch, channels, positions = x.shape
    for b in range(batch):
        for n in range(positions):
            row = padded[b, n // width + padding]
            start = (n % width + padding) * channels
            for c in range(channels):
                row[start + c] = x[b, c, n]


@kernel
def _channels_first(padded: Any, x: Any, padding: int, width: int) -> None:
    """Copy the middle of (B, H + 2p, (W + 2p) C) into (B, C, H W)."""
    batch, channels, positions = x.shape
    for b in range(batch):
        for n in range(positions):
            row = padded[b, n // width + padding]
            start = (n % width + padding) * channels
            for c in range(channels):
                x[b, c, n] = row[start + c]


@kernel
def _patches_of(x: Any, patches: Any, high: int, wide: int, size: int, stride: int, channels: int) -> None:
    """Write each position's patch of x (B, H, W C) as a row of patches (B positions, k k C)."""
    length = size * channels
    for b in range(len(x)):
        for h in range(high):
            for i in range(size):
                row = x[b, h * stride + i]
                for w in range(wide):
                    start = w * stride * channels
                    out = patches[(b * high + h) * wide + w, i * length : (i + 1) * length]
                    for m in range(length):
                        out[m] = row[start + m]


@kernel
def _add_patches(patches: Any, x: Any, high: int, wide: int, size: int, stride: int, channels: int) -> None:
    """Write to x (B, H, W C) the sum of all patches (B positions, k k C), each at its position."""
    length = size * channels
    x[:] = 0
    for b in range(len(x)):
        for h in range(high):
            for i in range(size):
                row = x[b, h * stride + i]
                for w in range(wide):
                    out = row[w * stride * channels : w * stride * channels + length]
                    patch = patches[(b * high + h) * wide + w, i * length : (i + 1) * length]
                    for m in range(length):
                        out[m] += patch[m]


def _bias_value_order(z: Any, y: Any, parameters: Any, bias: int, constants: Any) -> None:
    """Write y (R, B, O, positions) = f(z + b) from z (R, B positions, O); in place, z becomes z + b."""
    runs, batch, channels, positions = y.shape
    for r in range(runs):
        for b in range(batch):
            if bias >= 0:
                added = parameters[r][bias : bias + channels]
                for n in range(positions):
                    row = z[r, b * positions + n]
                    for o in range(channels):
                        row[o] += added[o]
            for o in range(channels):
                out = y[r, b, o]
                for n in range(positions):
                    out[n] = value(z[r, b * positions + n, o], *constants)


def _slope_bias_order(z: Any, y: Any, dy: Any, dz: Any, gradient: Any, bias: int, constants: Any) -> None:
    """Write dz (R, B positions, O) = dy f′(z) from dy (R, B, O, positions); its sum is the bias gradient."""
    runs, batch, channels, positions = y.shape
    for r in range(runs):
        for b in range(batch):
            for o in range(channels):
                d, out = dy[r, b, o], y[r, b, o]
                for n in range(positions):
                    m = b * positions + n
                    dz[r, m, o] = d[n] * derivative(z[r, m, o], out[n], *constants)
        if bias >= 0:
            total = gradient[r][bias : bias + channels]
            total[:] = 0
            for m in range(batch * positions):
                row = dz[r, m]
                for o in range(channels):
                    total[o] += row[o]
