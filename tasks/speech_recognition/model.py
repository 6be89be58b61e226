"""The recogniser: its network, which is kept, and what trains it."""

from collections.abc import Callable
from typing import Any

import keras

from pipelines.task import Assets, Built, Head, Metric
from pipelines.text.ids import Ids
from pipelines.transfer.sound_presets import ATTENTION, encoder_of
from pipelines.transfer.sound_writers import PIECES, writer_of
from tasks.speech_recognition.backbones import LOGITS, build_network
from tasks.speech_recognition.config import GENERATE, PRESET, Config
from tasks.speech_recognition.objective import INPUTS, Objective, WritingObjective
from tasks.speech_recognition.preset_networks import encoder_in


def build_model(config: Config, assets: Assets) -> Built:
    """The network within its objective; the network alone is kept.

    Assets: `rate`, samples a second; of CTC `alphabet`, what each logit stands for; of decoder generate `ids`, those of
    the pieces that are no text; of normalization global `normal`, mean and deviation of each mel band.
    """
    network = build_network(config, assets)
    inputs = {name: keras.Input(shape, dtype=dtype, name=name) for name, (shape, dtype) in INPUTS.items()}
    if config.decoder == GENERATE:
        return _writing(network, inputs, config, Ids.of(assets))
    model = keras.Model(inputs, Objective(network, name="objective")(inputs), name=network.name)
    metrics = {"cer": Metric(_output("cer"), higher_is_better=False, in_training=False)}
    about = {"network": encoder_in(network), "part": encoder_of, "lora": ATTENTION} if config.backbone == PRESET else {}
    head = Head((LOGITS,), units="alphabet")
    return Built(model, _output("loss"), metrics, head=head, whole=network, gains_by_xla=False, **about)


def _writing(network: keras.Model, inputs: dict[str, Any], config: Config, ids: Ids) -> Built:
    model = keras.Model(inputs, WritingObjective(network, ids, name="objective")(inputs), name=network.name)
    metrics = {"accuracy": Metric(_output("accuracy"), in_training=False)}
    # Its embeddings give the logits too: what trains the head alone trains them, and low-rank updates do not.
    head = Head(() if config.lora_rank else (PIECES,), units=None)
    about: dict[str, Any] = {"network": encoder_in(network), "part": writer_of, "lora": ATTENTION}
    return Built(model, _output("loss"), metrics, head=head, whole=network, gains_by_xla=False, **about)


def _output(name: str) -> Callable[[Any, Any], Any]:
    return lambda y, outputs: outputs[name]
