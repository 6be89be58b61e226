"""The classifier: pixels from 0 to 255 in, a logit for each class out."""

from functools import partial

import keras

from pipelines.losses import classification_loss, correct, label_f1, multilabel_loss
from pipelines.task import Assets, Built, Head, Metric
from tasks.image_classification.augmentation import varies
from tasks.image_classification.backbones import build_features
from tasks.image_classification.config import Config
from tasks.image_classification.encoding import channels_of


def build_model(config: Config, assets: Assets) -> Built:
    """A classifier of uint8 [batch, size, size, channels] into logits [batch, classes]."""
    size = config.image_size
    assert size is not None
    inputs = keras.Input((size, size, channels_of(config)), dtype="uint8", name="pixels")
    features = build_features(inputs, config, size)
    x = features.output
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, seed=config.seed, name="dropout")(x)
    logits = keras.layers.Dense(len(assets["classes"]), dtype="float32", name="logits")(x)
    model = keras.Model(inputs, logits, name=features.name or config.backbone)
    gamma = config.focal_gamma if config.loss == "focal" else 0.0
    loss = multilabel_loss if config.multi_label else classification_loss
    metrics = {"label_f1": Metric(label_f1)} if config.multi_label else {"accuracy": Metric(correct)}
    loss = partial(loss, smoothing=config.label_smoothing, gamma=gamma)
    head = Head(("dropout", "logits"), units="classes")
    return Built(model, loss, metrics, head=head, cacheable=not varies(config), **features.about)
