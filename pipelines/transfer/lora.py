"""Low-rank updates (Hu et al., 2022): dense kernels stay, and a product of two thin matrices is trained beside each."""

from collections import Counter
from collections.abc import Sequence

import keras

from pipelines.errors import ConfigError

_KINDS = (keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Embedding)


def enable_lora(layers: Sequence[keras.layers.Layer], names: Sequence[str], rank: int, model: str) -> int:
    """Freeze the layers but for low-rank updates of the named ones in them; how many these are.

    To be called once the layers hold the weights that are to be kept: loading weights into a layer sets both thin
    matrices to zero, where no gradient moves them.

    Args:
        layers: of the backbone.
        names: how the names of the layers to update end; none: all dense, attention and embedding layers.
        rank: of the updates.
        model: how errors call it.

    Raises:
        ConfigError: no layer matches, which Keras passes over in silence.
    """
    found = [
        layer for layer in layers if isinstance(layer, _KINDS) and (not names or layer.name.endswith(tuple(names)))
    ]
    if not found:
        kinds = Counter(type(layer).__name__ for layer in layers)
        there = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) or "none with weights"
        wanted = f" named {', '.join(f'*{name}' for name in names)}" if names else ""
        raise ConfigError(
            f"lora_rank: looked for Dense, EinsumDense and Embedding layers{wanted} in {model}, and among those to be "
            f"trained are none ({there}): leave lora_rank out and choose layers with unfreeze."
        )
    for layer in layers:
        layer.trainable = False
    for layer in found:
        layer.trainable = True
        layer.enable_lora(rank)
    return len(found)
