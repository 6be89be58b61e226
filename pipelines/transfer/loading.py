"""Weights from each kind of source into a newly built model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras

from pipelines.devices.steps import kept_model
from pipelines.errors import ConfigError, DataError, StateError
from pipelines.runs import Run
from pipelines.task import Assets, Built, Head
from pipelines.transfer.files import fetch, load_file
from pipelines.transfer.freezing import backbone_layers, owners
from pipelines.transfer.matching import Matched, align, take_head, take_over, take_rows
from pipelines.transfer.sources import Origin, kind_of, sha256


def take_weights(built: Built, source: str, assets: Assets, say: Callable[[str], None]) -> Origin:
    """Put what the source holds into the model.

    Raises:
        ConfigError: it does not fit the model.
        DataError: it cannot be had, or is damaged.
    """
    kind = kind_of(source)
    if kind == "run":
        return _from_run(built, source, assets)
    if kind == "preset":
        return _from_preset(built, source)
    path = fetch(built.published[source](), say) if kind == "published" else Path(source)
    load_file(built.network, path, built.model.name)
    inside = {id(variable) for variable in built.network.weights} if built.network is not None else set()
    taken = [variable.path for variable in built.model.weights if id(variable) in inside]
    origin = Origin(source, kind, {str(path): sha256(path)}, taken=taken)
    return replace(origin, new=_outside(built.model, taken))


def _from_preset(built: Built, source: str) -> Origin:
    from pipelines.transfer.presets import load_preset, preset_files, preset_licence

    assert built.network is not None
    whole = load_preset(source)
    matched = take_over(align(owners(built.part(whole) if built.part else whole), owners(built.network)))
    if not matched.taken:
        raise ConfigError(f"pretrained: nothing of {source} fits {built.model.name}.")
    new = _outside(built.model, matched.taken + [note.partition(" ")[0] for note in matched.resized])
    files, licence = preset_files(source), preset_licence(source)
    return Origin(source, "preset", files, licence, matched.taken, matched.resized, new)


def _from_run(built: Built, source: str, assets: Assets) -> Origin:
    """A warm start from another run of the task."""
    from pipelines.artefact import load_model

    run, head, ours = Run(Path(source)), built.head, kept_model(built)
    if head is None:
        raise ConfigError(
            f"pretrained: a {ours.name} has no head, so that it cannot start from another run: leave it out."
        )
    try:
        model, known = load_model(run)
    except StateError as error:
        raise DataError(f"pretrained: {error}") from error
    matched = take_over(align(backbone_layers(model, head), backbone_layers(ours, head)))
    fits = matched.taken or matched.resized or not backbone_layers(ours, head)
    units = None if head.units is None else (known.get(head.units, []), assets.get(head.units, []))
    top = _of_tables(built, model, known, assets) if built.tables else take_head(model, ours, head, units)
    found = (matched, top) if fits else (matched,)
    merged = Matched(*([v for one in found for v in getattr(one, part)] for part in ("taken", "resized", "new")))
    if not merged.taken and not merged.resized:
        raise ConfigError(
            f"pretrained: nothing of {source} fits: its model is {_shape(model, head)}, and this one "
            f"{_shape(ours, head)}. Leave the settings of the model out, so that they are taken from there."
        )
    files = {str(file): sha256(file) for file in (run.model / "model.keras",)}
    return Origin(source, "run", files, None, merged.taken, merged.resized, merged.new)


def _of_tables(built: Built, model: keras.Model, known: Assets, assets: Assets) -> Matched:
    """The rows of embeddings that both models have, by their names."""
    names = {layer: (known.get(asset, []), assets[asset]) for layer, asset in built.tables.items()}
    return take_rows(model, kept_model(built), names)


def _outside(model: keras.Model, inside: list[str]) -> list[str]:
    known = set(inside)
    return [variable.path for variable in model.weights if variable.path not in known]


def _shape(model: keras.Model, head: Head) -> str:
    layers = backbone_layers(model, head)
    shapes = ", ".join(str(tuple(one.shape[1:])) for one in model.inputs)
    return f"{model.name} ({len(layers)} layers with weights, input {shapes})"
