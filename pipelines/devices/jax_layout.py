"""Where a training's arrays lie on the devices of the JAX backend: batches by rows, everything else on each of them,
but for tables of embeddings that are split by rows, and kernels that are split for model parallelism."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from pipelines.devices.jax_parallel import kernels
from pipelines.devices.settings import StepSettings
from pipelines.errors import ConfigError
from pipelines.workers import ALONE, Workers

BATCH, MODEL = "batch", "model"
"""The mesh's axes: what shares the rows of a batch, and what shares the kernels of a model."""
Spec = tuple[str | tuple[str, ...] | None, ...]
"""By which axes of the mesh each side of an array is split."""
ROWS: Spec = ((BATCH, MODEL),)
"""Of a table: over all devices."""


class Layout:
    """Places arrays, and takes them back whole.

    What has the shape of a split array is split with it: its gradient, the optimizer's slots and the average. Splits
    are equal: a table whose rows the devices cannot share equally lies there with rows of zeros behind its own, which
    no step sees.

    Args:
        split: shapes of the arrays that are split, and how.
        model_parallel: devices that share the kernels of a model, neighbours of one process.
        workers: those that train together. Each has the state, its rows of every batch, and calls every method in the
            same order.
    """

    def __init__(
        self, split: Mapping[tuple[int, ...], Spec], model_parallel: int = 1, workers: Workers = ALONE
    ) -> None:
        devices = jax.devices() if workers.count > 1 else jax.local_devices()
        devices = sorted(devices, key=lambda device: (device.process_index, device.id))
        mesh = np.array(devices).reshape(-1, model_parallel)
        self._mesh, self._count, self._workers = jax.sharding.Mesh(mesh, (BATCH, MODEL)), len(devices), workers
        self._split = split if self._count > 1 else {}
        self.whole = self._over()
        """Of what every device has."""

    def sharding(self, like: Any) -> NamedSharding:
        """Of an array of this shape."""
        return self._over(*self._split.get(tuple(like.shape), ()))

    def put(self, value: Any) -> jax.Array:
        """A copy on the devices."""
        # By way of the host: no device need hold a whole table.
        rows = self._lacking(value)
        whole = np.pad(np.asarray(value), [(0, rows), *[(0, 0)] * (value.ndim - 1)]) if rows else np.asarray(value)
        sharding = self.sharding(value)
        if self._workers.count == 1:
            placed: jax.Array = jax.device_put(whole, sharding, may_alias=False)
            return placed
        parts = sharding.addressable_devices_indices_map(whole.shape).items()
        mine = [jax.device_put(whole[part], device, may_alias=False) for device, part in parts]
        return jax.make_array_from_single_device_arrays(whole.shape, sharding, mine)

    def take(self, value: jax.Array, like: Any) -> np.ndarray:
        """The whole array, of the shape of `like`, as a copy on the host."""
        here = value.is_fully_addressable or value.is_fully_replicated
        whole = np.array(value) if here else self._gathered(value)
        return whole[: like.shape[0]] if self._lacking(like) else whole

    def _gathered(self, value: jax.Array) -> np.ndarray:
        """An array that lies on devices of several workers, put together on the host, which may hold more than a
        device."""
        owners, places = dict[str, int](), dict[Any, Any](value.sharding.devices_indices_map(value.shape))
        for device, place in places.items():
            owners.setdefault(str(place), device.process_index)
        parts = {str(shard.index): shard for shard in value.addressable_shards}
        alone, whole = parts.keys() == owners.keys(), np.zeros(value.shape, value.dtype)
        for name, shard in parts.items():
            if alone or owners[name] == self._workers.rank:
                whole[shard.index] = np.asarray(shard.data)
        return whole if alone else self._workers.joined(whole)

    def batches(self, block: Any, parts: int = 1) -> Any:
        """A block [steps, batch, ...] of tensors as [steps, parts, rows, ...]: the rows of each part of a batch shared
        by the devices, if they can be equally; else every device computes all of them. Of several workers each gives
        its rows of each part."""

        def parted(tensor: Any) -> np.ndarray:
            steps, rows, *inner = tensor.shape  # the rows are told, as what holds nothing does not tell them
            return np.asarray(tensor).reshape(steps, parts, rows // parts, *inner)

        arrays = jax.tree_util.tree_map(parted, block)
        if self._count == 1:
            return arrays
        if self._workers.count > 1:
            place = partial(jax.make_array_from_process_local_data, self._over(None, None, BATCH))
            return jax.tree_util.tree_map(place, arrays)
        shared = jax.tree_util.tree_leaves(arrays)[0].shape[2] % self._mesh.shape[BATCH] == 0
        return jax.device_put(arrays, self._over(None, None, BATCH) if shared else self._over())

    def cut(self, value: Any, like: Any) -> Any:
        """In a step: an array as the model knows it."""
        return value[: like.shape[0]] if self._lacking(like) else value

    def fill(self, value: Any) -> Any:
        """In a step: an array as it lies on the devices."""
        rows = self._lacking(value)
        return self.keep(jax.numpy.pad(value, [(0, rows), *[(0, 0)] * (value.ndim - 1)]) if rows else value, value)

    def keep(self, value: Any, like: Any) -> Any:
        """In a step: see that an array is split as one of the shape of `like` is."""
        return _constrained(value, self.sharding(like)) if self._count > 1 else value

    def _lacking(self, like: Any) -> int:
        """Rows that are added to a table, so that all devices have as many."""
        return -like.shape[0] % self._count if self._split.get(tuple(like.shape)) == ROWS else 0

    def _over(self, *axes: str | tuple[str, ...] | None) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def _constrained(value: Any, sharding: NamedSharding) -> Any:
    return jax.lax.with_sharding_constraint(value, sharding)  # type: ignore[no-untyped-call]


def split(model: keras.Model, settings: StepSettings) -> dict[tuple[int, ...], Spec]:
    """Shapes of the arrays that the settings split over the devices, and how.

    Raises:
        ConfigError: there are none to split.
    """
    found: dict[tuple[int, ...], Spec] = {}
    if settings.model_parallel > 1:
        sides = kernels(model, settings.model_parallel)
        found = {shape: (*[None] * side, MODEL) for shape, side in sides.items()}
    return found | dict.fromkeys(tables(model) if settings.shard_tables else (), ROWS)


def tables(model: keras.Model) -> set[tuple[int, ...]]:
    """Shapes of the model's tables of embeddings, and of what turns states into scores of their rows.

    Raises:
        ConfigError: it has none.
    """
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
    shapes = {tuple(v.shape) for layer in layers for v in layer.variables if layer.input_dim in v.shape}
    if not shapes:
        raise ConfigError(f"shard_tables: the model {model.name} has no table of embeddings to split: leave it out.")
    return shapes
