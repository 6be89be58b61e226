"""Windows to learn from without their future."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.folders import printable
from pipelines.task import Data
from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.data.stores import WindowStore


def load_unlabelled(config: Config, data: Data, load: Callable[[Config], Data]) -> Data:
    """The training windows of config.pretrain_on, as the split train alone, scaled by its own training steps. Windows
    that the run validates or tests on are left out, by content.

    Args:
        load: config -> the data of a run.

    Raises:
        DataError: the source cannot be used, or has another number of channels than the run.
    """
    spec = printable(str(config.pretrain_on))
    columns = {role: name for role, name in (config.columns or {}).items() if role in ("time", "series", "value")}
    update = {"data": config.pretrain_on, "valid": None, "test": None, "group_by": None, "columns": columns or None}
    try:
        other = load(config.model_copy(update=update))
    except DataError as error:
        raise DataError(f"pretrain_on: {error}") from error
    here, there = len(data.assets["channels"]), len(other.assets["channels"])
    if here != there:
        raise DataError(f"pretrain_on: {spec} has {there} channels and the data {here}: name series of as many.")
    store = cast(WindowStore, other.splits["train"])
    held_out = np.concatenate([data.hashes["valid"], data.hashes["test"]])
    kept = np.flatnonzero(~np.isin(other.hashes["train"], held_out))
    if not len(kept):
        raise DataError(f"pretrain_on: {spec} holds no window that the run does not validate or test on.")
    protocol = "Learned from without what is forecast."
    if len(kept) < len(store):
        protocol += f" {len(store) - len(kept):,} more are left out, as they stand in the validation or test split."
        chosen = kept if store.windows.chosen is None else store.windows.chosen[kept]
        store = replace(store, windows=replace(store.windows, chosen=chosen))
    hashes = other.hashes["train"][kept]
    summary = {**other.summary, "counts": {"train": len(kept)}, "protocol": protocol}
    digest = hashlib.blake2b(hashes.tobytes(), digest_size=16).hexdigest()
    return Data({"train": store}, {}, summary, digest, protocol, {"train": hashes})
