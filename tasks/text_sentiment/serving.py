"""The classifier as one graph: strings in, labels and probabilities out."""

from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from pipelines.task import Assets, Serving, Store
from pipelines.text.tokenizers import tokenizer
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.data.stores import TextStore
from tasks.text_sentiment.encoding import encode


def serving(model: keras.Model, config: Config, assets: Assets) -> Serving:
    """text, strings [rows] in UTF-8 -> label strings [rows], probability float32 [rows], probabilities and logits
    float32 [rows, classes], classes strings [classes]."""
    words = tokenizer(assets["tokenizer"])
    encoder = encode(config, assets, training=False)
    temperature = float(assets.get("temperature", 1.0))

    def answer(text: Any) -> dict[str, Any]:
        logits = tf.cast(model(encoder({"text": text}, None)[0], training=False), tf.float32)
        probabilities = tf.nn.softmax(logits / temperature)
        classes = tf.constant(assets["classes"])
        return {
            "label": tf.gather(classes, tf.argmax(logits, axis=1)),
            "probability": tf.reduce_max(probabilities, axis=1),
            "probabilities": probabilities,
            "logits": logits,
            "classes": classes,
        }

    needs = () if words.needs is None else (words.needs,)
    spec = tf.TensorSpec([None], tf.string, name="text")
    return Serving(answer, spec, "texts in UTF-8", _texts, needs, (model, *words.tracked))


def _texts(store: Store, indices: np.ndarray) -> np.ndarray:
    return cast(TextStore, store).encoded(indices)
