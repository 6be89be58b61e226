"""The recogniser: its network, which is kept, and what trains it."""

from collections.abc import Callable
from typing import Any

import keras

from pipelines.task import Assets, Built, Head, Metric
from pipelines.transfer.sound_presets import ATTENTION, encoder_of
from tasks.speech_recognition.backbones import LOGITS, build_network
from tasks.speech_recognition.config import PRESET, Config
from tasks.speech_recognition.objective import INPUTS, Objective
from tasks.speech_recognition.preset_networks import encoder_in


def build_model(config: Config, assets: Assets) -> Built:
    """The network within its objective; the network alone is kept.

    Assets: `alphabet`, what each logit stands for; `rate`, samples a second; of normalization global `normal`, mean and
    deviation of each mel band.
    """
    network = build_network(config, assets)
    inputs = {name: keras.Input(shape, dtype=dtype, name=name) for name, (shape, dtype) in INPUTS.items()}
    model = keras.Model(inputs, Objective(network, name="objective")(inputs), name=network.name)
    metrics = {"cer": Metric(_output("cer"), higher_is_better=False, in_training=False)}
    about = {"network": encoder_in(network), "part": encoder_of, "lora": ATTENTION} if config.backbone == PRESET else {}
    head = Head((LOGITS,), units="alphabet")
    return Built(model, _output("loss"), metrics, head=head, whole=network, gains_by_xla=False, **about)


def _output(name: str) -> Callable[[Any, Any], Any]:
    return lambda y, outputs: outputs[name]
