"""The peer of series_speed.py: neuralforecast on the same windows of ETTh1. Prints windows of 7 channels a second.

    PYTHON benchmarks/series_peer.py dlinear|patchtst ETTh1.csv

PYTHON is an interpreter with benchmarks/requirements-series.txt. Its windows are of single series: seven of them count
as one of ours. The batch of 896 (128 of ours) is the one of several tried at which it is fastest.
"""

import logging
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MSE
from neuralforecast.models import DLinear, PatchTST

LOOKBACK, HORIZON, TRAIN, WINDOWS = 336, 96, 8640, 896
STEPS = {"dlinear": 200, "patchtst": 24}
SKIPPED = 4
"""Steps at the start that are not timed."""
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dlinear": (DLinear, {"moving_avg_window": 25}),
    "patchtst": (
        PatchTST,
        {"n_heads": 4, "encoder_layers": 3, "hidden_size": 16, "linear_hidden_size": 128, "patch_len": 16, "stride": 8},
    ),
}
TIMES: list[float] = []
"""When each step ended; the library copies its callbacks, so they write here."""


class Clock(lightning.Callback):
    """Notes when a step has ended."""

    def on_train_batch_end(self, *arguments: Any) -> None:
        """One step."""
        del arguments
        TIMES.append(time.perf_counter())


def main(name: str, path: str) -> None:
    """Train a few steps and print their speed."""
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    table = pd.read_csv(path, parse_dates=["date"]).iloc[:TRAIN]
    channels = [column for column in table if column != "date"]
    values = (table[channels] - table[channels].mean()) / table[channels].std(ddof=0)
    series = [
        pd.DataFrame({"unique_id": one, "ds": table["date"], "y": values[one].astype(np.float32)}) for one in channels
    ]
    kind, settings = MODELS[name]
    model = kind(
        h=HORIZON,
        input_size=LOOKBACK,
        loss=MSE(),
        max_steps=STEPS[name],
        scaler_type="identity",
        batch_size=len(channels),
        windows_batch_size=WINDOWS,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        accelerator="cpu",
        callbacks=[Clock()],
        **settings,
    )
    NeuralForecast(models=[model], freq="h").fit(pd.concat(series))
    spent = TIMES[-1] - TIMES[SKIPPED - 1]
    print((len(TIMES) - SKIPPED) * WINDOWS / len(channels) / spent)


if __name__ == "__main__":
    main(*sys.argv[1:])
