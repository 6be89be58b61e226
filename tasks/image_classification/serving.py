"""The classifier as one graph: image files, or pixels, in; labels and probabilities out."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipelines.classes_graph import classified, classified_gap
from pipelines.saved_model import differences
from pipelines.scoring import sigmoid
from pipelines.served import Core, Serving
from pipelines.task import Assets, Record, Store
from tasks.image_classification import multilabel
from tasks.image_classification.config import Config
from tasks.image_classification.encoding import channels_of, encode
from tasks.image_classification.prediction import recorder

_FILES = (
    "the bytes of image files (JPEG, PNG, BMP of 24 or 32 bits, WebP), of any size each; a JPEG is turned as its EXIF "
    "orientation says, the middle square is cut out and resized. Of one that does not decode, and of a GIF, `decoded` "
    "is false, texts are empty and numbers NaN"
)
_PIXELS = (
    "images of one size, red, green and blue from 0 to 255, upright; the middle square is cut out and resized. Grey "
    "ones have the same number three times"
)
_SQUARES = (
    "squares of {size} x {size} pixels, {channels}, whole numbers from 0 to 255 as floats: the middle square of an "
    "upright image, resized by a triangle filter that grows with the reduction, and rounded"
)
_BROKEN = "it is no image that can be decoded"
_OF_ALL = ("classes", "thresholds")
"""What is said once, and not of each row."""
_CHANNELS = {1: "grey (0.299 red + 0.587 green + 0.114 blue, rounded)", 3: "red, green, blue"}


def serving(model: keras.Model, config: Config, assets: Assets) -> Serving:
    """image, strings [rows] -> label strings [rows], probability float32 [rows], probabilities and logits float32
    [rows, classes], classes strings [classes]. Of several labels no label and probability, but labels strings [rows,
    classes], the likeliest first, empty behind the last, and thresholds float32 [classes]. decoded bool [rows], whether
    it is an image that can be read. A signature `pixels`, without the last, takes uint8 [rows, height, width, 3]."""
    encoder = encode(config, assets, training=False)
    answer = partial(_labels if config.multi_label else classified, assets=assets)

    def answered(squares: Any) -> dict[str, Any]:
        return answer(tf.cast(model(squares, training=False), tf.float32))

    def read(image: Any) -> dict[str, Any]:
        return _read(image, lambda content: encoder({"bytes": content}, None)[0], model.input_shape[1:])

    def of_files(image: Any) -> dict[str, Any]:
        count = tf.size(image)
        given = read(tf.concat([image, [""]], axis=0)[: tf.maximum(count, 1)])  # norms of batches do not take none
        found = _where_decoded(answered(given["pixels"]), given["decoded"])
        return {name: values if name in _OF_ALL else values[:count] for name, values in found.items()}

    def before(image: Any) -> dict[str, Any]:
        given = read(image)
        return {**given, "pixels": tf.cast(given["pixels"], tf.float32)}

    pixels = tf.TensorSpec([None, None, None, 3], tf.uint8, name="pixels")
    return Serving(
        function=of_files,
        input=tf.TensorSpec([None], tf.string, name="image"),
        what=_FILES,
        inputs=_files,
        tracked=(model,),
        others={"pixels": (lambda pixels: answered(encoder({"pixels": pixels}, None)[0]), pixels, _PIXELS)},
        gap=partial(_labels_gap if config.multi_label else classified_gap, assets),
        records=partial(_records, config, assets),
        core=Core(
            function=_network(model),
            input={"pixels": tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, name="pixels")},
            what=_SQUARES.format(size=config.image_size, channels=_CHANNELS[channels_of(config)]),
            before=before,
            after=lambda x: _where_decoded(answer(x["logits"]), x["decoded"]),
            network=True,
        ),
    )


def _network(model: keras.Model) -> Any:
    """The same layers over floats: the model's own input would make them bytes, which some formats know no cast to."""
    pixels = keras.Input(model.input_shape[1:], dtype="float32", name="pixels")
    network = keras.models.clone_model(model, input_tensors=pixels, clone_function=lambda layer: layer)
    return lambda inputs: {"logits": tf.cast(network(inputs["pixels"], training=False), tf.float32)}


def _read(image: Any, encoder: Callable[[Any], Any], shape: Sequence[int]) -> dict[str, Any]:
    """strings [rows] -> pixels uint8 [rows, *shape], black of what does not decode, and decoded bool [rows]: no
    operation asks whether an image decodes, but a dataset passes over what fails."""
    count = tf.size(image, tf.int64)
    files = tf.data.Dataset.from_tensor_slices((tf.range(count), image))
    # AutoGraph has nothing to convert there, and takes its time to see that.
    square = tf.autograph.experimental.do_not_convert(lambda place, content: (place, encoder(content[None])[0]))
    squares = files.map(square, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False).ignore_errors()
    behind = tf.data.Dataset.from_tensors((count, tf.zeros(shape, tf.uint8)))  # so that there is one in any case
    places, found = squares.concatenate(behind).batch(count + 1).get_single_element()
    rows = tf.stack([count + 1, *shape])
    decoded = tf.scatter_nd(places[:, None], tf.ones_like(places, tf.bool), [count + 1])
    return {"pixels": tf.scatter_nd(places[:, None], found, rows)[:count], "decoded": decoded[:count]}


def _where_decoded(answer: Mapping[str, Any], decoded: Any) -> dict[str, Any]:
    """The same with nothing said of the others: empty strings and NaN."""

    def kept(values: Any) -> Any:
        there = tf.reshape(decoded, [-1, *[1] * (values.shape.rank - 1)])
        return tf.where(there, values, "" if values.dtype == tf.string else math.nan)

    each = {name: values if name in _OF_ALL else kept(values) for name, values in answer.items()}
    return {**each, "decoded": tf.identity(decoded)}


def _labels(logits: Any, assets: Assets) -> dict[str, Any]:
    # In float64, as predict decides which probability reaches a threshold.
    probabilities = tf.sigmoid(tf.cast(logits, tf.float64))
    classes, thresholds = tf.constant(assets["classes"]), tf.constant(multilabel.thresholds_of(assets), tf.float64)
    reached = probabilities >= thresholds
    order = tf.argsort(tf.where(reached, probabilities, -1.0), direction="DESCENDING", stable=True)
    return {
        "labels": tf.where(tf.gather(reached, order, batch_dims=1), tf.gather(classes, order), ""),
        "probabilities": tf.cast(probabilities, tf.float32),
        "logits": logits,
        "classes": classes,
        "thresholds": tf.cast(thresholds, tf.float32),
    }


def _labels_gap(assets: Assets, found: Mapping[str, np.ndarray], records: Sequence[Record]) -> np.ndarray:
    """As `classified_gap`, of any number of labels."""
    gaps = differences(found["logits"], records)
    rows = zip(found["logits"], found["probabilities"], found["labels"], records, strict=True)
    for row, (logits, probabilities, labels, record) in enumerate(rows):
        shares = sigmoid(logits)
        each = [
            gaps[row],
            np.abs(probabilities - shares).max(),
            _unlike(assets, shares, [label.decode() for label in labels if label]),
            _unlike(assets, sigmoid(np.asarray(record.output)), [one["label"] for one in record.answer["labels"]]),
        ]
        gaps[row] = np.max(each)
    return gaps


def _unlike(assets: Assets, shares: np.ndarray, labels: Sequence[str]) -> float:
    """By how much a label stands behind one less likely; infinite where they are not those that shares [classes]
    make."""
    place = {name: at for at, name in enumerate(assets["classes"])}
    reached = np.flatnonzero(shares >= multilabel.thresholds_of(assets)).tolist()
    if sorted(place[label] for label in labels) != reached:
        return math.inf
    return float(np.diff(shares[[place[label] for label in labels]]).max(initial=0.0))


def _records(
    config: Config, assets: Assets, ids: Sequence[str], inputs: Mapping[str, Any], outputs: Mapping[str, np.ndarray]
) -> list[Record]:
    del inputs
    record = recorder(config, assets)
    rows = zip(ids, outputs["logits"], outputs.get("decoded", np.ones(len(ids), bool)), strict=True)
    return [record(name, logits) if decoded else Record(name, {}, error=_BROKEN) for name, logits, decoded in rows]


def _files(store: Store, indices: np.ndarray) -> np.ndarray:
    """object [rows], of bytes: the files of examples; of those that are arrays PNGs, which lose nothing."""
    raw = store.fetch(indices)
    if "bytes" in raw:
        return raw["bytes"]
    found = np.empty(len(indices), object)
    if "path" in raw:
        found[:] = [tf.io.read_file(path).numpy() for path in raw["path"]]
    else:
        found[:] = [tf.io.encode_png(pixels).numpy() for pixels in raw["pixels"]]
    return found
