"""Files of weights: found, downloaded, and read as arrays only."""

import hashlib
import os
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import keras
import numpy as np

from pipelines.errors import ConfigError, DataError
from pipelines.task import Download

_SECONDS = 30
"""Without an answer for that long, a download has failed."""
_CHUNK = 1 << 20


class _AskedError(Exception):
    def __init__(self, download: Download) -> None:
        super().__init__(download.url)
        self.download = download


def published_file(build: Callable[[], Any]) -> Download:
    """The file that a function of keras.applications would download, without downloading it.

    Only those functions know it, and they ask keras.utils.get_file for it (Keras 3.15; a test holds this for all).
    """

    def ask(name: str, url: str, **settings: Any) -> None:
        raise _AskedError(Download(name, url, settings.get("file_hash") or settings.get("md5_hash")))

    with mock.patch("keras.src.utils.file_utils.get_file", ask):
        try:
            build()
        except _AskedError as asked:
            return asked.download
    raise AssertionError("Keras did not ask for a file: was its keras.applications changed?")


def fetch(download: Download, say: Callable[[str], None]) -> Path:
    """The file in Keras' cache, downloaded where it is missing.

    Raises:
        DataError: it cannot be had, or is not what was published.
    """
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    file = folder / download.name
    if not file.is_file():
        say(f"pretrained: downloading {download.url} …")
        aside = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with urllib.request.urlopen(download.url, timeout=_SECONDS) as answer, aside.open("wb") as opened:
                while chunk := answer.read(_CHUNK):
                    opened.write(chunk)
            _check_digest(aside, download)
            aside.replace(file)
        except OSError as error:
            raise DataError(
                f"pretrained: {download.name} cannot be downloaded ({getattr(error, 'reason', error)}). Offline: fetch "
                f"{download.url} elsewhere and put it into {folder}, or name the file itself with --pretrained."
            ) from error
        finally:
            aside.unlink(missing_ok=True)
    _check_digest(file, download)
    return file


def load_file(network: keras.Model | None, path: Path, name: str) -> None:
    """Put a file's arrays into the network that they were saved from.

    Args:
        network: None where the model has none.
        path: .weights.h5 of Keras 3, or the older .h5 of weights.
        name: how errors call the network.

    Raises:
        DataError: the file is damaged.
        ConfigError: it is of another network.
    """
    if network is None:
        raise ConfigError(
            f"pretrained: {path} holds weights of one network, and backbone {name} is none that was published: "
            "name the network that they belong to with --backbone."
        )
    if not h5py.is_hdf5(path):
        raise DataError(f"pretrained: {path} is no HDF5 file, or a damaged one: fetch it again.")
    _check_weights_alone(path)
    # Keras only warns of layers that it finds nothing for. What is no number afterwards was not loaded.
    for variable in network.weights:
        variable.assign(np.full(variable.shape, np.nan))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            network.load_weights(str(path))
        missing = [v.path for v in network.weights if not np.isfinite(keras.ops.convert_to_numpy(v)).all()]
        reason = f"nothing usable for {missing[0]}" if missing else None
    except (ValueError, KeyError) as error:
        reason = _why(error)
    except (OSError, RuntimeError) as error:  # RuntimeError: what h5py makes of an HDF5 that is damaged inside
        raise DataError(f"pretrained: {path} cannot be read ({_why(error)}): fetch it again.") from error
    if reason:
        _check_whole(path)
        raise ConfigError(
            f"pretrained: {path} does not hold the weights of {name} without its top ({reason}): "
            "name the network that they belong to with --backbone."
        )


def _check_weights_alone(path: Path) -> None:
    """Raises ConfigError where the file is a whole model of the old format, which can hold code."""
    with h5py.File(path) as file:
        if "model_config" in file.attrs:
            raise ConfigError(
                f"pretrained: {path} is a whole model in the old HDF5 format, which can hold code: save its weights "
                "alone, model.save_weights('NAME.weights.h5'), and name that file."
            )


def _check_whole(path: Path) -> None:
    """See that what is missing is not just unreadable.

    Raises:
        DataError: a part of the file cannot be read.
    """

    def read(name: str, part: Any) -> None:
        if isinstance(part, h5py.Dataset):
            _ = part[()]

    try:
        with h5py.File(path) as file:
            file.visititems(read)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DataError(f"pretrained: {path} is damaged ({_why(error)}): fetch it again.") from error


def _why(error: Exception) -> str:
    """The reason in one line. Of all that it could not load, Keras gives that of one after an empty line."""
    said = str(error.args[0] if isinstance(error, KeyError) and error.args else error) or type(error).__name__
    head, _, rest = said.strip().partition("\n\n")
    return (rest if head.endswith(":") and rest else head).splitlines()[0].rstrip(".: ")


def _check_digest(file: Path, download: Download) -> None:
    if download.digest is None:
        return
    method = "md5" if len(download.digest) == 32 else "sha256"
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, method).hexdigest()
    if found != download.digest:
        raise DataError(
            f"pretrained: {file} is not the file that was published (its {method} is {found}, not {download.digest}): "
            "delete it and fetch it again."
        )
