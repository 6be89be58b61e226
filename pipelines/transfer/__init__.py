"""Starting from what others trained: weights taken over, layers frozen, low-rank updates.

`sources` says what `--pretrained` names, `files` and `presets` fetch it, `matching` takes variables over to a model of
another shape, `freezing` and `lora` choose what is trained, `distillation` puts a teacher beside it.
"""

from collections.abc import Callable
from typing import Any

from pipelines.config import RunConfig
from pipelines.errors import ConfigError
from pipelines.task import Assets, Built
from pipelines.transfer.sources import Origin, check_origin, check_source, check_teacher, kind_of

__all__ = ["Origin", "check_origin", "check_source", "check_teacher", "kind_of", "prepare", "unfreeze"]

Say = Callable[[str], None]


def prepare(built: Built, config: RunConfig, assets: Assets, say: Say, *, load: bool) -> Origin | None:
    """Make a newly built model what the transfer settings ask for.

    Args:
        built: its model is changed in place.
        config: the resolved settings.
        assets: those of the data.
        say: told what happens.
        load: take the weights over, at the start of a training; else they are restored from the run itself.

    Returns:
        What was taken over.

    Raises:
        ConfigError: it does not fit, or leaves new layers that would never be trained.
        DataError: it cannot be had, or is damaged.
    """
    origin = None
    if load and config.pretrained is not None:
        from pipelines.transfer.loading import take_weights

        origin = take_weights(built, config.pretrained, assets, say)
        say(origin.sentence)
        _check_learned(built, config, origin)
    if built.head is not None and config.lora_rank is not None:
        _add_updates(built, config, config.lora_rank, say)
    return origin


def unfreeze(built: Built, config: RunConfig, which: str, say: Say) -> None:
    """Choose the layers that the next stage trains. With low-rank updates that is settled already."""
    from pipelines.devices.steps import kept_model
    from pipelines.transfer.freezing import backbone_layers, freeze, freeze_norms

    if built.head is None or config.lora_rank is not None:
        return
    layers: list[Any] = backbone_layers(kept_model(built), built.head)
    trained = freeze(layers, which)
    if config.pretrained is not None and not config.train_norms:
        freeze_norms(trained)
    if which != "all":
        say(f"unfreeze: {which}: {len(trained)} of the backbone's {len(layers)} layers are trained")


def _check_learned(built: Built, config: RunConfig, origin: Origin) -> None:
    """See that no layer stays frozen as it was made, at random: another size or kind of input can bring some."""
    from pipelines.devices.steps import kept_model
    from pipelines.transfer.freezing import backbone_layers, frozen, weights_of

    if built.head is None or config.unfreeze == "staged" or config.pretrain_on is not None:
        return
    layers: list[Any] = backbone_layers(kept_model(built), built.head)
    kept = len(layers) if config.lora_rank is not None else frozen(layers, config.unfreeze)
    new = set(origin.new)
    random = [layer.name for layer in layers[:kept] if any(variable.path in new for variable in weights_of(layer))]
    if random:
        which = "lora_rank" if config.lora_rank is not None else f"unfreeze {config.unfreeze}"
        raise ConfigError(
            f"{which} would keep {len(random)} layer{'s' * (len(random) > 1)} frozen that {origin.source} has nothing "
            f"for, as {random[0]}: choose the size and the settings of the model that it has, or train them too "
            "(unfreeze all or staged, no lora_rank)."
        )


def _add_updates(built: Built, config: RunConfig, rank: int, say: Say) -> None:
    """Low-rank updates, and nothing else, to what `unfreeze` names. Weights must be in place: see enable_lora."""
    from pipelines.devices.steps import kept_model
    from pipelines.transfer.freezing import backbone_layers, freeze, freeze_norms
    from pipelines.transfer.lora import enable_lora

    assert built.head is not None
    layers: list[Any] = backbone_layers(kept_model(built), built.head)
    trained = freeze(layers, config.unfreeze)
    if config.pretrained is not None and not config.train_norms:
        freeze_norms(trained)
    count = enable_lora(trained, built.lora, rank, built.model.name)
    say(f"lora: updates of rank {rank} to {count} layers")
