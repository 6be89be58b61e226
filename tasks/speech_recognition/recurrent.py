"""A bidirectional GRU (Cho et al., 2014), both ways in one loop, its gradient written out.

Differentiated step by step, a loop adds to the gradient of its whole weights at every frame; here the loop back carries
the states' gradient alone, and the weights' is one product over all frames.
"""

from typing import Any

import keras

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
        """Both ways' kernels; of the recurrent bias only what the reset gate closes is of use."""
        del counts_shape
        self.kernel = self.add_weight((x_shape[-1], 6 * self.units), initializer="glorot_uniform", name="kernel")
        self.recurrent_kernel = self.add_weight(
            (2, self.units, 3 * self.units), initializer=_orthogonal(self.units), name="recurrent_kernel"
        )
        self.bias = self.add_weight((6 * self.units,), initializer="zeros", name="bias")
        self.recurrent_bias = self.add_weight((2, 1, self.units), initializer="zeros", name="recurrent_bias")

    def call(self, x: Any, counts: Any) -> Any:
        """counts: float [rows, frames, 1], 1 where a frame counts, else 0."""
        units, frames = self.units, keras.ops.shape(x)[1]
        gates = keras.ops.matmul(x, self._cast(self.kernel)) + self._cast(self.bias)
        closed = keras.ops.concatenate([keras.ops.full((2 * units,), _CLOSED), keras.ops.zeros((units,))])
        closed = keras.ops.tile(keras.ops.cast(closed, gates.dtype), 2)
        gates = keras.ops.where(counts > 0, gates, closed)
        gates = keras.ops.reshape(gates, (-1, frames, 2, 3 * units))
        gates = keras.ops.transpose(gates, (1, 2, 0, 3))
        gates = keras.ops.stack([gates[:, 0], keras.ops.flip(gates[:, 1], axis=0)], axis=1)
        states = scanned(gates, self._cast(self.recurrent_kernel), self._cast(self.recurrent_bias))
        both = keras.ops.concatenate([states[:, 0], keras.ops.flip(states[:, 1], axis=0)], axis=-1)
        return keras.ops.transpose(both, (1, 0, 2))

    def compute_output_spec(self, x: Any, counts: Any) -> Any:
        """Said, as not every backend can tell of so many open sides."""
        del counts
        return keras.KerasTensor((*x.shape[:-1], 2 * self.units), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """See keras.layers.Layer."""
        return {**super().get_config(), "units": self.units}

    def _cast(self, weight: Any) -> Any:
        return keras.ops.cast(keras.ops.convert_to_tensor(weight), self.compute_dtype)


def scanned(gates: Any, kernel: Any, bias: Any) -> Any:
    """[frames, ways, rows, units]: the states after each frame.

    With the gates' products r, z, n of what is put in, and h before: r, z = sigmoid(r, z + h kernel), n = tanh(n +
    r (h kernel + bias)), and the state is n + z (h - n).

    Args:
        gates: [frames, ways, rows, 3 units], of the reset gate, the update gate, and the candidate.
        kernel: [ways, units, 3 units].
        bias: [ways, 1, units], of the candidate.
    """
    units = kernel.shape[1]

    @keras.ops.custom_gradient
    def scan(gates: Any, kernel: Any, bias: Any) -> tuple[Any, Any]:
        first = keras.ops.zeros_like(gates[0, ..., :units])

        def step(before: Any, given: Any) -> tuple[Any, Any]:
            reset, update, candidate, _ = _parts(given, keras.ops.matmul(before, kernel), bias)
            del reset
            after = candidate + update * (before - candidate)
            return after, after

        states = keras.ops.scan(step, first, gates)[1]

        def slopes(*upstream: Any) -> tuple[Any, Any, Any]:
            before = keras.ops.concatenate([first[None], states[:-1]], axis=0)
            reset, update, candidate, inner = _parts(gates, keras.ops.matmul(before, kernel), bias)
            of_candidate = (1 - update) * (1 - candidate * candidate)
            of_update = (before - candidate) * update * (1 - update)
            of_reset = of_candidate * inner * reset * (1 - reset)
            through = keras.ops.concatenate([of_reset, of_update, of_candidate * reset], axis=-1)
            each = keras.ops.concatenate([through, update, upstream[-1]], axis=-1)
            turned = keras.ops.transpose(kernel, (0, 2, 1))

            def back(carried: Any, given: Any) -> tuple[Any, Any]:
                slope = given[..., 4 * units :] + carried
                whole = keras.ops.concatenate([slope, slope, slope], axis=-1) * given[..., : 3 * units]
                return slope * given[..., 3 * units : 4 * units] + keras.ops.matmul(whole, turned), slope

            slope = keras.ops.scan(back, keras.ops.zeros_like(first), each, reverse=True)[1]
            of_recurrent = keras.ops.concatenate([slope, slope, slope], axis=-1) * through
            of_gates = keras.ops.concatenate([of_recurrent[..., : 2 * units], slope * of_candidate], axis=-1)
            of_bias = keras.ops.sum(of_recurrent[..., 2 * units :], axis=(0, 2))[:, None]
            return of_gates, keras.ops.einsum("twri,twrj->wij", before, of_recurrent), of_bias

        return states, slopes

    return scan(gates, kernel, bias)


def _parts(given: Any, recurrent: Any, bias: Any) -> tuple[Any, Any, Any, Any]:
    """The reset gate, the update gate, the candidate, and what of it the reset gate lets through."""
    units = bias.shape[-1]
    both = keras.ops.sigmoid(given[..., : 2 * units] + recurrent[..., : 2 * units])
    reset, update = both[..., :units], both[..., units:]
    inner = recurrent[..., 2 * units :] + bias
    return reset, update, keras.ops.tanh(given[..., 2 * units :] + reset * inner), inner


def _orthogonal(units: int) -> Any:
    """Of each way and each gate a matrix of its own (Saxe et al., 2014)."""

    def made(shape: Any, dtype: Any = None) -> Any:
        start = keras.initializers.Orthogonal(seed=keras.random.SeedGenerator())
        ways = [[start((units, units), dtype) for _ in range(3)] for _ in range(shape[0])]
        return keras.ops.stack([keras.ops.concatenate(gates, axis=1) for gates in ways])

    return made
