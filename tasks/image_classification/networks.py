"""The networks of keras.applications by name: what each expects of its input. Imports no TensorFlow."""

import difflib
from dataclasses import dataclass
from typing import Literal

Scaling = Literal["caffe", "tf", "torch", "own"]
"""How pixels of 0 to 255 become the network's input, in the words of keras.applications; own: the network does it."""

OWN = ("cnn", "mlp", "lenet", "alexnet")
"""The networks that are built here."""
PRESET = "preset"
"""The network that a KerasHub preset holds."""


@dataclass(frozen=True)
class Network:
    """A network of keras.applications."""

    name: str
    scaling: Scaling
    usual: int
    """Side of the images, in pixels, that its published weights were trained on."""
    least: int = 32
    """Smallest side that it can be built for."""
    sized: tuple[int, ...] = ()
    """Sides that have published weights of their own."""
    lora: tuple[str, ...] = ()
    """How the names of its layers end that low-rank updates are for; none: any dense layer."""


def _family(scaling: Scaling, usual: int, *names: str, least: int = 32) -> list[Network]:
    return [Network(name, scaling, usual, least) for name in names]


_MOBILE = (128, 160, 192, 224)
_ALL = [
    *_family("caffe", 224, "VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152"),
    *_family("tf", 224, "ResNet50V2", "ResNet101V2", "ResNet152V2"),
    *_family("torch", 224, "DenseNet121", "DenseNet169", "DenseNet201"),
    *_family("tf", 299, "InceptionV3", "InceptionResNetV2", least=75),
    *_family("tf", 299, "Xception", least=71),
    Network("MobileNet", "tf", 224, sized=_MOBILE),
    Network("MobileNetV2", "tf", 224, sized=(96, *_MOBILE)),
    *_family("own", 224, "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0"),
    *_family("own", 240, "EfficientNetB1"),
    *_family("own", 260, "EfficientNetB2"),
    *_family("own", 300, "EfficientNetB3"),
    *_family("own", 380, "EfficientNetB4"),
    *_family("own", 456, "EfficientNetB5"),
    *_family("own", 528, "EfficientNetB6"),
    *_family("own", 600, "EfficientNetB7"),
    *_family("own", 224, "EfficientNetV2B0"),
    *_family("own", 240, "EfficientNetV2B1"),
    *_family("own", 260, "EfficientNetV2B2"),
    *_family("own", 300, "EfficientNetV2B3"),
    *_family("own", 384, "EfficientNetV2S"),
    *_family("own", 480, "EfficientNetV2M", "EfficientNetV2L"),
    *[
        Network(f"ConvNeXt{size}", "own", 224, lora=("pointwise_conv_1", "pointwise_conv_2"))
        for size in ("Tiny", "Small", "Base", "Large", "XLarge")
    ],
    *_family("tf", 224, "NASNetMobile"),
    *_family("tf", 331, "NASNetLarge"),
]
NETWORKS = {network.name: network for network in _ALL}


def check_backbone(value: str) -> str:
    """The network's name as it is written here.

    Raises:
        ValueError: there is none; the nearest is named.
    """
    known = {name.lower(): name for name in (*OWN, PRESET, *NETWORKS)}
    wanted = value.lower().replace("-", "").replace("_", "")
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    hint = f"did you mean {known[near[0]]}? " if near else ""
    raise ValueError(
        f"there is no such network; {hint}There are {', '.join(OWN)}, and those of keras.applications, "
        "as MobileNetV2 or EfficientNetB0; a KerasHub preset is named with pretrained"
    )
