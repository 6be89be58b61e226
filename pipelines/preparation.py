"""What is chosen before the first step: the optimizer, whether to compile with XLA, how many steps a call takes."""

import math

import keras
import numpy as np

from pipelines.config import RunConfig
from pipelines.devices.steps import is_kernel
from pipelines.stream import Stream

_OPERATIONS_PER_EXECUTION = 4e9
"""Enough for Python's share to vanish, few enough (a fraction of a second on two cores) for signals to be seen."""
_BYTES_PER_EXECUTION = 32 << 20
_FUSED_FROM = 1_000_000
"""Weights that are trained."""


def make_optimizer(config: RunConfig, model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer, built for the model's trainable variables; weight decay leaves biases and norms alone."""
    rate, decay = config.learning_rate, {"weight_decay": config.weight_decay or None}
    optimizer = {
        "sgd": lambda: keras.optimizers.SGD(rate, momentum=config.momentum, nesterov=config.momentum > 0, **decay),
        "adam": lambda: keras.optimizers.Adam(rate, **decay),
        "adamw": lambda: keras.optimizers.AdamW(rate, weight_decay=config.weight_decay),
        "rmsprop": lambda: keras.optimizers.RMSprop(rate, momentum=config.momentum, **decay),
        "lion": lambda: keras.optimizers.Lion(rate, **decay),
    }[config.optimizer]()
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if not is_kernel(v)])
    optimizer.build(model.trainable_variables)
    return optimizer


def choose_jit(config: RunConfig, model: keras.Model, device: str, shapes: int = 1, gains: bool = True) -> bool:
    """Whether to compile with XLA, where nobody has said or measured it: on CPUs it slows convolutions and recurrent
    layers down, what is computed in fewer bits, and models that say so (`gains`), and speeds the others up; batches of
    several shapes cost a compilation each, which takes longer than it saves."""
    if device == "tpu":
        return False  # whatever runs there is compiled with XLA already
    if config.jit in ("on", "off"):
        return config.jit == "on"
    if device == "cpu" and (not gains or shapes > 1 or config.precision != "float32"):
        return False
    slow = (
        keras.layers.Conv1D,
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv2D,
        keras.layers.RNN,
    )
    return device != "cpu" or not any(isinstance(layer, slow) for layer in _layers(model))


def choose_fused(config: RunConfig, model: keras.Model, device: str) -> bool:
    """Whether to compile the update of the weights alone: on a CPU, where a step is not compiled, and a model so large
    that its update is bound by memory. Of 22 million weights AdamW and an average took 29 ms in place of 113 (2
    cores)."""
    large = sum(int(np.prod(v.shape)) for v in model.trainable_variables) >= _FUSED_FROM
    return config.backend == "tensorflow" and config.jit != "on" and device == "cpu" and large


def choose_steps(model: keras.Model, stream: Stream, batch_size: int) -> int:
    """Steps of one call, from the cost of a step alone, so that the choice is the same every time; one where batches
    have several shapes, as each number of steps of each shape would be traced."""
    if stream.order.shapes > 1:
        return 1
    batch = keras.tree.flatten(next(stream.iterate(0, 1, 1)))
    size: int = sum(int(np.prod(tensor.shape)) * tensor.dtype.size for tensor in batch)
    operations = 6 * batch_size * sum(_multiplications(layer) for layer in _layers(model))
    count = min(_OPERATIONS_PER_EXECUTION / max(operations, 1), _BYTES_PER_EXECUTION / max(size, 1), 500)
    return max(1, min(int(count), stream.steps_per_epoch))


def _multiplications(layer: keras.layers.Layer) -> int:
    """Of one example, about: the kernels' size times the positions that they are applied at."""
    kernels: int = sum(math.prod(v.shape) for v in layer.weights if is_kernel(v))
    try:
        shape: tuple[int | None, ...] = layer.output.shape
    except AttributeError:
        return kernels
    return kernels * math.prod(side or 1 for side in shape[1:-1])


def _layers(model: keras.Model) -> list[keras.layers.Layer]:
    return [
        layer
        for layer in model._flatten_layers(include_self=False)
        if not list(layer._flatten_layers(include_self=False))
    ]
