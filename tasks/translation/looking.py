"""How much each piece of a translation looks at each piece of its source."""

import keras
import numpy as np

from pipelines.scoring import softmax
from pipelines.task import Assets, Raw
from pipelines.text.ids import PAD, Ids
from tasks.translation.charts import Looked
from tasks.translation.config import Config
from tasks.translation.encoding import padded_pair
from tasks.translation.parts import HIDDEN
from tasks.translation.vocabulary import vocabulary


def attention(model: keras.Model, raw: Raw, config: Config, assets: Assets) -> list[Looked]:
    """Of each pair, from the decoder's last layer, the mean over its heads; of the transformer alone."""
    if config.backbone != "transformer":
        return []
    name = f"decoder_{config.shape[0]}"
    layers = [model.get_layer(f"{name}_{part}").output for part in ("query", "memory")]
    x, y, _ = padded_pair(raw, config, Ids())
    found = keras.Model(model.input, layers)(x, training=False)
    query, memory = (keras.ops.convert_to_numpy(keras.ops.cast(each, "float32")) for each in found)
    logits = np.einsum("bhte,bhse->bhts", query, memory[:, 0]) * query.shape[-1] ** -0.5
    logits += np.where(x["source"] == PAD, np.float32(HIDDEN), np.float32(0))[:, None, None]
    weights = softmax(logits).mean(axis=1)
    words = vocabulary(assets)
    return [
        Looked(
            _names(words.source.names, source),
            _names(words.target.names, target),
            weight[: np.count_nonzero(target), : np.count_nonzero(source)],
        )
        for source, target, weight in zip(x["source"], y, weights, strict=True)
    ]


def _names(names: list[str], ids: np.ndarray) -> list[str]:
    return [names[piece] for piece in ids.tolist() if piece != PAD]
