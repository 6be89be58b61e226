"""A training in stages, features of a frozen backbone computed once, learning rates by layer."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipelines import devices, resume, run
from pipelines.config import RunConfig, load_config
from pipelines.devices.settings import StepSettings
from pipelines.errors import ConfigError, Preempted
from pipelines.interrupts import Interrupts
from pipelines.preparation import make_optimizer
from pipelines.runs import Run
from pipelines.stages import plan
from pipelines.task import Built, Head
from pipelines.transfer import features
from pipelines.transfer.freezing import layer_rates

pytestmark = pytest.mark.usefixtures("unserved")

SMALL = {"backbone": "cnn", "width": 4, "limit": 48, "batch_size": 16, "baseline_iterations": 5, "augment": "none"}
CLOCKS = {"time", "seconds", "examples_per_second"}


def small(folder: Path, **settings: Any) -> Any:
    return run("image-classification", **{**SMALL, "run_dir": str(folder), **settings})


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to start from."""
    folder = tmp_path_factory.mktemp("runs") / "before"
    small(folder, epochs=2)
    return folder


def history(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in one.items() if k not in CLOCKS} for one in Run(folder).events("epoch")]


def test_the_plan_shares_the_epochs_and_ends_with_all_layers() -> None:
    config = RunConfig(epochs=7, learning_rate=0.1, unfreeze="staged", stage_rates=(1, 0.5, 0.1, 0.01), pretrained="x")
    found = plan(config)
    assert [(one.first_epoch, one.last_epoch, one.unfreeze) for one in found] == [
        (0, 2, "none"),
        (2, 4, "top:0.3333"),
        (4, 5, "top:0.6667"),
        (5, 7, "all"),
    ]
    assert [one.learning_rate for one in found] == pytest.approx([0.1, 0.05, 0.01, 0.001])
    assert [one.is_final for one in found] == [False, False, False, True]
    assert "stage 2: epochs 3 to 4 train the head and the top 0.3333 of the backbone" in found[1].sentence
    (only,) = plan(RunConfig(epochs=7, unfreeze="last:3", pretrained="x"))
    assert (only.first_epoch, only.last_epoch, only.unfreeze, only.is_final) == (0, 7, "last:3", True)


def test_stages_need_an_epoch_each() -> None:
    with pytest.raises(ValueError, match="unfreeze staged has 3 stages .* needs as many epochs; there are 2"):
        RunConfig(epochs=2, unfreeze="staged")
    with pytest.raises(ValueError, match="at least two stages"):
        RunConfig(stage_rates=(1.0,))


@pytest.mark.parametrize("unfreeze", ["none", "last:3", "staged"])
def test_layers_that_learned_nothing_are_not_frozen(unfreeze: str) -> None:
    with pytest.raises(ConfigError, match=f"unfreeze {unfreeze} freezes layers that have learned nothing: name wei"):
        load_config("image-classification", options={"unfreeze": unfreeze})
    for source in ("pretrained", "pretrain_on"):
        assert load_config("image-classification", options={"unfreeze": unfreeze, source: "there"})


def test_pretrained_layers_are_trained_gently_unless_a_rate_is_given() -> None:
    def rate(**options: Any) -> float:
        return load_config("image-classification", options={"pretrained": "there", **options}).config.learning_rate

    assert rate() == rate(unfreeze="last:3") == 0.0003
    assert rate(unfreeze="none") == rate(unfreeze="staged") == rate(lora_rank="2") == rate(pretrained="none") == 0.003
    assert rate(learning_rate="0.003") == 0.003
    left_out = load_config("image-classification", options={"pretrained": "there"}).config
    assert "learning_rate" not in left_out.model_fields_set, "a task could not tell it from one that was set"


STAGED = {"unfreeze": "staged", "epochs": 5, "save_every": "1", "average": 0.9, "dropout": 0.2}


def test_stages_train_more_and_more_and_are_resumed_to_the_bit(
    before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**STAGED, "pretrained": str(before)}
    small(tmp_path / "whole", **settings)
    told = capsys.readouterr().err
    counts = [int(line.split(", ")[1].split()[0].replace(",", "")) for line in told.splitlines() if "model: " in line]
    assert counts == sorted(counts)
    assert len(set(counts)) == 3
    rates = [one["learning_rate"] for one in history(tmp_path / "whole")]
    assert max(rates[2:]) < max(rates[:2])
    check = Interrupts.check
    stops = 0
    for place in (4, 3, 6, 5, 4):
        seen = [0]

        def stop(self: Interrupts, seen: list[int] = seen, place: int = place) -> None:
            seen[0] += 1
            if seen[0] == place:
                os.kill(os.getpid(), signal.SIGTERM)
            check(self)

        with monkeypatch.context() as patched:
            patched.setattr(Interrupts, "check", stop)
            try:
                small(tmp_path / "stopped", **settings)
            except Preempted:
                stops += 1
    assert stops >= 3
    small(tmp_path / "stopped", **settings)
    assert history(tmp_path / "stopped") == history(tmp_path / "whole")
    one, other = (Run(tmp_path / name).events("trained")[-1]["weights"] for name in ("stopped", "whole"))
    assert one == other
    for name in ("metrics.json", "predictions.jsonl", "baseline.json"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert not list((tmp_path / "whole" / "state").glob("features-*"))


def test_epochs_grow_in_the_first_stage_only(before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a later one the schedule would begin behind the state, with rates below 0."""
    settings = {"pretrained": str(before), "unfreeze": "staged", "epochs": 3, "limit": 16}
    check = Interrupts.check
    for name, place in (("first", 1), ("second", 3)):
        seen = [0]

        def stop(self: Interrupts, seen: list[int] = seen, place: int = place) -> None:
            seen[0] += 1
            if seen[0] == place:
                os.kill(os.getpid(), signal.SIGTERM)
            check(self)

        with monkeypatch.context() as patched:
            patched.setattr(Interrupts, "check", stop)
            with pytest.raises(Preempted):
                small(tmp_path / name, **settings)
    with pytest.raises(
        ConfigError, match=r"epochs 3 there, 6 here, and its stages share the epochs: .*, which is over"
    ):
        resume(tmp_path / "second", epochs=6)
    assert resume(tmp_path / "second").metrics["examples"] == 16
    resume(tmp_path / "first", epochs=6)
    rates = [one["learning_rate"] for one in Run(tmp_path / "first").events("epoch")]
    assert len(rates) == 6
    assert min(rates) >= 0


def test_cached_features_train_the_same_head(
    before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"pretrained": str(before), "unfreeze": "none", "epochs": 3, "class_weights": "balanced"}
    small(tmp_path / "cached", **settings)
    with monkeypatch.context() as patched:
        patched.setattr(features, "cached", lambda built, streams, *_: (built, streams))
        small(tmp_path / "plain", **settings)
    assert "features: computed once (train 48, valid 48)" in capsys.readouterr().err
    for one, other in zip(history(tmp_path / "cached"), history(tmp_path / "plain"), strict=True):
        for split in ("train", "valid"):
            assert one[split]["loss"] == pytest.approx(other[split]["loss"], rel=1e-4)
    weights = [keras.saving.load_model(tmp_path / name / "model" / "model.keras") for name in ("cached", "plain")]
    for one, other in zip(*(model.weights for model in weights), strict=True):
        np.testing.assert_allclose(np.array(one), np.array(other), atol=1e-4)


def test_varied_images_are_not_cached(
    before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(features, "cached", lambda *_: pytest.fail("it caches"))
    small(tmp_path / "run", pretrained=str(before), unfreeze="none", epochs=1, augment="crop", erasing=0.5)
    assert "features: computed in every epoch, as training varies the images" in capsys.readouterr().err


def test_the_baseline_sees_the_frozen_features(before: Path, tmp_path: Path) -> None:
    result = small(tmp_path / "run", pretrained=str(before), epochs=1)
    assert result.metrics["baseline"]["name"] == "logistic regression on frozen features"
    assert "of cnn as pretrained" in result.metrics["baseline"]["note"]
    shutil.rmtree(tmp_path / "run")


def chain() -> Built:
    keras.utils.set_random_seed(1)
    names = ("low", "middle", "high", "logits")
    model = keras.Sequential([keras.Input((3,)), *[keras.layers.Dense(3, name=name) for name in names]])
    return Built(model, lambda y, outputs: keras.ops.sum(outputs, axis=-1), {}, head=Head(("logits",), "classes"))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_lower_layers_learn_slower(optimizer: str) -> None:
    """An update is the one without decay, scaled."""
    moved = []
    for decay in (None, 0.5):
        built = chain()
        config = RunConfig(optimizer=optimizer, momentum=0.0, weight_decay=0.1, layer_decay=decay)
        rates = () if decay is None else layer_rates(built.model, Head(("logits",), "classes"), decay)
        before = [np.array(v) for v in built.model.trainable_variables]
        steps = devices.start(config).steps(built, make_optimizer(config, built.model), StepSettings(rates=rates))
        import tensorflow as tf

        x = np.random.default_rng(0).normal(size=(1, 4, 3)).astype(np.float32)
        block = (x, np.zeros((1, 4), np.int32), np.ones((1, 4), np.float32))
        steps.train(tuple(tf.constant(part) for part in block), np.array([0.1], np.float32))
        after = list(steps.weights().values())
        moved.append([new - old for new, old in zip(after, before, strict=True)])
    for place, factor in enumerate((0.125, 0.125, 0.25, 0.25, 0.5, 0.5, 1, 1)):
        np.testing.assert_allclose(moved[1][place], factor * moved[0][place], rtol=1e-3, atol=1e-7)


def test_layer_decay_is_a_share() -> None:
    with pytest.raises(ConfigError, match="layer_decay"):
        run("image-classification", layer_decay=1.5)
