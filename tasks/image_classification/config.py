"""Settings for image classification. Imports no TensorFlow."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipelines.config import RunConfig, setting
from pipelines.config.values import BatchSize
from tasks.image_classification.networks import NETWORKS, OWN, PRESET, check_backbone


class Config(RunConfig):
    """What can be set for image classification."""

    batch_size: BatchSize = setting(
        64,
        "Examples of one update, over all devices; auto: the largest that fits, found by trying (docs/devices.md).",
        group="training",
    )
    learning_rate: float = setting(
        3e-3,
        "Peak learning rate; by default a tenth of this where layers of pretrained weights are trained from the first "
        "step (unfreeze all or last:N).",
        group="training",
        gt=0,
    )
    weight_decay: float = setting(
        0.05, "Decoupled weight decay; biases and norms are left alone.", group="training", ge=0
    )
    multi_label: bool = setting(
        False, "Images of a table have any number of labels each, in one column; none is none of them.", group="data"
    )
    label_separator: str = setting("|", "What stands between the labels of an image in a text table.", group="data")
    image_size: int | None = setting(
        None,
        "Side of the square the model sees; by default that of the pretrained weights, or the images' own if all alike "
        "and at most 64, else 96.",
        group="model",
        ge=8,
        le=1024,
    )
    color: Literal["auto", "grey", "rgb"] = setting(
        "auto", "Channels the model sees; auto: as the data has.", group="model"
    )
    backbone: Annotated[str, AfterValidator(check_backbone)] = setting(
        "cnn",
        "cnn (a small residual network), mlp, lenet, alexnet, or a network of keras.applications, as MobileNetV2; a "
        "KerasHub preset is named with --pretrained.",
        group="model",
    )
    width: int = setting(32, "Channels of the first stage of cnn.", group="model", ge=4, le=512)
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = setting(
        (128, 64), "Units of the hidden layers of mlp.", group="model"
    )
    dropout: float = setting(0.0, "Share of features dropped before the last layer.", group="model", ge=0, lt=1)
    augment: Literal["auto", "none", "flip", "crop", "flip-crop"] = setting(
        "auto",
        "How training images are varied; auto: flip-crop in colour, crop in grey, where mirrored signs would mislead.",
        group="data",
    )
    rand_augment: int | None = setting(
        None, "Operations of RandAugment on each training image, after augment.", group="data", ge=1, le=5
    )
    rand_magnitude: float = setting(
        9.0, "How strong they are; 10 is as strong as in AutoAugment.", group="data", ge=0, le=10
    )
    erasing: float = setting(
        0.0, "Share of the training images of which a random rectangle is painted over.", group="data", ge=0, le=1
    )
    mixup: float | None = setting(
        None, "Blend each training image with another, by shares from Beta(this, this).", group="data", gt=0, le=100
    )
    cutmix: float | None = setting(
        None,
        "Put a square of another image into each training image, sized by Beta(this, this); with mixup: into half.",
        group="data",
        gt=0,
        le=100,
    )
    loss: Literal["cross-entropy", "focal"] = setting(
        "cross-entropy", "What is minimised; focal: examples that are right already count less.", group="training"
    )
    focal_gamma: float = setting(
        2.0, "How much less: the power of focal, of which 0 is cross-entropy.", group="training", ge=0, le=10
    )
    label_smoothing: float = setting(0.0, "Share of the target spread over all classes.", group="training", ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = setting(
        "none", "balanced: every class counts the same in the loss, however rare.", group="training"
    )
    top_k: int = setting(5, "The k of top-k accuracy and of the labels listed by predict.", group="model", ge=1)
    baseline_iterations: int = setting(
        100, "Most iterations of the logistic regression beside the model.", group="training", ge=1
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        network = NETWORKS.get(self.backbone)
        if network and self.image_size is not None and self.image_size < network.least:
            raise ValueError(
                f"image_size {self.image_size} is too small for backbone {network.name}: {network.least} at least"
            )
        one_network = self.pretrained == "imagenet" or (self.pretrained or "").endswith(".h5")
        if one_network and self.backbone in (*OWN, PRESET):
            raise ValueError(
                f"pretrained {self.pretrained} is for a network of keras.applications, not for backbone "
                f"{self.backbone}: name the network with backbone, as MobileNetV2"
            )
        if self.backbone == PRESET and self.pretrained is None:
            raise ValueError("backbone preset is the network of a KerasHub preset: name it with pretrained")
        return self

    @model_validator(mode="after")
    def _weighable(self) -> Self:
        if self.multi_label and self.class_weights != "none":
            raise ValueError("class_weights are for one label an image: with multi_label choose loss focal")
        return self
