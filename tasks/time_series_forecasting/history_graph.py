"""What is known of series as a TensorFlow graph: from their histories, with gaps, and what a table holds beside them to
what a store fetches. The ways are those of `data.gaps`, `data.scaling` and `data.covariates`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.task import Assets
from tasks.time_series_forecasting.config import SEES, Config

ROLES = ("known", "past", "static")
NOT_BEGUN = np.iinfo(np.int64).min
"""The time of a step before a series began: NumPy's NaT as a number."""
_DAY = 86_400_000_000
_NAN = np.float32(np.nan)


def seen_by(config: Config, assets: Assets) -> dict[str, list[dict[str, Any]]]:
    """The columns beside the values that the model looks at, by role, as `covariates.fit` told them."""
    kinds = SEES.get(config.backbone, ())
    return {role: assets["coding"][role] for role in ROLES if role in kinds and assets["covariates"][role]}


def names_of(columns: Sequence[Mapping[str, Any]], kind: str) -> list[str]:
    """Of the columns of a kind: number, text or calendar."""
    return [column["name"] for column in columns if column["kind"] == kind]


def has_calendar(coding: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether the model is told the calendar."""
    return bool(names_of(coding.get("known", ()), "calendar"))


class Histories:
    """The scaler of a run, and how its columns become what the model sees."""

    def __init__(self, config: Config, assets: Assets) -> None:
        self._config, self._coding = config, seen_by(config, assets)
        self._hour = int(assets["frequency"]["size"])
        names = [name.encode("utf-8", "surrogateescape") for name in assets["series"]]
        rows = tf.lookup.KeyValueTensorInitializer(tf.constant(names, tf.string), tf.range(len(names)))
        self._series = tf.lookup.StaticHashTable(rows, default_value=-1)
        self._center, self._scale = (
            tf.Variable(np.asarray(assets["scaler"][name], np.float32), trainable=False) for name in ("center", "scale")
        )
        self.tracked = (self._series, self._center, self._scale)

    def raw(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """What a store fetches: past, past_seen, center, scale and the covariates that the model sees.

        Args:
            x: history float32 [rows, steps, C], NaN where there is no value; series strings [rows]; known and past
                float32 [rows, steps, columns], known a horizon longer, static [rows, columns]; known_texts, past_texts
                and static_texts strings, likewise; time int64 [rows, steps + horizon]. Those that the model sees.
        """
        lookback, fill = self._config.lookback, self._config.fill
        steps = tf.shape(x["history"])[1]
        short = tf.maximum(lookback - steps, 0)
        history = _padded(x["history"], short, _NAN)
        begun = tf.cumsum(tf.cast(_there(history), tf.int32), axis=1) > 0
        given = filled(history, fill, begun)
        past = given[:, -lookback:]
        seen = ~tf.math.is_nan(past)
        center, scale = self._scaling(x["series"], given if fill == "zero" else history)
        found = {"past": tf.where(seen, past, 0), "past_seen": tf.cast(seen, tf.uint8), "center": center}
        found["scale"] = scale
        for role, columns in self._coding.items():
            found[f"{role}_covariates"] = self._features(x, role, columns, (steps, short, begun))
        return found

    def _scaling(self, series: Any, history: Any) -> tuple[Any, Any]:
        """float32 [rows, C] each: as in training; of other series, by all values of their own history."""
        code = self._series.lookup(series)
        known = (code >= 0)[:, None]
        places = tf.maximum(code, 0)
        center, scale = fitted(history, self._config.scaler)
        # Nothing can be said of a series of which nothing is known.
        scale = tf.where(tf.reduce_any(_there(history), axis=1), scale, _NAN)
        return (
            tf.where(known, tf.gather(self._center, places), center),
            tf.where(known, tf.gather(self._scale, places), scale),
        )

    def _features(
        self, x: Mapping[str, Any], role: str, columns: Sequence[Mapping[str, Any]], span: tuple[Any, Any, Any]
    ) -> Any:
        """float32 [rows, L (and H), features], of static ones [rows, features]; 0 where nothing is known."""
        steps, short, begun = span
        lookback, fill = self._config.lookback, self._config.fill
        ahead = self._config.horizon if role == "known" else 0
        numbers, texts = x.get(role), x.get(f"{role}_texts")
        time = x.get("time") if role == "known" else None
        if role == "static":
            return self._encoded(columns, numbers, texts, None)
        begun = tf.concat([begun, tf.ones([tf.shape(begun)[0], ahead, 1], tf.bool)], axis=1)
        if numbers is not None:
            numbers = _padded(_as_long(numbers, role, steps + ahead), short, _NAN)
            # What comes after says nothing of a past that must be known by then.
            numbers = filled(numbers, "forward" if fill == "linear" and role == "past" else fill, begun)
        if texts is not None:
            texts = _padded(_as_long(texts, f"{role}_texts", steps + ahead), short, "")
            texts = carried(texts, texts != "", "") if fill in ("forward", "linear") else texts
        if time is not None:
            time = _padded(_as_long(time, "time", steps + self._config.horizon), short, NOT_BEGUN)
        numbers, texts, time = (
            None if one is None else one[:, -(lookback + ahead) :] for one in (numbers, texts, time)
        )
        return self._encoded(columns, numbers, texts, time)

    def _encoded(self, columns: Sequence[Mapping[str, Any]], numbers: Any, texts: Any, time: Any) -> Any:
        """float32 [..., features] of numbers and texts [..., columns] and times [...]."""
        places = {"number": 0, "text": 0}
        found = []
        for column in columns:
            kind = column["kind"]
            if kind == "calendar":
                found.append(calendar(time, column["name"], self._hour)[..., None])
                continue
            place = places[kind]
            places[kind] += 1
            if kind == "number":
                scaled = (tf.cast(numbers[..., place, None], tf.float64) - column["center"]) / column["scale"]
                found.append(tf.cast(tf.where(tf.math.is_nan(scaled), tf.zeros_like(scaled), scaled), tf.float32))
            else:
                values = [value.encode("utf-8", "surrogateescape") for value in column["values"]]
                found.append(tf.cast(texts[..., place, None] == tf.constant(values, tf.string), tf.float32))
        return tf.concat(found, axis=-1)


def fitted(history: Any, kind: str) -> tuple[Any, Any]:
    """Center and scale of float32 [rows, steps, C], NaN where there is no value, by these: float32 [rows, C] each; see
    `scaling.fit`."""
    values = tf.cast(history, tf.float64)
    seen = ~tf.math.is_nan(values)
    values, count = tf.where(seen, values, 0), tf.maximum(tf.reduce_sum(tf.cast(seen, tf.float64), axis=1), 1)
    nothing = tf.zeros_like(count)
    if kind == "none":
        center, scale = nothing, nothing + 1
    elif kind == "mean":
        size = tf.reduce_sum(tf.abs(values), axis=1) / count
        center, scale = nothing, tf.where(size > 0, size, 1)
    else:
        center = tf.reduce_sum(values, axis=1) / count
        apart = tf.where(seen, values - center[:, None], 0)
        scale = tf.sqrt(tf.reduce_sum(apart**2, axis=1) / count)
        scale = tf.where((scale > 1e-6 * tf.abs(center)) & (scale > 0), scale, 1)
    return tf.cast(center, tf.float32), tf.cast(scale, tf.float32)


def filled(values: Any, fill: str, begun: Any) -> Any:
    """float32 [rows, steps, columns] with what stands in for NaN, as `gaps.close` has it: nothing before the first
    value, and no 0 before a series has begun, bool [rows, steps, 1]."""
    if fill == "none":
        return values
    seen = ~tf.math.is_nan(values)
    if fill == "zero":
        return tf.where(begun & ~seen, tf.zeros_like(values), values)
    if fill == "forward":
        return carried(values, seen, _NAN)
    left, right = carried(values, seen, _NAN), _back(carried(_back(values), _back(seen), _NAN))
    place = tf.range(tf.shape(values)[1])[None, :, None] + tf.zeros_like(values, tf.int32)
    before, after = carried(place, seen, 0), _back(carried(_back(place), _back(seen), 0))
    share = tf.cast(place - before, tf.float64) / tf.cast(tf.maximum(after - before, 1), tf.float64)
    line = tf.cast(left, tf.float64) + share * tf.cast(right - left, tf.float64)
    return tf.where(seen | tf.math.is_nan(right), left, tf.cast(line, tf.float32))


def carried(values: Any, seen: Any, nothing: Any) -> Any:
    """[rows, steps, columns]: at each step the last value that was seen; `nothing` before the first."""
    values, seen = tf.transpose(values, [0, 2, 1]), tf.transpose(seen, [0, 2, 1])
    count = tf.cumsum(tf.cast(seen, tf.int32), axis=-1)
    # The places of what was seen, in order, before all others.
    order = tf.argsort(tf.where(seen, 0, 1), stable=True)
    last = tf.gather(order, tf.maximum(count - 1, 0), batch_dims=2)
    found = tf.where(count > 0, tf.gather(values, last, batch_dims=2), nothing)
    return tf.transpose(found, [0, 2, 1])


def calendar(time: Any, name: str, size: int) -> Any:
    """float32 of int64 microseconds since 1970, from -0.5 to 0.5, 0 where a series has not begun; see `covariates`.

    Args:
        time: of any shape.
        name: hour, weekday, day, month or yearday.
        size: of a step, in microseconds.
    """
    day = time // _DAY
    if name == "hour":
        share = tf.cast(time % _DAY, tf.float64) / (_DAY - size)
    elif name == "weekday":
        share = tf.cast((day + 3) % 7, tf.float64) / 6  # 1970-01-01 was a Thursday
    else:
        place, last = {"month": (0, 11), "day": (1, 30), "yearday": (2, 365)}[name]
        share = tf.cast(_date(day)[place], tf.float64) / last
    return tf.cast(tf.where(time == NOT_BEGUN, tf.zeros_like(share), share - 0.5), tf.float32)


def _date(day: Any) -> tuple[Any, Any, Any]:
    """Month, day of the month and day of the year, each from 0, of days since 1970 (H. Hinnant, "chrono-Compatible
    Low-Level Date Algorithms"): years from March on have their leap day last, and 400 of them are equally long."""
    of_era = (day + 719_468) % 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    leap = tf.cast((year % 4 == 0) & ((year % 100 != 0) | (year == 0)), tf.int64)
    from_january = tf.where(month < 10, of_year + 59 + leap, of_year - 306)
    return (month + 2) % 12, of_year - (153 * month + 2) // 5, from_january


def _there(history: Any) -> Any:
    """bool [rows, steps, 1]: whether any channel has a value."""
    return tf.reduce_any(~tf.math.is_nan(history), axis=-1, keepdims=True)


def _back(values: Any) -> Any:
    return tf.reverse(values, [1])


def _padded(values: Any, steps: Any, nothing: Any) -> Any:
    """So many steps longer at the beginning."""
    shape = tf.concat([tf.shape(values)[:1], [steps], tf.shape(values)[2:]], 0)
    longer = tf.concat([tf.fill(shape, tf.constant(nothing, values.dtype)), values], axis=1)
    return tf.ensure_shape(longer, [None, None, *values.shape[2:]])


def _as_long(values: Any, name: str, steps: Any) -> Any:
    message = f"{name} must have as many steps as the history, and, if it is known ahead, the horizon's"
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(values)[1], steps, message)]):
        return tf.identity(values)
