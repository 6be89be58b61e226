"""Training clips that go on: pauses and other clips beside them, and pauses in which nothing is said."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipelines.stream import example_keys
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.encoding import encode
from tasks.speech_recognition.joining import joined

RATE, ROWS, SPACE = 100, 400, 9
ALLOWED = (100, 150, 200, 300)
OWN, OTHER = 20_001, 20_002
"""Louder than any pause."""


def column(name: str, rows: Sequence[Sequence[int]], dtype: type) -> dict[str, tf.Tensor]:
    splits = np.cumsum([0, *map(len, rows)])
    return {name: tf.constant(np.concatenate([np.array(row, dtype) for row in rows])), f"{name}_splits": splits}


def clips(random: np.random.Generator) -> dict[str, tf.Tensor]:
    """Each of OWN alone, with a partner of OTHER alone; texts of two and of three signs."""
    own, other = ([[value] * random.integers(20, 151) for _ in range(ROWS)] for value in (OWN, OTHER))
    return {
        **column("audio", own, np.int16),
        **column("text", [[3, 4]] * ROWS, np.int32),
        **column("partner_audio", other, np.int16),
        **column("partner_text", [[5, 6, 7]] * ROWS, np.int32),
    }


def rows(found: dict[str, tf.Tensor], name: str) -> list[list[int]]:
    return [row.tolist() for row in np.split(np.asarray(found[name]), np.asarray(found[f"{name}_splits"])[1:-1])]


def test_clips_go_on_as_they_are_written_down() -> None:
    raw = clips(np.random.default_rng(0))
    keys = tf.constant(example_keys(0, 3, np.arange(ROWS)))
    config = Config(joined=0.9)
    graph = tf.function(lambda space: joined(raw, keys, RATE, tf.constant(ALLOWED, tf.int64), space, config))
    for space, gap in ((SPACE, [SPACE]), (None, [])):
        kinds = {"as it was": 0, "pause": 0, "silence": 0, "before": 0, "behind": 0}
        found = graph(space)
        for before, sound, text in zip(rows(raw, "audio"), rows(found, "audio"), rows(found, "text"), strict=True):
            own, other = sound.count(OWN), sound.count(OTHER)
            assert own in (0, len(before))
            assert len(sound) <= ALLOWED[-1]
            assert len(sound) - own - other <= RATE / 2 + (0 if own else len(before))
            if other:
                assert other <= next(one for one in ALLOWED if one >= own)
                first = sound[0] == OWN
                assert text == ([3, 4, *gap, 5, 6, 7] if first else [5, 6, 7, *gap, 3, 4])
                assert set(sound[:own] if first else sound[-own:]) == {OWN}
                kinds["behind" if first else "before"] += 1
            elif own:
                assert text == [3, 4]
                kinds["pause" if len(sound) > own else "as it was"] += 1
            else:
                assert text == []
                kinds["silence"] += 1
        assert all(count > ROWS / 30 for count in kinds.values()), kinds


def test_of_pieces_no_space_stands_between() -> None:
    """Each says by itself whether a word begins with it."""
    raw, keys = clips(np.random.default_rng(2)), tf.constant(example_keys(0, 3, np.arange(ROWS)))
    alphabet = ["", " ", *"abcdefgh"]
    for units, signs in (("characters", 6), ("pieces", 5)):
        config = Config(joined=1.0, units=units, max_seconds=6.0)
        x, _, _ = encode(config, {"alphabet": alphabet, "rate": 4_000}, True)(raw, keys)
        assert np.count_nonzero(x["labels"], axis=1).max() == signs


def test_by_key_and_by_key_alone() -> None:
    raw = clips(np.random.default_rng(1))
    keys = example_keys(0, 3, np.arange(ROWS))
    allowed, config = tf.constant(ALLOWED, tf.int64), Config(joined=0.5)
    whole = rows(joined(raw, tf.constant(keys), RATE, allowed, SPACE, config), "audio")
    few = {}
    for name in ("audio", "text", "partner_audio", "partner_text"):
        dtype = np.int16 if name.endswith("audio") else np.int32
        few |= column(name, [rows(raw, name)[place] for place in (7, 2)], dtype)
    assert rows(joined(few, tf.constant(keys[[7, 2]]), RATE, allowed, SPACE, config), "audio") == [whole[7], whole[2]]
    other = joined(raw, tf.constant(example_keys(0, 4, np.arange(ROWS))), RATE, allowed, SPACE, config)
    assert rows(other, "audio") != whole
