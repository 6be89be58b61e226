"""The parts of one training, each with its own trained layers, learning rate and schedule; and what comes before it.
Imports no TensorFlow."""

from dataclasses import dataclass

from pipelines.config import RunConfig


@dataclass(frozen=True)
class Stage:
    """A part of a training, in epochs of the whole."""

    number: int
    first_epoch: int
    last_epoch: int
    """Up to which it trains, not included."""
    learning_rate: float
    """At its peak."""
    unfreeze: str
    """Which layers of the backbone it trains: none, all, last:N, or top:SHARE."""
    is_final: bool

    @property
    def sentence(self) -> str:
        """For people."""
        layers = {"none": "the head alone", "all": "all layers"}
        what = layers.get(self.unfreeze) or f"the head and the {self.unfreeze.replace(':', ' ')} of the backbone"
        epochs = f"epochs {self.first_epoch + 1} to {self.last_epoch}"
        return f"stage {self.number + 1}: {epochs} train {what}, learning rate {self.learning_rate:g}"


def before(config: RunConfig) -> tuple[RunConfig, Stage]:
    """The pretraining: its settings, and all of it as one stage. It has epochs, a learning rate and a seed of its own
    order of examples; what ends a training early, and what is there against learning labels by heart, is left out."""
    own = {"epochs": config.pretrain_epochs, "learning_rate": config.pretrain_rate}
    off = {"stop_step": None, "max_minutes": None, "patience": None, "average": None, "l1": 0.0, "l2": 0.0}
    settings = config.model_copy(update={**own, **off})
    return settings, Stage(0, 0, settings.epochs, settings.learning_rate, "all", is_final=True)


def plan(config: RunConfig) -> list[Stage]:
    """The stages of a training: one, but for `unfreeze: staged` (Howard & Ruder, 2018): the head first, then equal
    shares of the backbone from the top, in the last stage all of it."""
    if config.unfreeze != "staged":
        return [Stage(0, 0, config.epochs, config.learning_rate, config.unfreeze, is_final=True)]
    count = len(config.stage_rates)
    ends = [round(config.epochs * (number + 1) / count) for number in range(count)]
    names = ["none", *(f"top:{number / (count - 1):.4g}" for number in range(1, count - 1)), "all"]
    return [
        Stage(
            number,
            ends[number - 1] if number else 0,
            ends[number],
            config.learning_rate * config.stage_rates[number],
            names[number],
            is_final=number == count - 1,
        )
        for number in range(count)
    ]
