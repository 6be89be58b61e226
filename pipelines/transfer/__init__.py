"""Starting from what others trained: weights taken over, layers frozen, low-rank updates.

`sources` says what `--pretrained` names, `files` and `presets` fetch it, `matching` takes a run's variables over,
`freezing` and `lora` choose what is trained.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.config import RunConfig
from pipelines.task import Assets, Built
from pipelines.transfer.sources import Origin, check_source, kind_of, sha256

__all__ = ["Origin", "check_source", "kind_of", "prepare"]


def prepare(
    built: Built, config: RunConfig, assets: Assets, say: Callable[[str], None], *, load: bool
) -> Origin | None:
    """Make a newly built model what the transfer settings ask for.

    Args:
        built: its model is changed in place.
        config: the resolved settings.
        assets: those of the data.
        say: told what happens.
        load: take the weights over, at the start of a training; else they are restored from the run itself.

    Returns:
        What was taken over.
    """
    origin = _load(built, config, assets, say) if load and config.pretrained is not None else None
    if built.head is None:
        return origin
    from pipelines.transfer.freezing import backbone_layers, freeze, freeze_norms

    layers = backbone_layers(built.model, built.head)
    trained = freeze(layers, config.unfreeze)
    if config.pretrained is not None and not config.train_norms:
        freeze_norms(trained)
    return origin


def _load(built: Built, config: RunConfig, assets: Assets, say: Callable[[str], None]) -> Origin:
    from pipelines.transfer.files import fetch, load_file

    source = str(config.pretrained)
    kind = kind_of(source)
    path = fetch(built.published[source](), say) if kind == "published" else Path(source)
    load_file(built.network, path, built.model.name)
    return _described(built, source, kind, path)


def _described(built: Built, source: str, kind: Any, path: Path) -> Origin:
    taken = {id(variable) for variable in built.network.weights} if built.network is not None else set()
    weights = built.model.weights
    return Origin(
        source,
        kind,
        {str(path): sha256(path)},
        taken=[variable.path for variable in weights if id(variable) in taken],
        new=[variable.path for variable in weights if id(variable) not in taken],
    )
