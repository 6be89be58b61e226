"""From the windows of a panel to what the model sees: scaled, unseen steps at 0; TensorFlow graphs only."""

from typing import Any, Literal

import tensorflow as tf

from pipelines.task import Assets, Batching, Encoder
from tasks.time_series_forecasting.config import COUNTS, SEES, Config

_REVERSIBLE = ("patchtst", "itransformer", "tide", "lstm", "gru")
"""Backbones that take each window less its mean, over its deviation, where nothing else is said: as in the papers of
the first three; recurrent ones are helped where series drift."""


def normalization(config: Config) -> Literal["window", "last", "none"]:
    """What the model itself takes out of each window, and puts back: its mean and deviation (RevIN), its last value
    (NLinear), or nothing."""
    if config.reversible == "yes" or (config.reversible == "auto" and config.backbone in _REVERSIBLE):
        return "window"
    return "last" if config.backbone == "nlinear" else "none"


def widths(config: Config, assets: Assets) -> dict[str, tuple[int, ...]]:
    """The model's inputs: the name and the shape, without the rows, of each."""
    channels, lookback = len(assets["channels"]), config.lookback
    shapes: dict[str, tuple[int, ...]] = {"past": (lookback, channels)}
    if normalization(config) != "none":
        shapes["past_seen"] = (lookback, channels)
    if config.head == COUNTS:
        shapes["scale"] = (channels,)
    steps = {"past": (lookback,), "known": (lookback + config.horizon,), "static": ()}
    for kind in SEES.get(config.backbone, ()):
        if names := assets.get("covariates", {}).get(kind):
            shapes[f"{kind}_covariates"] = (*steps[kind], len(names))
    return shapes


def encode(config: Config, assets: Assets, training: bool) -> Encoder:
    """The encoder of windows of L = lookback and H = horizon steps of C channels.

    x a dict of float32, with those that `widths` names: past [rows, L, C], less the series' center over its scale, 0
    where unseen; past_seen the same shape, 1 where observed; the covariates that the backbone sees, as they come. y
    [rows, H, C] scaled likewise; weight [rows, H * C], 1 where observed. Counts (head negative-binomial) lose no
    center, y stays in units, and x has the scale [rows, C] besides.
    """
    del training
    names = widths(config, assets)
    counts = config.head == COUNTS

    def scaled(values: Any, raw: Any) -> Any:
        """[rows, steps, C]."""
        return (values if counts else values - raw["center"][:, None]) / raw["scale"][:, None]

    def encoder(raw: Any, keys: Any) -> tuple[Any, Any, Any]:
        del keys
        seen = tf.cast(raw["past_seen"], tf.float32)
        made = {"past": scaled(raw["past"], raw) * seen, "past_seen": seen}
        x = {name: tf.ensure_shape(made.get(name, raw.get(name)), [None, *shape]) for name, shape in names.items()}
        if "future" not in raw:
            return x, None, tf.ones([tf.shape(seen)[0], config.horizon * len(assets["channels"])])
        y = raw["future"] if counts else scaled(raw["future"], raw)
        weight = tf.reshape(tf.cast(raw["future_seen"], tf.float32), [-1, config.horizon * len(assets["channels"])])
        return x, y, weight

    return encoder


def batching(config: Config) -> Batching:
    """Windows all cost the same."""
    return Batching(batch_sizes=(config.batch_size,))
