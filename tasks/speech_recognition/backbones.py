"""The networks: sound in, the logits of what each stretch of it says out; or sound and the beginning of its transcript
in, the logits of the piece that comes next out.

Padding behind a clip changes nothing: frames that do not count are put back to 0 behind every layer that would fill
them.
"""

from typing import Any

import keras

from pipelines.errors import ConfigError
from pipelines.task import Assets
from pipelines.text.ids import Ids
from tasks.speech_recognition.config import GENERATE, PRESET, Config
from tasks.speech_recognition.conformer import conformer
from tasks.speech_recognition.features import LogMel
from tasks.speech_recognition.lengths import window_and_hop
from tasks.speech_recognition.parts import dropped, subsampled
from tasks.speech_recognition.preset_networks import hearing
from tasks.speech_recognition.recurrent import BidirectionalGRU

SOUND = ("audio", "samples")
"""What networks hear, by the names of their inputs."""
MELS, LOGITS = "log_mel", "logits"
"""The layers between which the network is trained."""


def build_network(config: Config, assets: Assets) -> keras.Model:
    """float32 [rows, answers, alphabet]; of `audio` float32 [rows, samples], from -1 to 1, and `samples` int32 [rows],
    how many of them are the clip. Of decoder generate float32 [rows, T, pieces]; of those and `pieces` int32 [rows, T],
    the start and what was written."""
    given = {
        "audio": keras.Input((None,), dtype="float32", name="audio"),
        "samples": keras.Input((), dtype="int32", name="samples"),
    }
    if config.backbone == PRESET:
        hears, encoder, kind = hearing(config, MELS)
        if config.decoder == GENERATE:
            _check_pieces(encoder, config, Ids.of(assets))
            given["pieces"] = keras.Input((None,), dtype="int32", name="pieces")
            return keras.Model(given, encoder([*hears(given), given["pieces"]])[3], name=kind)
        x = dropped(encoder(list(hears(given))), config, "dropout")
        return keras.Model(given, _logits(x, assets), name=kind)
    mels, counts = log_mel(config, assets)(given)
    x = {"gru": _recurrent, "conformer": conformer}[config.backbone](mels, counts, config)
    return keras.Model(given, _logits(x, assets), name=config.backbone)


def log_mel(config: Config, assets: Assets) -> LogMel:
    """The spectrogram as the settings have it."""
    rate = int(assets["rate"])
    normal = assets["normal"] if config.normalization == "global" else {}
    by_loudness = config.normalization == "loudness"
    return LogMel(rate, config.mels, *window_and_hop(config, rate), **normal, by_loudness=by_loudness, name=MELS)


def behind_the_features(network: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The network in two: up to its features, and from there on."""
    features = network.get_layer(MELS)
    return keras.Model({name: network.input[name] for name in SOUND}, features.output), keras.Model(
        features.output, network.output
    )


def _check_pieces(writer: keras.Model, config: Config, ids: Ids) -> None:
    there = writer.outputs[3].shape[-1]
    if ids.size is not None and ids.size > there:
        raise ConfigError(
            f"pretrained: {config.pretrained} has a tokenizer of {ids.size:,} pieces and a network of {there:,}: they "
            "do not belong together."
        )


def _logits(x: Any, assets: Assets) -> Any:
    return keras.layers.Dense(len(assets["alphabet"]), dtype="float32", name=LOGITS)(x)


def _recurrent(mels: Any, counts: Any, config: Config) -> Any:
    """Convolutions, then bidirectional GRUs (Deep Speech 2: Amodei et al., 2016)."""
    layers, width, _ = config.shape
    x, counts = subsampled(mels, counts, config, width)
    for number in range(1, layers + 1):
        x = dropped(x, config, f"dropout_{number}")
        x = BidirectionalGRU(width, name=f"gru_{number}")(x, counts)
    return dropped(x, config, "dropout")
