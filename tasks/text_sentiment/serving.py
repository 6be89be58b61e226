"""The classifier as one graph: strings in, labels and probabilities out."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from pipelines.classes_graph import classified, classified_gap
from pipelines.served import Core, Serving
from pipelines.task import Assets, Record, Store
from pipelines.text.tokenizers import tokenizer
from tasks.text_sentiment.answers import answer as written
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.data.stores import TextStore
from tasks.text_sentiment.encoding import encode

_TOKENS = "the numbers of a text's tokens in the vocabulary of model/tokenizer.json, framed and padded as it says"


def serving(model: keras.Model, config: Config, assets: Assets) -> Serving:
    """text, strings [rows] in UTF-8 -> label strings [rows], probability float32 [rows], probabilities and logits
    float32 [rows, classes], classes strings [classes]."""
    words = tokenizer(assets["tokenizer"])
    encoder = encode(config, assets, training=False)

    def tokens(text: Any) -> dict[str, Any]:
        return {"tokens": encoder({"text": text}, None)[0]}

    def network(x: Mapping[str, Any]) -> dict[str, Any]:
        return {"logits": tf.cast(model(x["tokens"], training=False), tf.float32)}

    def answer(found: Mapping[str, Any]) -> dict[str, Any]:
        return classified(found["logits"], assets)

    def records(ids: Sequence[str], inputs: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> list[Record]:
        del inputs
        rows = zip(ids, outputs["probabilities"], outputs["logits"], strict=True)
        return [Record(name, written(shares, assets["classes"]), logits) for name, shares, logits in rows]

    (given,) = model.inputs
    core = Core(
        function=network,
        input={"tokens": tf.TensorSpec(given.shape, tf.int32)},
        what=_TOKENS,
        before=tokens,
        after=answer,
        network=True,
    )
    return Serving(
        function=lambda text: answer(network(tokens(text))),
        input=tf.TensorSpec([None], tf.string, name="text"),
        what="texts in UTF-8",
        inputs=_texts,
        needs=() if words.needs is None else (words.needs,),
        tracked=(model, *words.tracked),
        gap=partial(classified_gap, assets),
        records=records,
        core=core,
    )


def _texts(store: Store, indices: np.ndarray) -> np.ndarray:
    return cast(TextStore, store).encoded(indices)
