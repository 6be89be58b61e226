"""Texts as vectors of a pretrained encoder that is not trained any further: computed once, kept in the cache folder."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipelines.console import Console
from pipelines.devices import forward
from pipelines.errors import ConfigError, StateError
from pipelines.sources.scan import cache_folder
from pipelines.state import load_arrays, save_arrays
from pipelines.text.tokenizers import Tokenizer, tokenizer
from pipelines.transfer.presets import check_preset, opening, preset_files, preset_licence
from pipelines.transfer.sources import Origin, kind_of
from pipelines.transfer.text_presets import FILES, TextPreset, text_preset

MOST_TOKENS = 256
"""Of a text, as sentence transformers have it; the rest is cut off."""
_LENGTHS = (16, 32, 64, 128, MOST_TOKENS)
_ROWS = 64
_VERSION = 1
"""Of how vectors are made: another one makes them anew."""


def text_vectors(source: str, texts: Sequence[str], setting: str) -> tuple[np.ndarray, Origin]:
    """float32 [texts, features], the mean over the tokens of each text, of length 1 (Reimers and Gurevych, 2019); 0 of
    a text of nothing. From the cache where they are in it.

    Args:
        source: a KerasHub preset, or its folder.
        texts: whole.
        setting: that names the source.

    Raises:
        ConfigError: there is no such preset, it is not for texts, or KerasHub is not installed.
        DataError: it cannot be had.
    """
    if kind_of(source, setting) != "preset":
        raise ConfigError(f"{setting}: {source} is no preset of a text encoder: name one, or the folder of one.")
    check_preset(source, setting)
    with opening(source, FILES, setting):
        files = preset_files(source)
    vectors = _recall(_place(files, texts), len(texts))
    if vectors is None:
        vectors = _made(text_preset(source, setting, trained=True), texts)
        files = preset_files(source)  # all are downloaded by now
        _keep(_place(files, texts), vectors)
    return vectors, Origin(source, "preset", files, preset_licence(source))


def _place(files: dict[str, str], texts: Sequence[str]) -> Path:
    """Named by the encoder's files, the texts in their order, and what computes."""
    versions = [_VERSION, keras.backend.backend(), *map(version, ("keras", "keras-hub", "tensorflow-text"))]
    about = json.dumps([versions, sorted(files.values()), list(texts)])
    return cache_folder() / "vectors" / f"{hashlib.blake2b(about.encode(), digest_size=16).hexdigest()}.safetensors"


def _recall(place: Path, texts: int) -> np.ndarray | None:
    try:
        vectors = load_arrays(place)[0]["vectors"]
    except (StateError, KeyError):  # not there, or damaged
        return None
    return vectors if len(vectors) == texts else None


def _keep(place: Path, vectors: np.ndarray) -> None:
    """Where there is a place for it: a home that is read-only costs the next run the time."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        save_arrays(place, {"vectors": vectors}, {})


def _made(preset: TextPreset, texts: Sequence[str]) -> np.ndarray:
    words, compute = tokenizer(preset.tokenizer), forward(_averaging(preset.network))
    most = min(preset.longest or MOST_TOKENS, MOST_TOKENS)
    splits, values = _tokens(words, texts)
    lengths = np.minimum(np.diff(splits), most - (words.start is not None) - (words.end is not None))
    order, vectors = np.argsort(-lengths, kind="stable"), None
    order = order[lengths[order] > 0]
    with Console().bar("vectors", len(order), "texts") as advance:
        for start in range(0, len(order), _ROWS):
            rows = order[start : start + _ROWS]
            x = _padded([values[splits[row] : splits[row] + lengths[row]] for row in rows.tolist()], words, most)
            given = {"token_ids": x, "padding_mask": x != words.pad, "segment_ids": np.zeros_like(x)}
            found = compute({name: given[name].astype(np.int32) for name in preset.network.input})[: len(rows)]
            vectors = np.zeros((len(texts), found.shape[1]), np.float32) if vectors is None else vectors
            vectors[rows] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
            advance(start + len(rows))
    return np.zeros((len(texts), 1), np.float32) if vectors is None else vectors


def _tokens(words: Tokenizer, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(splits int64 [texts + 1], values): of whole texts, without what stands before and after them."""
    ragged = words.encode([text.encode("utf-8", "replace") for text in texts])
    return ragged.row_splits.numpy(), ragged.values.numpy()


def _padded(tokens: Sequence[np.ndarray], words: Tokenizer, most: int) -> np.ndarray:
    """int32 [_ROWS, length]: between the tokens that stand before and after a text, in one of few lengths; rows beyond
    the last text are the first again."""
    before, after = ([] if one is None else [one] for one in (words.start, words.end))
    longest = max(len(one) for one in tokens) + len(before) + len(after)
    x = np.full((_ROWS, next((one for one in _LENGTHS if longest <= one <= most), most)), words.pad, np.int32)
    for row, one in enumerate([*tokens, *[tokens[0]] * (_ROWS - len(tokens))]):
        text = [*before, *one.tolist(), *after]
        x[row, : len(text)] = text
    return x


def _averaging(network: keras.Model) -> keras.Model:
    """The network with the mean over its tokens as its answer."""
    states: Any = network.output["sequence_output"] if isinstance(network.output, dict) else network.output
    there = keras.ops.expand_dims(keras.ops.cast(network.input["padding_mask"], "float32"), -1)
    mean = keras.ops.sum(states * there, axis=1) / keras.ops.maximum(keras.ops.sum(there, axis=1), 1.0)
    return keras.Model(network.input, mean, name=network.name)
