"""Learning from a trained model besides the truth (Hinton et al., 2015).

The teacher stands in the training graph and sees exactly what the student sees, however it was varied.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from pipelines.artefact import load_model, read_settings
from pipelines.config import RunConfig
from pipelines.errors import ConfigError, DataError, StateError
from pipelines.runs import Run
from pipelines.task import Built, Metric, Teacher
from pipelines.transfer.sources import sha256

Divergence = Callable[[Any, Any, float], Any]
"""(answers of the teacher, of the student, temperature) -> how far they are apart, a number for each weight."""


@dataclass(frozen=True)
class Lineage:
    """Who taught a model, for the manifest."""

    source: str
    files: dict[str, str]
    """sha256 of the model's file."""
    score: dict[str, Any]
    """Its headline on its own test split: name, value, low, high."""


def load_teacher(source: str, task_name: str) -> tuple[Teacher, Lineage]:
    """The model of a finished run.

    Raises:
        DataError: its files are damaged.
    """
    run = Run(Path(source))
    try:
        model, assets = load_model(run)
        config, metrics = read_settings(run, task_name), run.read_json("metrics.json")
    except StateError as error:
        raise DataError(f"teacher: {error}") from error
    file, headline = run.model / "model.keras", metrics["headline"]
    lineage = Lineage(source, {str(file): sha256(file)}, {"name": headline, **metrics["scores"][headline]})
    return Teacher(source, model, config, assets), lineage


def check_lineage(known: dict[str, Any] | None, lineage: Lineage) -> None:
    """See that a run that goes on has the teacher that it began with.

    Raises:
        StateError: it has another.
    """
    if known is not None and known["files"] != asdict(lineage)["files"]:
        raise StateError(
            f"teacher: the model in {lineage.source} is another than when this run began: restore it, or start a new "
            "run."
        )


def places_of(there: Sequence[str], here: Sequence[str], source: str) -> list[int]:
    """Where each of the student's outputs stands among those of the teacher, by name.

    Raises:
        ConfigError: they do not answer the same.
    """
    lacking, besides = ([name for name in one if name not in set(two)] for one, two in ((here, there), (there, here)))
    if lacking or besides:
        what = [f"{verb} {_listed(names)}" for verb, names in (("lacks", lacking), ("also has", besides)) if names]
        raise ConfigError(
            f"teacher: {source} answers other classes than the data have (it {' and '.join(what)}): choose a run of "
            "the same classes."
        )
    return [list(there).index(name) for name in here]


def distilled(built: Built, guide: keras.Model, divergence: Divergence, config: RunConfig) -> Built:
    """A model whose outputs are [the student's, the teacher's], trained by both the truth and the teacher; what is kept
    of it is the student.

    The loss is (1 - w) own + w T^2 divergence, where T^2 keeps the share of its gradient whatever the temperature.

    Args:
        built: the student.
        guide: the teacher, with the student's inputs and outputs; it is frozen.
        divergence: between the answers of both.
        config: `teacher_temperature` is T, and `teacher_weight` is w.
    """
    student, temperature, share = built.model, config.teacher_temperature, config.teacher_weight
    inputs = keras.tree.map_structure(
        lambda one: keras.Input(batch_shape=one.shape, dtype=one.dtype, name=one.name), student.input
    )

    def loss(y: Any, outputs: Any) -> Any:
        answers, wanted = outputs
        apart = divergence(wanted, answers, temperature)
        return (1 - share) * built.loss(y, answers) + share * temperature**2 * apart

    model = keras.Model(inputs, [student(inputs), Frozen(guide)(inputs)], name=student.name)
    metrics = {
        name: replace(metric, function=partial(_of_the_student, metric)) for name, metric in built.metrics.items()
    }
    return replace(built, model=model, whole=student, loss=loss, metrics=metrics, cacheable=False)


class Frozen(keras.layers.Layer):
    """A model as it predicts, even while what it stands in is trained.

    `training=False` at a call of a model inside another does not hold where the outer one is called with True
    (https://github.com/keras-team/keras/issues/20285): here it is said anew in each call. Dropout needs that; batch
    norms stay as they are because nothing in it is trainable.
    """

    def __init__(self, model: keras.Model) -> None:
        super().__init__(name="teacher", trainable=False, autocast=False)
        self.model = model
        for layer in model._flatten_layers():
            layer.trainable = False

    def call(self, x: Any) -> Any:
        """The model's outputs; no gradient goes through."""
        return keras.ops.stop_gradient(self.model(x, training=False))


def class_divergence(teacher: Any, student: Any, temperature: float) -> Any:
    """float32 [...]: KL(teacher || student) of the softened probabilities of classes, from logits [..., classes]."""
    wanted, found = (keras.ops.log_softmax(logits / temperature, axis=-1) for logits in (teacher, student))
    return keras.ops.sum(keras.ops.exp(wanted) * (wanted - found), axis=-1)


def label_divergence(teacher: Any, student: Any, temperature: float) -> Any:
    """float32 [...]: the mean over labels, each there or not, of KL(teacher || student), from logits [..., labels]."""
    wanted, found = teacher / temperature, student / temperature
    there = keras.ops.sigmoid(wanted) * (keras.ops.softplus(-found) - keras.ops.softplus(-wanted))
    not_there = keras.ops.sigmoid(-wanted) * (keras.ops.softplus(found) - keras.ops.softplus(wanted))
    return keras.ops.mean(there + not_there, axis=-1)


def _of_the_student(metric: Metric, y: Any, outputs: Any) -> Any:
    return metric.function(y, outputs[0])


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
