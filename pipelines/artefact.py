"""The model that a run leaves: saved with its assets, checked, loaded, ready to predict."""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from pipelines import devices, registry
from pipelines.config import RunConfig, load_config
from pipelines.config.options import own_options
from pipelines.errors import ConfigError, StateError
from pipelines.keras_files import check_keras_file
from pipelines.runs import Run, find_run
from pipelines.state import replacing
from pipelines.task import Assets, Predictor, Task

Config = TypeVar("Config", bound=RunConfig)

_LOWER = ("mixed_bfloat16", "mixed_float16", "bfloat16", "float16")


@dataclass(frozen=True)
class Loaded:
    """A finished run, ready to predict."""

    run: Run
    task_name: str
    task: Task
    config: Any
    assets: Assets
    predictor: Predictor


def load_predictor(run_dir: Path, options: dict[str, Any]) -> Loaded:
    """The predictor of a run folder: needs its run.yaml, manifest.json and model/, and no data.

    Raises:
        StateError: the folder is none, or its model is missing, changed or damaged.
        ConfigError: an option is none of the task's.
    """
    run = find_run(run_dir)
    config, asked = read_options(run, options)
    devices.import_backend(config.backend)
    name = run.manifest()["task"]
    task = registry.task(name)
    model, assets = load_model(run)
    return Loaded(run, name, task, config, assets, task.predictor(model, config, assets, asked))


def read_options(run: Run, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The config of a run that is to predict with these options, and the options checked. No model is loaded.

    Raises:
        StateError: the run was cut short, or is damaged.
        ConfigError: an option is none of the task's.
    """
    name = run.manifest()["task"]
    if not (run.model / "model.keras").is_file():
        raise StateError(f"{run.path} holds no model, its run was cut short: go on with sixfold resume {run.path}.")
    config = read_settings(run, name)
    own = own_options(name, options)
    given = {key: value for key, value in options.items() if value is not None and key not in own}
    # Of what is set without having been asked for, the encoding of texts, a task takes what it has.
    unknown = sorted(given.keys() - type(config).model_fields.keys() - {"encoding"})
    if unknown:
        raise ConfigError(f"{name} has no {unknown[0]}, so there is nothing to set: leave it out.")
    config = config.model_copy(update={key: value for key, value in given.items() if key in type(config).model_fields})
    return config, {**given, **own}


def with_model_of(config: Config, task_name: str, settings: Sequence[str]) -> Config:
    """The config with these settings of the run that `pretrained` names, where they were not set. Once they are, as in
    the run.yaml of a run that began with it, that folder may be gone.

    Raises:
        ConfigError: it names none.
        StateError: the run's settings are damaged.
    """
    wanted = [name for name in settings if name not in config.model_fields_set]
    if config.pretrained is None or not wanted:
        return config
    if not Path(config.pretrained).is_dir():
        raise ConfigError(f"pretrained: {config.pretrained} is no folder: name that of a finished run of {task_name}.")
    before = read_settings(Run(Path(config.pretrained)), task_name)
    return config.model_copy(update={name: getattr(before, name) for name in wanted})


def read_settings(run: Run, task_name: str) -> Any:
    """The config that a run folder holds.

    Raises:
        StateError: it is no longer one of this task.
    """
    try:
        return load_config(registry.check_name(task_name), file=run.settings).config
    except ConfigError as error:
        raise StateError(f"{run.settings} is damaged: {error}") from error


def as_own(config: Config, run: Run) -> Config:
    """The config to read a finished run's own data by: what its texts become is in its folder, and what it began with
    may be gone."""
    return config if config.pretrained is None else config.model_copy(update={"pretrained": str(run.path)})


def save_model(run: Run, model: Any, assets: Assets) -> None:
    """model/: model.keras, and a JSON file for each asset."""
    import keras

    run.model.mkdir(exist_ok=True)
    with replacing(run.model / "model.keras") as aside:
        saved = aside.with_name(f"{aside.name}.keras")
        try:
            with _for_one_device(model):
                keras.saving.save_model(model, saved)
            _reproducible(saved, aside)
        finally:
            saved.unlink(missing_ok=True)
    for name, value in assets.items():
        run.write_json(f"model/{name}.json", value)


@contextmanager
def _for_one_device(model: Any) -> Iterator[None]:
    """Norms that are shared between replicas are a matter of training, and keep a model from other backends."""
    shared = [layer for layer in model._flatten_layers() if getattr(layer, "synchronized", False)]
    for layer in shared:
        layer.synchronized = False
    try:
        yield
    finally:
        for layer in shared:
            layer.synchronized = True


def _reproducible(archive: Path, copy: Path) -> None:
    """Write a model again without its times and with its memory addresses counted instead, so that equal models are
    equal files."""

    def version(metadata: Any) -> Any:
        return {"keras_version": metadata["keras_version"]}

    _rewritten(archive, copy, {"metadata.json": version, "config.json": lambda config: _renumbered(config, {})})


def _rewritten(archive: Path, copy: Path, changes: Mapping[str, Callable[[Any], Any]]) -> None:
    """Write a model again with some of its JSON changed, by name."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name in changes:
                content = json.dumps(changes[name](json.loads(content))).encode()
            new.writestr(zipfile.ZipInfo(name), content)


def _renumbered(value: Any, seen: dict[int, int]) -> Any:
    """The same JSON with each shared_object_id, an address in Keras, as its place in the order of appearance."""
    if isinstance(value, list):
        return [_renumbered(one, seen) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: seen.setdefault(one, len(seen)) if name == "shared_object_id" else _renumbered(one, seen)
        for name, one in value.items()
    }


def _widened(value: Any) -> Any:
    """The same JSON with float32 for every lower precision that layers and casts name."""
    if isinstance(value, list):
        return [_widened(one) for one in value]
    if isinstance(value, dict):
        return {name: _widened(one) for name, one in value.items()}
    return "float32" if value in _LOWER else value


def load_model(run: Run, *, in_float32: bool = False) -> tuple[Any, Assets]:
    """The model and its assets, after their checksums.

    Args:
        run: the finished run.
        in_float32: whether its layers are to compute in float32 whatever the run did; they hold float32 in any case.

    Raises:
        StateError: a file differs from what the run wrote, or cannot be read.
    """
    import keras

    expected = run.manifest().get("files", {})
    for name in [name for name in expected if name.startswith("model/") or name == "run.yaml"]:
        found = run.checksum(name)
        if found is None:
            raise StateError(f"{run.path / name} is missing: restore it or train again.")
        if expected[name] != found:
            raise StateError(
                f"{run.path / name} is not the file that the run wrote (its checksum differs): "
                "restore it or train again."
            )
    check_keras_file(run.model / "model.keras", registry.packages())
    try:
        with TemporaryDirectory() as aside:
            file = run.model / "model.keras"
            if in_float32:
                file = Path(aside) / "model.keras"
                _rewritten(run.model / "model.keras", file, {"config.json": _widened})
            model = keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:  # of a crafted file it can be any
        extra = " Install the extra [hub]." if "keras_hub" in str(error) and not find_spec("keras_hub") else ""
        raise StateError(
            f"{run.model / 'model.keras'} cannot be loaded: {str(error).splitlines()[0]}{extra}"
        ) from error
    beside = sorted(run.model.glob("*.json"))
    # What somebody put beside them is none of the run's. A run that is about to end has no checksums yet.
    names = [one.name for one in beside if not expected or f"model/{one.name}" in expected]
    return model, {Path(name).stem: run.read_json(f"model/{name}") for name in names}
