"""KerasHub presets of backbones: opened, built for another input, their files and licence. The package is an extra.
`text_presets` opens those that see texts."""

import difflib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import yaml

from pipelines.errors import ConfigError, DataError, SixfoldError
from pipelines.transfer.sources import PUBLISHED, sha256

_READ = (".json", ".h5", ".safetensors", ".txt", ".spm", ".model")
_LICENCE_KEYS = ("license", "licence")
WEIGHT_FILES = "config.json and model.weights.h5"
IMAGE_FILES = "config.json, model.weights.h5 and image_converter.json"


@dataclass(frozen=True)
class ImagePreset:
    """The network of a preset and how its pixels are scaled: times `factor`, plus `offset`."""

    network: keras.Model
    """With random weights."""
    factor: Any
    """One number, or one a channel."""
    offset: Any
    size: int | None
    """Side of the images, in pixels, that it was trained on; None where the preset does not say."""

    def resized(self, size: int) -> keras.Model:
        """The network for images of another size, with random weights.

        Raises:
            ConfigError: it cannot be built for that size.
        """
        config = self.network.get_config()
        key = "image_shape" if "image_shape" in config else "input_shape"
        shape = (size, size, config[key][-1])
        try:
            return type(self.network).from_config({**config, key: shape})
        except Exception as error:  # whatever a network's constructor makes of a size that it cannot take
            raise ConfigError(
                f"image_size {size}: {type(self.network).__name__} cannot be built for it ({_first_line(error)}): "
                f"choose another{f', as {self.size}' if self.size else ''}."
            ) from error


def check_preset(source: str, setting: str = "pretrained") -> None:
    """See that a name, which the setting gives, is known.

    Raises:
        ConfigError: it is not, or KerasHub is not installed.
    """
    hub = keras_hub(setting)
    known = hub.models.Backbone.presets
    if "://" in source or Path(source).is_dir() or source in known:
        return
    near = difflib.get_close_matches(source, [*PUBLISHED, *known], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ConfigError(
        f"{setting}: there is no file or folder {source}, and KerasHub {hub.__version__} knows no preset of that "
        f"name: {hint}https://keras.io/keras_hub/presets lists them."
    )


def image_preset(source: str) -> ImagePreset:
    """The network of a preset that sees images.

    Raises:
        ConfigError: there is no such preset, or it is not for images.
        DataError: it cannot be had.
    """
    check_preset(source)
    with opening(source, IMAGE_FILES):
        backbone = keras_hub().models.Backbone.from_preset(source, load_weights=False)
    if len(backbone.inputs) != 1 or len(backbone.inputs[0].shape) != 4:
        raise ConfigError(
            f"pretrained: {source} holds a {type(backbone).__name__}, which does not see images alone: choose a preset "
            "of an image classifier's backbone."
        )
    with opening(source, IMAGE_FILES):
        converter = keras_hub().layers.ImageConverter.from_preset(source)
    size = converter.image_size[0] if converter.image_size else backbone.inputs[0].shape[1]
    one = 1.0 if converter.scale is None else converter.scale
    return ImagePreset(backbone, one, 0.0 if converter.offset is None else converter.offset, size)


def load_preset(source: str) -> keras.Model:
    """The backbone with its weights.

    Raises:
        DataError: it cannot be had.
    """
    check_preset(source)
    with opening(source, WEIGHT_FILES):
        return keras_hub().models.Backbone.from_preset(source)


def preset_files(source: str) -> dict[str, str]:
    """sha256 of the files that lie in a preset's folder, downloaded or local."""
    folder = _folder(source)
    files = [*folder.iterdir(), *folder.glob("assets/tokenizer/*")]
    return {str(file): sha256(file) for file in sorted(files) if file.is_file() and file.suffix in _READ}


def preset_licence(source: str) -> str | None:
    """As the preset's metadata or the head of its README states it; None where neither does."""
    folder = _folder(source)
    try:
        metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
    except (OSError, ValueError):
        metadata = {}
    try:
        _, head, _ = (_besides(source, "README.md").read_text("utf-8") + "\n---\n---").split("---\n", 2)
        front = yaml.safe_load(head)
    except (OSError, ValueError, yaml.YAMLError):
        front = {}
    for found in (metadata, front):
        stated = [found[key] for key in _LICENCE_KEYS if key in found] if isinstance(found, dict) else []
        if stated:
            return str(stated[0])
    return None


def averages_tokens(source: str) -> bool:
    """Whether a preset was trained to answer with the mean over its tokens, as sentence transformers say of
    themselves."""
    try:
        about = json.loads(_besides(source, "1_Pooling/config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and bool(about.get("pooling_mode_mean_tokens"))


def _besides(source: str, name: str) -> Path:
    """A file of a preset that it does without; from Hugging Face it comes only when it is asked for."""
    if source.startswith("hf://"):
        from keras_hub.src.utils.preset_utils import get_file

        return Path(get_file(source, name))
    return _folder(source) / name


def _folder(source: str) -> Path:
    """Where a preset's files lie. Only a private function of KerasHub (0.32) knows where it has put them."""
    if Path(source).is_dir():
        return Path(source)
    from keras_hub.src.utils.preset_utils import get_file

    return Path(get_file(source, "config.json")).parent


def keras_hub(setting: str = "pretrained") -> Any:
    """The package.

    Raises:
        ConfigError: it is not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # one error says it, not ten warnings of retries
    try:
        import keras_hub as hub
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{setting}: KerasHub presets need the package {error.name}, the extra [hub]: in a checkout of Sixfold, "
            "pip install -c constraints.txt '.[hub]'."
        ) from error
    return hub


@contextmanager
def opening(source: str, files: str, setting: str = "pretrained") -> Iterator[None]:
    """Whatever KerasHub, Kaggle and Hugging Face raise, as one sentence that names the files that are needed."""
    try:
        if "://" in source:
            _folder(source)  # fails with the true reason, which from_preset drops
        yield
    except SixfoldError:
        raise
    except Exception as error:
        reason = _first_line(_root(error))
        if Path(source).is_dir():
            raise DataError(
                f"{setting}: the preset in {source} cannot be opened ({reason}): it needs {files}, as KerasHub saves "
                "them."
            ) from error
        raise DataError(
            f"{setting}: the preset {source} cannot be had ({reason}). Offline: fetch its folder "
            f"elsewhere ({_page(source)}: {files}), copy it here, and name the folder with "
            f"--{setting.replace('_', '-')}."
        ) from error


def _page(source: str) -> str:
    """Where a person finds the files of a preset."""
    handle = source if "://" in source else keras_hub().models.Backbone.presets[source]["kaggle_handle"]
    scheme, _, rest = handle.partition("://")
    return f"https://huggingface.co/{rest}" if scheme == "hf" else f"https://www.kaggle.com/models/{rest}"


def _root(error: BaseException) -> BaseException:
    """Where it began: behind what was raised from it, or carries it, as the errors of requests do."""
    inner = [error.__cause__, getattr(error, "reason", None), *error.args[:1]]
    return next((_root(one) for one in inner if isinstance(one, BaseException)), error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")
