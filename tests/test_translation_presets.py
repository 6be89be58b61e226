"""KerasHub's networks that read one text and write another: trained, kept and searched as our own are."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from pipelines import devices
from pipelines.devices.settings import StepSettings
from pipelines.devices.steps import kept_model
from pipelines.errors import ConfigError
from pipelines.preparation import make_optimizer
from pipelines.task import Built
from pipelines.transfer.loading import take_weights
from tasks.translation.config import Config
from tasks.translation.decoding import Decoder
from tasks.translation.model import build_model
from tasks.translation.parts import Ids

IDS = {
    "T5": {"pad": 0, "unknown": 2, "start": 0, "end": 1},
    "Bart": {"pad": 1, "unknown": 3, "start": 2, "end": 2},
}
SHAPE = {"vocabulary_size": 40, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}


def saved(folder: Path, family: str, **more: Any) -> Path:
    """A preset with weights that tell pieces apart."""
    hub = pytest.importorskip("keras_hub", reason="KerasHub is the extra hub")
    network = getattr(hub.models, f"{family}Backbone")(**SHAPE, **more)
    random = np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign(random.normal(0, 0.5, variable.shape))
    network.save_to_preset(str(folder))
    return folder


def built_from(folder: Path, family: str) -> tuple[Built, Config, dict[str, Any]]:
    config = Config(backbone="preset", pretrained=str(folder), label_smoothing=0.0)
    assets = {"ids": IDS[family]}
    built = build_model(config, assets)
    origin = take_weights(built, str(folder), assets, lambda line: None)
    assert not origin.new
    return built, config, assets


def filled(rows: list[list[int]], pad: int) -> np.ndarray:
    longest = max(map(len, rows))
    return np.array([[*row, *[pad] * (longest - len(row))] for row in rows], np.int32)


# KerasHub's T5 hands its padding on to layers that do not know of masks, beside the one that they are given.
@pytest.mark.filterwarnings("ignore:.*was passed an input with a mask attached to it")
@pytest.mark.slow
@pytest.mark.parametrize("family", ["T5", "Bart"])
def test_a_preset_is_trained_kept_and_searched(family: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "preset", family)
    built, config, assets = built_from(folder, family)
    ids = Ids.of(assets)
    source = filled([[9, 10, 11, ids.end], [12, ids.end]], ids.pad)
    target = filled([[ids.start, 20, 21], [ids.start, 22]], ids.pad)
    network = kept_model(built)

    # As KerasHub has it, with the weights of the preset.
    import keras_hub

    theirs = getattr(keras_hub.models, f"{family}Seq2SeqLM")(keras_hub.models.Backbone.from_preset(str(folder)))
    given = {"encoder_token_ids": source, "encoder_padding_mask": (source != ids.pad).astype(np.int32)}
    given |= {"decoder_token_ids": target, "decoder_padding_mask": np.ones_like(target)}
    ours = np.asarray(network({"source": source, "target": target}))
    np.testing.assert_allclose(ours, np.asarray(theirs(given)), rtol=1e-4, atol=1e-4)

    _learns(built, config, source, target, ids)
    network.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    x = {"source": source, "target": target}
    np.testing.assert_allclose(np.asarray(again(x)), np.asarray(network(x)), rtol=1e-4, atol=1e-4)
    _scores_are_those_of_the_whole(Decoder(again, config, ids), network, source, ids)


def _learns(built: Built, config: Config, source: np.ndarray, target: np.ndarray, ids: Ids) -> None:
    wanted = np.array([[20, 21, ids.end], [22, ids.end, ids.pad]], np.int32)
    weight = np.array([[1, 1, 1], [1, 1, 0]], np.float32)
    steps = devices.start(config).steps(built, make_optimizer(config, built.model), StepSettings(lengths=True))
    parts = ({"source": source, "target": target}, wanted, weight)
    block = tf.nest.map_structure(lambda part: tf.constant(part[None]), parts)
    found = [steps.train(block, np.full(1, 0.05, np.float32))[0] for _ in range(12)]
    assert found[-1] < 0.8 * found[0]


def _scores_are_those_of_the_whole(decoder: Decoder, network: Any, source: np.ndarray, ids: Ids) -> None:
    pieces, scores = decoder.translate(source, beams=3, n_best=3, limits=np.array([4, 5], np.int32))
    for row in range(2):
        for n in range(3):
            text = [piece for piece in pieces[row, n].tolist() if piece != ids.pad]
            x = {"source": source[row : row + 1], "target": np.array([[ids.start, *text, ids.pad]], np.int32)}
            each = log_softmax(np.asarray(network(x), np.float64), axis=-1)[0]
            total = sum(each[place, piece] for place, piece in enumerate([*text, ids.end]))
            assert scores[row, n] == pytest.approx(total / (len(text) + 1), abs=1e-4)
            assert not {ids.pad, ids.unknown, ids.start, ids.end} & set(text)


@pytest.mark.slow
def test_a_network_of_one_text_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "preset", "Bert")
    config = Config(backbone="preset", pretrained=str(folder))
    with pytest.raises(ConfigError, match="does not read one text and write another"):
        build_model(config, {})
