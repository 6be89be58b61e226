"""From clips to what the model is trained on, once, before training: sound of one rate, transcripts as numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from pipelines.audio.cache import Sounds, decode_all
from pipelines.audio.files import decoded
from pipelines.console import Console
from pipelines.errors import DataError
from pipelines.runs import Run
from pipelines.sources.scan import BadExample
from pipelines.task import Assets, Data
from pipelines.text.ids import Ids
from pipelines.transfer import kind_of
from pipelines.transfer.sound_writers import sound_tokenizer
from tasks.speech_recognition import alphabet, pieces
from tasks.speech_recognition import data as clips
from tasks.speech_recognition.config import GENERATE, MOST_RATE, Config
from tasks.speech_recognition.data.stores import ClipStore, Written

_OF_TEXTS = ("alphabet", "pieces", "tokenizer", "ids")
"""Assets that say what transcripts are made of."""


def load_data(config: Config) -> Data:
    """The data of a run, decoded. Of train and valid, clips that are longer than max_seconds are left out.

    Assets: `rate`, samples a second; `alphabet`, the text of each number that transcripts consist of, '' for CTC's
    blank at 0; of units pieces `pieces`, what cuts transcripts into them. Of decoder generate, in place of these,
    `tokenizer`, the preset's, and `ids` of those of its pieces that are no text.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) an example; or no clip is short enough to train on.
    """
    data = _shortened(config, clips.load_data(config))
    train = cast(ClipStore, data.splits["train"])
    rate = config.rate or _usual_rate(train)
    return _decoded(data, {"rate": rate, **_labels(train.texts(np.arange(len(train))), config)})


def load_test(config: Config, assets: Assets) -> Data:
    """What a finished model is scored on, decoded as it was trained.

    Raises:
        DataError: as load_data.
    """
    known: Assets = {name: assets[name] for name in ("rate", *_OF_TEXTS) if name in assets}
    return _decoded(clips.load_test(config, assets), known)


def _labels(texts: list[str], config: Config) -> Assets:
    if config.decoder == GENERATE:
        return _of_preset(str(config.pretrained))
    if config.units == "characters":
        return {"alphabet": alphabet.learnt(texts)}
    learnt = pieces.learnt(texts, config.vocabulary_size)
    return {"alphabet": pieces.names(learnt), "pieces": learnt}


def _of_preset(source: str) -> Assets:
    """The tokenizer of a preset, or of the run that holds one."""
    if kind_of(source) == "run":
        return {name: Run(Path(source)).read_json(f"model/{name}.json") for name in ("tokenizer", "ids")}
    found = sound_tokenizer(source)
    return {"tokenizer": found.asset, "ids": found.ids}


def _usual_rate(train: ClipStore) -> int:
    """What most clips were recorded at, of equally many the higher; at most MOST_RATE."""
    rates, counts = np.unique(train.items.rates[train.rows], return_counts=True)
    return min(int(rates[len(counts) - 1 - np.argmax(counts[::-1])]), MOST_RATE)


def _shortened(config: Config, data: Data) -> Data:
    """The data without the clips of train and valid that are too long to train on."""
    splits, hashes, left, seconds = dict(data.splits), dict(data.hashes), {}, {}
    for split in ("train", "valid"):
        store = cast(ClipStore, data.splits[split])
        kept = np.flatnonzero(store.seconds <= config.max_seconds)
        if not len(kept):
            raise DataError(
                f"none of the {len(store):,} clips of {split} has at most {config.max_seconds:g} s: raise max_seconds."
            )
        splits[split], hashes[split] = store.only(kept), data.hashes[split][kept]
        if gone := len(store) - len(kept):
            lost = float(store.seconds.sum() - store.seconds[kept].sum())
            seconds[split] = round(lost, 1)
            left[split] = f"{gone:,} of {len(store):,} clips, {lost:,.0f} s, longer than {config.max_seconds:g} s"
    summary = {**data.summary, "left_out": left or "none", "left_out_seconds": seconds}
    return replace(data, splits=splits, hashes=hashes, summary=summary)


def _decoded(data: Data, known: Assets) -> Data:
    """The same splits with the sound of each clip and its transcript in numbers."""
    splits = {
        split: _with_sound(cast(ClipStore, store), known, f"{data.fingerprint}|{split}", split)
        for split, store in data.splits.items()
    }
    seconds = {split: round(float(store.seconds.sum()), 1) for split, store in splits.items()}
    about: dict[str, Any] = {
        "rate": f"{known['rate']:,} Hz",
        "seconds_of": seconds,
        **({"alphabet": len(known["alphabet"])} if "alphabet" in known else {"pieces": known["ids"]["size"]}),
    }
    assets = {**data.assets, **known}
    return replace(data, splits=dict(splits), assets=assets, summary={**data.summary, **about})


def _with_sound(store: ClipStore, known: Assets, fingerprint: str, label: str) -> ClipStore:
    texts = store.texts(np.arange(len(store)))
    decoded = _sounds(store, known["rate"], f"{fingerprint}|{len(store)}", label)
    return replace(store, sounds=decoded, written=Written(*_numbered(texts, known)), places=None)


def _numbered(texts: list[str], known: Assets) -> tuple[np.ndarray, np.ndarray]:
    """Transcripts as numbers: ids int32 [those of all texts], splits int64 [n + 1]."""
    if "tokenizer" in known:
        return pieces.encoded_by(texts, known["tokenizer"], Ids(**known["ids"]))
    if "pieces" in known:
        return pieces.encoded(texts, known["pieces"])
    return alphabet.encoded(texts, known["alphabet"])


def _sounds(store: ClipStore, rate: int, fingerprint: str, label: str) -> Sounds:
    done = 0

    def decode(number: int) -> np.ndarray:
        row = int(store.rows[number])
        try:
            with store.items.recordings.opened(row) as sound:
                return decoded(sound, rate)
        except BadExample as problem:
            where = store.items.where(row)
            raise DataError(
                f"{where} {problem.message} It could be read before: was it changed meanwhile?"
            ) from problem

    with Console().bar(f"sound of {label}", len(store), "clips") as show:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            show(done)

        return decode_all(len(store), decode, rate, fingerprint, advance)
