"""What the data imply for the settings that were left out. Imports no TensorFlow."""

from typing import Any

from tasks.recommendation.config import Config


def decide(config: Config, origin: dict[str, Any]) -> Config:
    """The config with what the data decide: protocol, backbone, and which of duplicates is kept.

    Args:
        config: as it was set.
        origin: the asset of that name: whether the data are ordered, have times, a test.
    """
    protocol = config.protocol
    if protocol == "auto":
        if origin["given"]:
            protocol = "given"
        elif origin["ordered"]:
            protocol = "leave-last-out"
        else:
            protocol = "time" if origin["times"] else "random"
    backbone = config.backbone
    if backbone == "auto":
        described = config.text_encoder is not None
        backbone = "two-tower" if described else "sasrec" if origin["ordered"] and not config.rates else "mf"
    duplicates = config.duplicates
    if duplicates == "auto":
        duplicates = "last" if config.rates else "first"
    return config.model_copy(update={"protocol": protocol, "backbone": backbone, "duplicates": duplicates})
