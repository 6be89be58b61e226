"""Which side of each kernel of a transformer is split where several devices compute one model together, as Megatron
does (Shoeybi et al., 2019): attention by heads, the dense layers behind it by their hidden units. What comes in by
columns goes out by rows, so that devices talk once for each part. Everything else lies on each of them.

Kernels are known by their layers, as LoRA's are. A keras.distribution.LayoutMap would name them by their paths:
KerasHub has one for five of its networks, and none for BERT's kind.
"""

import keras

from pipelines.errors import ConfigError

_WIDE = (
    *("_wide", "intermediate_dense", "gate_dense"),
    *("input_projector", "gate_projector", "query_projector", "key_projector", "value_projector"),
    *("up_proj", "gate_proj", "ffw_gating", "ffw_gating_2", "dense_h_to_4h"),
)
"""How the names of dense layers end whose units are split: ours and KerasHub's, those of its T5, and of its Gemmas and
Falcon."""
_NARROW = (
    "_narrow",
    "output_dense",
    "attention_output",
    "output_projector",
    "down_proj",
    "ffw_linear",
    "dense_4h_to_h",
)
"""The same of those that take what such layers make."""
_SHARED = ("key", "value")
"""Layers of attention that may have fewer heads than its queries: where these cannot be split, every device has all."""


def kernels(model: keras.Model, devices: int) -> dict[tuple[int, ...], int]:
    """Shapes of the kernels that so many devices split, and which side of each.

    Raises:
        ConfigError: the model has none, or one that cannot be split equally.
    """
    found: dict[tuple[int, ...], int] = {}
    for layer in model._flatten_layers():
        side = split_side(layer)
        if side is None:
            continue
        shape = tuple(layer.kernel.shape)
        if shape[side] % devices and layer.name in _SHARED:
            continue
        if shape[side] % devices:
            raise ConfigError(
                f"model_parallel {devices}: the {shape[side]} heads or units of the layer {layer.name} cannot be split "
                "equally: choose a number that divides them."
            )
        found.setdefault(shape, side)
    if not found:
        raise ConfigError(
            f"model_parallel: the model {model.name} has no attention and no dense layers of a transformer to split: "
            "leave it out."
        )
    return found


def split_side(layer: keras.layers.Layer) -> int | None:
    """Which side of a layer's kernel is split; None where none is."""
    if isinstance(layer, keras.layers.EinsumDense):
        side = _side_of_heads(layer.equation)
        if side is not None:
            return side
    elif not isinstance(layer, keras.layers.Dense):
        return None
    return 0 if layer.name.endswith(_NARROW) else 1 if layer.name.endswith(_WIDE) else None


def _side_of_heads(equation: str) -> int | None:
    """Of a projection to heads (`btd,dhe->bthe`) or from heads (`bthe,hed->btd`); the heads stand before their
    width."""
    given, kernel = equation.partition("->")[0].split(",")
    made = [side for side in kernel if side not in given]
    joined = [side for side in kernel if side in given]
    if len(joined) > 1:
        return kernel.index(joined[0])
    return kernel.index(made[-2]) if len(made) > 1 else None
