"""The networks without their last layer: a window in, features out.

Each sees x [rows, C, L], a channel a row, and gives [rows, C, features], or [rows, C, H, features] where every step
ahead has its own. But for itransformer no channel sees another; and no weight of any knows how many there are, so that
all fit other data.
"""

from typing import Any

import keras

from tasks.time_series_forecasting.attention import itransformer, patchtst
from tasks.time_series_forecasting.config import Config
from tasks.time_series_forecasting.covariates import Covariates, ahead, behind, of_every_channel, of_every_step
from tasks.time_series_forecasting.tide import tide


def build_features(x: Any, covariates: Covariates, config: Config) -> Any:
    """The features of float32 [rows, C, L] and its covariates."""
    return _NETWORKS[config.backbone](x, covariates, config)


def moving_average(x: Any, kernel: int) -> Any:
    """[rows, ..., L]: the mean of each step and its neighbours, an odd number in all; beyond both ends the last value
    counts on."""
    half, length = kernel // 2, x.shape[-1]
    before, after = (keras.ops.repeat(end, half, axis=-1) for end in (x[..., :1], x[..., -1:]))
    longer = keras.ops.reshape(keras.ops.concatenate([before, x, after], axis=-1), (-1, length + 2 * half, 1))
    # Under XLA the fastest of pooling, sums of 25 slices, differences of a running sum, and a product with a matrix.
    means = keras.ops.average_pool(longer, kernel, 1, "valid", data_format="channels_last")
    return keras.ops.reshape(means, (-1, *x.shape[1:]))


def _dlinear(x: Any, covariates: Covariates, config: Config) -> Any:
    """The trend, a moving average, and what is left of it. The linear layer behind adds up what the paper has two
    layers for: DLinear (Zeng et al., 2023)."""
    del covariates
    trend = moving_average(x, config.kernel)
    return keras.ops.concatenate([trend, x - trend], axis=-1)


def _nlinear(x: Any, covariates: Covariates, config: Config) -> Any:
    """The window itself: less its last value it makes NLinear (Zeng et al., 2023)."""
    del covariates, config
    return x


def _recurrent(x: Any, covariates: Covariates, config: Config) -> Any:
    """An encoder over the past, and a decoder over the steps ahead that begins with its states (Sutskever et al.,
    2014) and sees, at each, the last of them and what is known of the step; not its own answers, whose errors would add
    up."""
    kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[config.backbone]
    channels, lookback = x.shape[1:]
    sequence = _sequences([keras.ops.expand_dims(x, -1), *_all(behind(covariates, lookback), channels)])
    states = []
    for number in range(1, config.layers + 1):
        encoder = kind(config.width, return_sequences=True, return_state=True, name=f"encoder_{number}")
        sequence, *state = encoder(sequence)
        states.append(state)
    inputs = [of_every_step(keras.ops.reshape(states[-1][0], (-1, channels, config.width)), config.horizon)]
    inputs += _all(ahead(covariates, lookback), channels)
    if "static" in covariates:
        inputs += _all([of_every_step(covariates["static"], config.horizon)], channels)
    sequence = _sequences(inputs)
    for number, state in enumerate(states, 1):
        decoder = kind(config.width, return_sequences=True, name=f"decoder_{number}")
        sequence = decoder(sequence, initial_state=state)
        sequence = keras.layers.Dropout(config.dropout, seed=config.seed, name=f"dropout_{number}")(sequence)
    return keras.ops.reshape(sequence, (-1, channels, config.horizon, config.width))


def _all(values: list[Any], channels: int) -> list[Any]:
    return [of_every_channel(value, channels) for value in values]


def _sequences(parts: list[Any]) -> Any:
    """[rows * C, steps, numbers] of all [rows, C, steps, any]."""
    whole = keras.ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    return keras.ops.reshape(whole, (-1, *whole.shape[2:]))


_NETWORKS = {
    "dlinear": _dlinear,
    "nlinear": _nlinear,
    "patchtst": patchtst,
    "itransformer": itransformer,
    "tide": tide,
    "lstm": _recurrent,
    "gru": _recurrent,
}
