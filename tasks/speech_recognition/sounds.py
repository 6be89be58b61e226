"""From clips to what the model is trained on, once, before training: sound of one rate, transcripts as numbers."""

from dataclasses import replace
from typing import Any, cast

import numpy as np

from pipelines.audio.cache import Sounds, decode_all
from pipelines.audio.files import decoded
from pipelines.console import Console
from pipelines.errors import DataError
from pipelines.sources.scan import BadExample
from pipelines.task import Assets, Data
from tasks.speech_recognition import alphabet, pieces
from tasks.speech_recognition import data as clips
from tasks.speech_recognition.config import MOST_RATE, Config
from tasks.speech_recognition.data.stores import ClipStore, Written


def load_data(config: Config) -> Data:
    """The data of a run, decoded. Of train and valid, clips that are longer than max_seconds are left out.

    Assets: `alphabet`, the text of each number that transcripts consist of, '' for CTC's blank at 0; `rate`, samples a
    second; of units pieces `pieces`, what cuts transcripts into them.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) an example; or no clip is short enough to train on.
    """
    data = _shortened(config, clips.load_data(config))
    train = cast(ClipStore, data.splits["train"])
    rate = config.rate or _usual_rate(train)
    return _decoded(data, {"rate": rate, **_alphabet(train.texts(np.arange(len(train))), config)})


def load_test(config: Config, assets: Assets) -> Data:
    """What a finished model is scored on, decoded as it was trained.

    Raises:
        DataError: as load_data.
    """
    known: Assets = {name: assets[name] for name in ("rate", "alphabet", "pieces") if name in assets}
    return _decoded(clips.load_test(config, assets), known)


def _alphabet(texts: list[str], config: Config) -> Assets:
    if config.units == "characters":
        return {"alphabet": alphabet.learnt(texts)}
    learnt = pieces.learnt(texts, config.vocabulary_size)
    return {"alphabet": pieces.names(learnt), "pieces": learnt}


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
        "alphabet": len(known["alphabet"]),
    }
    assets = {**data.assets, **known}
    return replace(data, splits=dict(splits), assets=assets, summary={**data.summary, **about})


def _with_sound(store: ClipStore, known: Assets, fingerprint: str, label: str) -> ClipStore:
    texts = store.texts(np.arange(len(store)))
    in_pieces = "pieces" in known
    written = pieces.encoded(texts, known["pieces"]) if in_pieces else alphabet.encoded(texts, known["alphabet"])
    decoded = _sounds(store, known["rate"], f"{fingerprint}|{len(store)}", label)
    return replace(store, sounds=decoded, written=Written(*written), places=None)


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
