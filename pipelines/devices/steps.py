"""What a training step computes, whatever the backend: keras and keras.ops only."""

from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np

from pipelines.devices.settings import StepSettings
from pipelines.errors import StateError

if TYPE_CHECKING:
    from pipelines.task import Built


class Steps(Protocol):
    """The compiled steps of a model, with everything that they change."""

    def train(self, block: Any, rates: np.ndarray) -> np.ndarray:
        """Run the steps of a block, one learning rate [steps] each; the weighted sums of [loss, 1, metrics...] over
        them, [2 + metrics].

        Raises:
            OutOfMemory: a batch does not fit.
        """

    def evaluate(self, block: Any) -> np.ndarray:
        """The same sums over batches that change nothing; raises the same."""

    def weights(self, *, averaged: bool = True) -> dict[str, np.ndarray]:
        """Copies of the variables that are kept: the averaged ones where there is an average and it is not declined."""

    def release(self) -> None:
        """Leave everything in the model's variables, for whoever comes next."""

    def state(self) -> dict[str, np.ndarray]:
        """Copies of all that a step changes: variables of the model (seeds included), the optimizer, the averages."""

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Put such copies back.

        Raises:
            StateError: they are of another model or optimizer.
        """

    def averaged(self) -> Any:
        """A context in which the model holds its averaged weights."""


def weighted_sums(built: "Built", y: Any, outputs: Any, weight: Any) -> Any:
    """[loss, 1, metrics...], each summed over the rows by their weights: float32 [2 + metrics]."""
    values = [built.loss(y, outputs), 1.0, *(metric.function(y, outputs) for metric in built.metrics.values())]
    return keras.ops.stack([keras.ops.sum(keras.ops.cast(value, "float32") * weight) for value in values])


def penalty(kernels: list[Any], settings: StepSettings) -> Any:
    """L1 and L2 over the kernels."""
    total = keras.ops.zeros(())
    for kernel in kernels if settings.l1 or settings.l2 else []:
        value = keras.ops.cast(kernel, "float32")
        total += settings.l1 * keras.ops.sum(keras.ops.abs(value)) + settings.l2 * keras.ops.sum(
            keras.ops.square(value)
        )
    return total


def clip(gradients: list[Any], largest: float | None) -> list[Any]:
    """Scale the gradients so that their global norm is at most `largest` (Pascanu et al., 2013)."""
    if largest is None:
        return gradients
    norm = keras.ops.sqrt(
        sum(keras.ops.sum(keras.ops.square(keras.ops.cast(g, "float32"))) for g in gradients if g is not None)
    )
    scale = largest / keras.ops.maximum(norm, largest)
    return [g if g is None else g * keras.ops.cast(scale, g.dtype) for g in gradients]


def average_decay(decay: float, iterations: Any) -> Any:
    """The decay at a step: it grows from 0.1 towards `decay`, so that the first weights are soon forgotten."""
    count = keras.ops.cast(iterations, "float32")
    return keras.ops.minimum(decay, (1.0 + count) / (10.0 + count))


def is_kernel(variable: Any) -> bool:
    """Whether penalties and weight decay apply: a matrix or more, and not the vectors of biases and norms."""
    return len(variable.shape) > 1


def averaged_variables(model: keras.Model) -> list[Any]:
    """What an average follows: weights and the statistics of norms, not seeds and counters."""
    return [v for v in [*model.trainable_variables, *model.non_trainable_variables] if "float" in v.dtype]


def check_state(state: dict[str, np.ndarray], mine: dict[str, Any]) -> None:
    """Compare names and shapes of saved variables with those that they are to be put into."""
    strange = sorted(state.keys() ^ mine.keys())
    strange += [
        name for name in sorted(state.keys() & mine.keys()) if tuple(state[name].shape) != tuple(mine[name].shape)
    ]
    if strange:
        raise StateError(
            f"the saved state is of another model or another version of Keras ({strange[0]} differs, one of "
            f"{len(strange)}): start again with sixfold run --overwrite."
        )


def state_name(group: str, place: int) -> str:
    """'optimizer/0003'. Own names are left out: Keras numbers layers on within a process."""
    return f"{group}/{place:04d}"


def kept_model(built: "Built") -> Any:
    """The model whose weights are kept."""
    return built.whole or built.model


def copies(model: keras.Model) -> dict[str, np.ndarray]:
    """Of all its variables, by name."""
    return {name: np.asarray(keras.ops.convert_to_numpy(one)) for name, one in named(model.variables).items()}


def named(variables: list[Any]) -> dict[str, Any]:
    """Variables by a name that is unique and stable: place and own name. Paths are not: Keras numbers layers on."""
    return {f"{place:04d}/{variable.name}": variable for place, variable in enumerate(variables)}
