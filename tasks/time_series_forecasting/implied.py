"""What the run to start from, and the data, imply for the settings that were left out."""

from pathlib import Path

from pipelines.artefact import read_settings
from pipelines.runs import Run
from pipelines.task import Assets
from tasks.time_series_forecasting.config import Config

_OF_THE_MODEL = ("backbone", "head", "reversible", "kernel", "patch_length", "patch_stride") + (
    *("width", "layers", "heads", "feedforward", "dropout", "lookback"),
)


def imply(config: Config) -> Config:
    """The config with the model of the run that `pretrained` names, where it was not set."""
    if config.pretrained is None:
        return config
    before = read_settings(Run(Path(config.pretrained)), "time-series-forecasting")
    update = {name: getattr(before, name) for name in _OF_THE_MODEL if name not in config.model_fields_set}
    return config.model_copy(update=update)


def decide(config: Config, assets: Assets) -> Config:
    """The config with what the data decides: the backbone, by whether there are covariates or windows to learn from
    first; frequency and season."""
    backbone = config.backbone
    if backbone == "auto":
        backbone = "itransformer" if any(assets["covariates"].values()) else "dlinear"
        if config.pretrain_on is not None:
            backbone = "patchtst"
    frequency = assets["frequency"]
    update = {"backbone": backbone, "frequency": frequency["name"], "season": frequency["season"]}
    return config.model_copy(update=update)
