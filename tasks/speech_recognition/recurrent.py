"""A bidirectional GRU (Cho et al., 2014), its gradient written out.

Differentiated step by step, a loop adds to the gradient of its whole weights at every frame; here the loop back carries
the states' gradient alone, and the weights' is one product over all frames. What is computed frame by frame stays
small enough for a processor's cache, and the two ways are two loops, which run beside each other.
"""

from typing import Any

import keras

from pipelines.devices.scans import scan as looped
from tasks.speech_recognition.features import PACKAGE

_CLOSED = -1e4
"""What closes a gate: no infinity, and of bfloat16 too."""


@keras.saving.register_keras_serializable(PACKAGE)
class BidirectionalGRU(keras.layers.Layer):
    """[rows, frames, features] -> [rows, frames, 2 units]: what stands before each frame, and what behind it. Frames
    that do not count are 0, and change nothing.

    Args:
        units: of each way.
    """

    def __init__(self, units: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.units = units

    def build(self, x_shape: Any, counts_shape: Any = None) -> None:
        """Both ways' kernels, of the candidate, the reset gate and the update gate; the recurrent ones' order is reset
        gate, update gate, candidate. Of the recurrent bias only what the reset gate closes is of use."""
        del counts_shape
        self.kernel = self.add_weight((x_shape[-1], 6 * self.units), initializer="glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight(
            (2, self.units, 3 * self.units), initializer=_orthogonal(self.units), name="recurrent_kernel"
        )
        self.bias = self.add_weight((6 * self.units,), initializer="zeros", name="bias")
        self.recurrent_bias = self.add_weight((2, self.units), initializer="zeros", name="recurrent_bias")

    def call(self, x: Any, counts: Any, training: bool = False) -> Any:
        """counts: float [rows, frames, 1], 1 where a frame counts, else 0."""
        counts = keras.ops.cast(counts, x.dtype)
        gates = (self._gates_in_training if training else self._gates)(x * counts, counts)
        kernels, biases = self._cast(self.recurrent_kernel), self._cast(self.recurrent_bias)
        loop = scanned if training else states
        ways = [loop(gates[way], kernels[way], biases[way], backwards=way == 1) for way in (0, 1)]
        return keras.ops.transpose(keras.ops.concatenate(ways, axis=-1), (1, 0, 2))

    def _gates(self, x: Any, counts: Any) -> list[Any]:
        """Of each way [frames, rows, 3 units]. A frame that counts adds the bias, another one closes both gates."""
        x, counts = (keras.ops.transpose(one, (1, 0, 2)) for one in (x, counts))
        size = 3 * self.units
        kernel, bias, closed = self._cast(self.kernel), self._cast(self.bias), self._closed(x.dtype)
        parts = [slice(size * way, size * (way + 1)) for way in (0, 1)]
        return [
            keras.ops.matmul(x, kernel[:, part]) + keras.ops.where(counts > 0, bias[part], closed[0]) for part in parts
        ]

    def _gates_in_training(self, x: Any, counts: Any) -> list[Any]:
        """The same as one product of each way, which is faster, but whose weights no int8 could hold."""
        given = keras.ops.transpose(keras.ops.concatenate([x, counts, 1 - counts], axis=-1), (1, 0, 2))
        size, closed = 3 * self.units, keras.ops.tile(self._closed(x.dtype), (1, 2))
        weights = keras.ops.concatenate([self._cast(self.kernel), self._cast(self.bias)[None], closed], axis=0)
        return [keras.ops.matmul(given, weights[:, size * way : size * (way + 1)]) for way in (0, 1)]

    def _closed(self, dtype: Any) -> Any:
        """[1, 3 units]: what closes the gates of one way."""
        units = self.units
        closed = keras.ops.concatenate([keras.ops.zeros((1, units)), keras.ops.full((1, 2 * units), _CLOSED)], axis=1)
        return keras.ops.cast(closed, dtype)

    def compute_output_spec(self, x: Any, counts: Any, training: bool = False) -> Any:
        """Said, as not every backend can tell of so many open sides."""
        del counts
        return keras.KerasTensor((*x.shape[:-1], 2 * self.units), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """See keras.layers.Layer."""
        return {**super().get_config(), "units": self.units}

    def _cast(self, weight: Any) -> Any:
        return keras.ops.cast(keras.ops.convert_to_tensor(weight), self.compute_dtype)


def scanned(gates: Any, kernel: Any, bias: Any, backwards: bool = False) -> Any:
    """[frames, rows, units]: the state at each frame.

    With what is put in, n, r, z, and h the state at the frame before, or behind: r, z = sigmoid(r, z + h kernel),
    n = tanh(n + r (h kernel + bias)), and the state is n + z (h - n).

    Args:
        gates: [frames, rows, 3 units], of the candidate, the reset gate and the update gate.
        kernel: [units, 3 units], of the reset gate, the update gate and the candidate.
        bias: [units], of the candidate.
        backwards: from the last frame to the first.
    """
    units = kernel.shape[0]

    @keras.ops.custom_gradient
    def scan(gates: Any, kernel: Any, bias: Any) -> tuple[Any, Any]:
        def step(carried: Any, given: Any) -> Any:
            return keras.ops.concatenate(_cell(carried[:, :units], given, kernel, bias), axis=-1)

        nothing = keras.ops.zeros_like(gates[0, :, :units])
        every = looped(step, keras.ops.tile(nothing, (1, 5)), gates, reverse=backwards)
        states = every[..., :units]

        def slopes(*upstream: Any) -> tuple[Any, Any, Any]:
            if backwards:
                before = keras.ops.concatenate([states[1:], nothing[None]], axis=0)
            else:
                before = keras.ops.concatenate([nothing[None], states[:-1]], axis=0)
            turned = keras.ops.transpose(kernel)

            def back(carried: Any, frame: Any) -> tuple[Any, Any]:
                _, reset, update, candidate, inner = keras.ops.split(keras.ops.take(every, frame, axis=0), 5, axis=-1)
                slope = carried[1] + keras.ops.take(upstream[-1], frame, axis=0)
                of_candidate = slope * (1 - update) * (1 - candidate * candidate)
                of_update = slope * (keras.ops.take(before, frame, axis=0) - candidate) * update * (1 - update)
                of_inner = of_candidate * reset
                of_reset = of_inner * inner * (1 - reset)
                parts = keras.ops.concatenate([of_candidate, of_reset, of_update, of_inner], axis=-1)
                found = parts, slope * update + keras.ops.matmul(parts[:, units:], turned)
                return found, found

            frames = keras.ops.arange(keras.ops.shape(gates)[0], dtype="int32")
            start = (keras.ops.tile(nothing, (1, 4)), nothing)
            parts = keras.ops.scan(back, start, frames, reverse=not backwards)[1][0]
            of_recurrent = keras.ops.reshape(parts[..., units:], (-1, 3 * units))
            of_kernel = keras.ops.matmul(keras.ops.transpose(keras.ops.reshape(before, (-1, units))), of_recurrent)
            return parts[..., : 3 * units], of_kernel, keras.ops.sum(of_recurrent[:, 2 * units :], axis=0)

        return states, slopes

    return scan(gates, kernel, bias)


def states(gates: Any, kernel: Any, bias: Any, backwards: bool = False) -> Any:
    """The same as `scanned`, without what only its gradient needs."""

    def step(before: Any, given: Any) -> Any:
        return _cell(before, given, kernel, bias)[0]

    return looped(step, keras.ops.zeros_like(gates[0, :, : kernel.shape[0]]), gates, reverse=backwards)


def _cell(before: Any, given: Any, kernel: Any, bias: Any) -> tuple[Any, Any, Any, Any]:
    """The state behind one frame, [rows, units], and what it was made of: both gates, the candidate, and what the
    reset gate lets through of it."""
    units = kernel.shape[0]
    recurrent = keras.ops.matmul(before, kernel)
    both = keras.ops.sigmoid(given[:, units:] + recurrent[:, : 2 * units])
    inner = recurrent[:, 2 * units :] + bias
    candidate = keras.ops.tanh(given[:, :units] + both[:, :units] * inner)
    return candidate + both[:, units:] * (before - candidate), both, candidate, inner


def _orthogonal(units: int) -> Any:
    """Of each way and each gate a matrix of its own (Saxe et al., 2014)."""

    def made(shape: Any, dtype: Any = None) -> Any:
        start = keras.initializers.Orthogonal(seed=keras.random.SeedGenerator())
        ways = [[start((units, units), dtype) for _ in range(3)] for _ in range(shape[0])]
        return keras.ops.stack([keras.ops.concatenate(gates, axis=1) for gates in ways])

    return made
