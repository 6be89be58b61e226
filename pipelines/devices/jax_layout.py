"""Where a training's arrays lie on the devices of the JAX backend: batches by rows, everything else on each of them,
but for tables of embeddings that are split by rows."""

from typing import Any

import jax
import keras
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from pipelines.errors import ConfigError

_DEVICES = "devices"
"""The mesh's one axis."""


class Layout:
    """Places arrays, and takes them back whole.

    What has the shape of a split table is split with it: its gradient, the optimizer's slots and the average. Splits
    are equal: a table whose rows the devices cannot share equally lies there with rows of zeros behind its own, which
    no step sees.

    Args:
        split: shapes of the tables that are split by rows.
    """

    def __init__(self, split: set[tuple[int, ...]]) -> None:
        devices = jax.devices()
        self._mesh, self._count = jax.sharding.Mesh(np.array(devices), (_DEVICES,)), len(devices)
        self._split = split if self._count > 1 else set()

    def sharding(self, like: Any) -> NamedSharding:
        """Of an array of this shape."""
        return self._over(_DEVICES) if tuple(like.shape) in self._split else self._over()

    def put(self, value: Any) -> jax.Array:
        """A copy on the devices."""
        # By way of the host: no device need hold a whole table.
        rows = self._lacking(value)
        whole = np.pad(np.asarray(value), [(0, rows), *[(0, 0)] * (value.ndim - 1)]) if rows else np.asarray(value)
        placed: jax.Array = jax.device_put(whole, self.sharding(value), may_alias=False)
        return placed

    def take(self, value: jax.Array, like: Any) -> np.ndarray:
        """The whole array, of the shape of `like`, as a copy on the host."""
        return np.array(value)[: like.shape[0]] if self._lacking(like) else np.array(value)

    def batches(self, block: Any) -> Any:
        """A block [steps, batch, ...] of tensors: the rows of each batch shared by the devices, if they can be equally;
        else every device computes all of them."""
        arrays = jax.tree_util.tree_map(np.asarray, block)
        if self._count == 1:
            return arrays
        shared = jax.tree_util.tree_leaves(arrays)[0].shape[1] % self._count == 0
        return jax.device_put(arrays, self._over(None, _DEVICES) if shared else self._over())

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

    def share(self, parts: Any) -> Any:
        """In a step: see that the rows of each of the parts [parts, rows, ...] of a batch are shared by the devices."""
        return _constrained(parts, self._over(None, _DEVICES)) if self._count > 1 else parts

    def _lacking(self, like: Any) -> int:
        """Rows that are added to a table, so that all devices have as many."""
        return -like.shape[0] % self._count if tuple(like.shape) in self._split else 0

    def _over(self, *axes: str | None) -> NamedSharding:
        return NamedSharding(self._mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def _constrained(value: Any, sharding: NamedSharding) -> Any:
    return jax.lax.with_sharding_constraint(value, sharding)  # type: ignore[no-untyped-call]


def tables(model: keras.Model) -> set[tuple[int, ...]]:
    """Shapes of the model's tables of embeddings.

    Raises:
        ConfigError: it has none.
    """
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
    shapes = {tuple(v.shape) for layer in layers for v in layer.variables if tuple(v.shape)[:1] == (layer.input_dim,)}
    if not shapes:
        raise ConfigError(f"shard_tables: the model {model.name} has no table of embeddings to split: leave it out.")
    return shapes
