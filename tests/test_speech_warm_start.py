"""A run that begins with another's network, in another alphabet: what both spell is known at once."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import yaml

from pipelines.config import load_config
from pipelines.runs import Run
from pipelines.state import write_bytes
from pipelines.transfer.loading import take_weights
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.implied import imply
from tasks.speech_recognition.model import build_model

RATE = 8_000
ONE, OTHER = ["", " ", "a", "b", "ɔ́"], ["", " ", "b", "c", "d", "ɔ́"]


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A finished run of a small network, as far as a warm start looks at it."""
    from pipelines.artefact import save_model

    run = Run(tmp_path / "before")
    (run.path / "model").mkdir(parents=True)
    settings = {"rate": RATE, "mels": 20, "width": 8, "layers": 1, "dropout": 0.25}
    config = Config(**settings)
    network = build_model(config, {"alphabet": ONE, "rate": RATE}).whole
    save_model(run, network, {"alphabet": ONE, "rate": RATE})
    write_bytes(run.settings, yaml.safe_dump({"task": "speech-recognition", **settings}).encode())
    files = {f"model/{file.name}": run.checksum(f"model/{file.name}") for file in run.model.iterdir()}
    run.write_json("manifest.json", {"task": "speech-recognition", "files": files})
    return run.path


def weights(network: Any, layer: str) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(one)) for one in network.get_layer(layer).weights]


def test_known_characters_are_taken_over_by_name(before: Path) -> None:
    asked: Any = load_config("speech-recognition", options={"pretrained": str(before), "dropout": 0.0}).config
    config = imply(asked)
    assert (config.rate, config.mels, config.width, config.layers, config.dropout) == (RATE, 20, 8, 1, 0.0)
    built = build_model(config, {"alphabet": OTHER, "rate": RATE})
    told: list[str] = []
    origin = take_weights(built, str(before), {"alphabet": OTHER, "rate": RATE}, told.append)
    assert any("logits" in note and "(4 of 6 alphabet known)" in note for note in origin.resized)
    old = keras.saving.load_model(before / "model" / "model.keras", compile=False)
    for layer in ("convolution_1", "convolution_2", "gru_1"):
        for one, other in zip(weights(old, layer), weights(built.whole, layer), strict=True):
            np.testing.assert_array_equal(one, other)
    theirs, ours = weights(old, "logits")[0], weights(built.whole, "logits")[0]
    for name in set(ONE) & set(OTHER):
        np.testing.assert_array_equal(theirs[:, ONE.index(name)], ours[:, OTHER.index(name)])
