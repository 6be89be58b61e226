"""What the run to start from, and the data, imply for the settings that were left out."""

from pipelines.artefact import with_model_of
from pipelines.task import Assets, Data
from tasks.time_series_forecasting.config import Config

_OF_THE_MODEL = ("backbone", "head", "reversible", "kernel", "patch_length", "patch_stride") + (
    *("width", "layers", "heads", "feedforward", "dropout", "lookback"),
)


def imply(config: Config) -> Config:
    """The config with the model of the run that `pretrained` names, where it was not set."""
    return with_model_of(config, "time-series-forecasting", _OF_THE_MODEL)


def resolve(config: Config, data: Data) -> Config:
    """What the run to start from decides is filled in first, then what the data decides."""
    return decide(imply(config), data.assets)


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
