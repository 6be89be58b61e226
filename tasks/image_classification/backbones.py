"""The networks without their head: scaled pixels in, features out."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from pipelines.artefact import load_model
from pipelines.runs import Run
from pipelines.task import Built, Download
from pipelines.transfer import kind_of
from pipelines.transfer.files import published_file
from pipelines.transfer.freezing import head_layers
from pipelines.transfer.presets import ImagePreset, image_preset
from tasks.image_classification.config import Config
from tasks.image_classification.networks import NETWORKS, PRESET, Network

_LARGEST_STAGE = 48
"""Side above which cnn first halves the image: beyond it the first stage would cost more than all the others."""

_MULTI_HEAD = ("query", "key", "value", "attention_output")
_ATTENTION = {
    "ViTBackbone": _MULTI_HEAD,
    "DeiTBackbone": _MULTI_HEAD,
    "DINOV2Backbone": _MULTI_HEAD,
    "DINOV3Backbone": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "SwinTransformerBackbone": ("attention_qkv", "attention_projection"),
}
"""How KerasHub 0.32 names the projections of attention. In the others, as MiT, all dense layers are updated."""
_CLASS_TOKEN = ("ViTBackbone", "DeiTBackbone", "DINOV2Backbone", "DINOV3Backbone")
"""Backbones whose first token stands for the image."""

# Of ImageNet's pixels, in the order red, green, blue; keras.applications.imagenet_utils has the same.
_CAFFE_MEAN = (123.68, 116.779, 103.939)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Features:
    """What a backbone makes of pixels."""

    output: Any
    """[batch, features]."""
    about: dict[str, Any] = field(default_factory=dict)
    """What Built says of a network that others trained: network, published, lora."""
    name: str | None = None
    """The network's, where the setting does not name it."""


def build_features(pixels: Any, config: Config, size: int) -> Features:
    """The features of uint8 [batch, size, size, channels]."""
    network = NETWORKS.get(config.backbone)
    if config.backbone == PRESET:
        return _preset_features(pixels, str(config.pretrained), size)
    if network is None:
        x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(pixels)
        return Features(_BACKBONES[config.backbone](x, config))
    model = build_network(network, size)
    about = {"network": model, "published": published(network, size), "lora": network.lora}
    return Features(model(scaled(pixels, network)), about)


def feature_map(pixels: Any, built: Built, config: Config) -> Any:
    """What the network of a built model makes of pixels before it pools them: [batch, height, width, channels]; of one
    without places (mlp, a vision transformer) its features, [batch, features]."""
    network = NETWORKS.get(config.backbone)
    if network is not None:
        assert built.network is not None
        return keras.Model(built.network.input, _last_map(built.network))(scaled(pixels, network))
    assert built.head is not None
    features = head_layers(built.model, built.head)[0].input
    found = _last_map(built.model)
    return keras.Model(built.model.input, features if found is None else found)(pixels)


def _last_map(model: keras.Model) -> Any:
    """The output of the last layer that has places, of those that stand on weights."""
    first = next(place for place, layer in enumerate(model.layers) if layer.weights)
    outputs = [layer.output for layer in model.layers[first:]]
    maps = [output for output in outputs if len(getattr(output, "shape", ())) == 4]
    return maps[-1] if maps else None


def build_network(network: Network, size: int) -> keras.Model:
    """A network of keras.applications with random weights: its scaled input [batch, size, size, 3] -> its pooled
    features [batch, features].

    Batch norms are shared between replicas where the backend can.
    """
    build = getattr(keras.applications, network.name)
    model = build(include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg")
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = keras.backend.backend() == "tensorflow"
    return model


def preset_of(source: str) -> ImagePreset:
    """The preset that --pretrained names, or the one that the run it names began with."""
    if kind_of(source) == "preset":
        return image_preset(source)
    model, _ = load_model(Run(Path(source)))
    network = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    scale = model.get_layer("scale")
    return ImagePreset(network, scale.scale, scale.offset, model.input_shape[1])


def _preset_features(pixels: Any, source: str, size: int) -> Features:
    """The pooled features of a KerasHub backbone: the class token where it has one, else the mean over places."""
    preset = preset_of(source)
    network = preset.resized(size)
    x = scale(colour(pixels), preset.factor, preset.offset)
    x = network(dict.fromkeys(network.input, x) if isinstance(network.input, dict) else x)
    x = list(x.values())[-1] if isinstance(x, dict) else x
    kind = type(network).__name__
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    elif kind in _CLASS_TOKEN and getattr(network, "use_class_token", True):
        x = x[:, 0]
    else:
        x = keras.layers.GlobalAveragePooling1D(name="features")(x)
    return Features(x, {"network": network, "lora": _ATTENTION.get(kind, ())}, kind)


def scaled(pixels: Any, network: Network) -> Any:
    """The network's own preprocessing, in stock layers and float32: uint8 [batch, size, size, 1 or 3] -> [..., 3]."""
    return scale(colour(pixels), *_SCALES[network.scaling], flipped=network.scaling == "caffe")


def colour(pixels: Any) -> Any:
    """Grey three times, as published networks see colour only."""
    return keras.layers.Concatenate(name="colour")([pixels] * 3) if pixels.shape[-1] == 1 else pixels


def scale(pixels: Any, factor: Any, offset: Any, *, flipped: bool = False) -> Any:
    """Pixels times a factor plus an offset, each one number or one a channel; flipped: blue first, then."""
    x = keras.layers.Rescaling(factor, offset, dtype="float32", name="scale")(pixels)
    return keras.ops.flip(x, axis=-1) if flipped else x


def published(network: Network, size: int) -> Mapping[str, Callable[[], Download]]:
    """Weights of ImageNet, as Keras would load them for this network at this size."""
    side = size if size in network.sized else network.usual

    def ask() -> Download:
        build = getattr(keras.applications, network.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return published_file(lambda: build(include_top=False, weights="imagenet", input_shape=(side, side, 3)))

    return {"imagenet": ask}


_SCALES: dict[str, tuple[Any, Any]] = {
    "tf": (1 / 127.5, -1.0),
    "torch": (
        [1 / (255 * deviation) for deviation in _TORCH_DEVIATION],
        [-mean / deviation for mean, deviation in zip(_TORCH_MEAN, _TORCH_DEVIATION, strict=True)],
    ),
    "caffe": (1.0, [-mean for mean in _CAFFE_MEAN]),
    "own": (1.0, 0.0),
}


def _cnn(x: Any, config: Config) -> Any:
    """A residual network of three stages (He et al., 2016), wider and shallower than ResNet-20: faster on CPUs, no
    worse here."""
    width = config.width
    x = _convolution(x, width, 2 if x.shape[1] > _LARGEST_STAGE else 1)
    while x.shape[1] > _LARGEST_STAGE:
        x = _residual(x, width)
    x = _residual(x, 2 * width)
    x = _residual(x, 4 * width)
    return keras.layers.GlobalAveragePooling2D(name="features")(x)


def _mlp(x: Any, config: Config) -> Any:
    x = keras.layers.Flatten(name="flat")(x)
    for place, units in enumerate(config.hidden, 1):
        x = keras.layers.Dense(units, activation="relu", name=f"hidden_{place}")(x)
    return x


def _lenet(x: Any, config: Config) -> Any:
    """LeNet-5 (LeCun et al., 1998) with rectifiers and max pooling."""
    for filters in (6, 16):
        x = keras.layers.Conv2D(filters, 5, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
    x = keras.layers.Flatten()(x)
    for units in (120, 84):
        x = keras.layers.Dense(units, activation="relu")(x)
    return x


def _alexnet(x: Any, config: Config) -> Any:
    """AlexNet (Krizhevsky et al., 2012) without its local normalisation; images under 128 pixels skip the stride of
    its first layer."""
    large = x.shape[1] >= 128
    x = keras.layers.Conv2D(96, 11 if large else 5, 4 if large else 1, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D(3, 2, padding="same")(x)
    x = keras.layers.Conv2D(256, 5, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling2D(3, 2, padding="same")(x)
    for filters in (384, 384, 256):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D(3, 2, padding="same")(x))
    for units in (1024, 1024) if not large else (4096, 4096):
        x = keras.layers.Dense(units, activation="relu")(x)
    return x


_BACKBONES = {"cnn": _cnn, "mlp": _mlp, "lenet": _lenet, "alexnet": _alexnet}


def _convolution(x: Any, filters: int, stride: int = 1, activation: str | None = "relu") -> Any:
    """Convolution, norm, activation. The norm is shared between replicas where the backend can."""
    x = keras.layers.Conv2D(filters, 3, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    x = keras.layers.BatchNormalization(momentum=0.9, synchronized=keras.backend.backend() == "tensorflow")(x)
    return keras.layers.Activation(activation)(x) if activation else x


def _residual(x: Any, filters: int) -> Any:
    """Halve the sides by max pooling, then two convolutions beside a 1x1 shortcut."""
    x = keras.layers.MaxPooling2D(2, padding="same")(x)
    y = _convolution(_convolution(x, filters), filters, activation=None)
    shortcut = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal")(x)
    return keras.layers.Activation("relu")(keras.layers.Add()([y, shortcut]))
