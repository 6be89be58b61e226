"""Speech: from a source to splits, and what is wrong with it. Imports no TensorFlow."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from pipelines import paired
from pipelines.paired.parts import Part
from pipelines.runs import Run
from pipelines.task import Assets, CheckReport, Data, Problem, Raw, Store
from tasks.speech_recognition.config import CTC, Config
from tasks.speech_recognition.data.checks import outside, outside_training, too_long
from tasks.speech_recognition.data.inputs import inputs
from tasks.speech_recognition.data.listed import Wanted
from tasks.speech_recognition.data.parts import read_source
from tasks.speech_recognition.data.recordings import as_column
from tasks.speech_recognition.data.stores import Clips, ClipStore

__all__ = ["check_data", "inputs", "load_data", "load_test", "references"]

_LOST = "they cannot be recognised"
_SAMPLE = (
    "These clips are synthetic, espeak-ng's voices, each of which is heard in training too; no number or row of digits "
    "of the test is said in training."
)


def load_data(config: Config, advance: Callable[[int, int], None] | None = None) -> Data:
    """The data of a run: train, valid and test as ClipStore, not decoded yet, without assets.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) an example.
    """
    data = paired.load_data(config, _kind(config), advance)
    if config.data != "sample":
        return data
    protocol = f"{data.protocol} {_SAMPLE}"
    return replace(data, protocol=protocol, summary={**data.summary, "protocol": protocol})


def load_test(config: Config, assets: Assets) -> Data:
    """What a finished model is scored on, as the only split, test: all of config.data, or its test split if it has one.

    Raises:
        DataError: as load_data.
    """
    return paired.load_test(config, _kind(config, assets))


def check_data(config: Config, advance: Callable[[int, int], None] | None = None) -> CheckReport:
    """Everything that is wrong with the data of a run, in one pass; what load_data would stop at is an error.

    Args:
        config: names the sources.
        advance: told (done so far, total).

    Raises:
        DataError: a source as a whole cannot be used.
    """
    # How many characters fit into a clip is decided by what a run starts from, which is not opened here.
    return paired.check_data(config, _kind(config, strides=config.pretrained is None), advance)


def references(store: Store) -> Raw:
    """The truth about every example: text object [n], of texts; seconds float64 [n]; speaker object [n], of texts, ''
    where nobody said; audio object [n], the paths of the files, '' where a clip has none of its own; group_by object
    [n], of texts, where scores are told apart."""
    clips = cast(ClipStore, store)
    every = np.arange(len(clips))
    found = {
        "text": as_column(clips.texts(every)),
        "seconds": clips.seconds,
        "speaker": clips.speakers,
        "audio": as_column(clips.paths(every)),
    }
    return found if clips.compared is None else {**found, "group_by": clips.compared}


def _kind(config: Config, assets: Assets | None = None, *, strides: bool = True) -> paired.Kind:
    characters = config.units == "characters" and config.decoder == CTC
    wanted = Wanted(
        config.columns,
        config.group_by,
        config.encoding,
        config.lowercase,
        config.min_seconds,
        config.stride_seconds if characters and strides else None,
    )

    def about(parts: Mapping[str, Part], good: Mapping[str, np.ndarray]) -> list[Problem]:
        if assets is not None:
            known = set(assets["alphabet"]) if characters else None
            return outside(parts, good, known, "that the model does not know", _LOST) if known else []
        found = too_long(parts, good, config.max_seconds)
        if characters and (strides or "decoder" in config.model_fields_set or _has_alphabet(config)):
            found += outside_training(parts, good) + _new_to_run(config, parts, good)
        return found

    return paired.Kind("recording", lambda spec, meter: read_source(spec, wanted, meter), _store, _describe, about)


def _has_alphabet(config: Config) -> bool:
    """Whether the run to start from writes characters that it has learnt; a preset may bring its own pieces."""
    return (Path(config.pretrained or "") / "model" / "alphabet.json").is_file()


def _new_to_run(config: Config, parts: Mapping[str, Part], good: Mapping[str, np.ndarray]) -> list[Problem]:
    """A warning about characters of training that the run to start from has not learnt."""
    kept = Path(config.pretrained or "") / "model" / "alphabet.json"
    if not config.pretrained or not kept.is_file() or "train" not in parts:
        return []
    known = set(Run(Path(config.pretrained)).read_json("model/alphabet.json"))
    which = "that the run to start from has none of"
    return outside({"train": parts["train"]}, good, known, which, "they are learnt from these clips alone")


def _store(part: Part, rows: np.ndarray) -> ClipStore:
    groups, compared = (None if column is None else column[rows] for column in (part.groups, part.compared))
    return ClipStore(cast(Clips, part.items), rows, groups, compared)


def _describe(facts: np.ndarray) -> dict[str, Any]:
    """How long the clips are, and what they were recorded at."""
    if not len(facts):
        return {}
    seconds, characters = facts[:, 0] / 1e6, facts[:, 3]
    rates, counts = np.unique(facts[:, 1], return_counts=True)
    return {
        "seconds": {
            "total": round(float(seconds.sum()), 1),
            "least": round(float(seconds.min()), 2),
            "median": round(float(np.median(seconds)), 2),
            "most": round(float(seconds.max()), 2),
        },
        "rates": {f"{rate:,} Hz": count for rate, count in zip(rates.tolist(), counts.tolist(), strict=True)},
        "characters": f"{characters.min():,} to {characters.max():,}, median {int(np.median(characters)):,}",
    }
