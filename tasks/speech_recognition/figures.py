"""What the report shows of the test recordings: error rates by duration and speaker, the worst beside what was said,
with their spectrograms; what was confused."""

from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from typing import Any, cast

import numpy as np
import soundfile

from pipelines import scoring
from pipelines.task import Assets, Figure, Passage, Passages, Raw, Record, Store
from tasks.speech_recognition import charts, measures
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.data.stores import ClipStore

_SHOWN = 8
"""Worst recordings, and as many middling ones."""
_PICTURED = 3
_LONGEST_PICTURED = 12.0
"""Seconds of a recording whose spectrogram is drawn."""
_LONGEST_PLAYED = 20.0
"""Seconds of a recording that can be played in the report."""
_CONFUSED = 30
_SPEAKERS = 24


def figures(
    records: Sequence[Record], references: Raw, config: Config, assets: Assets, store: Store, model: Any
) -> list[Figure | Passages]:
    """Error rates by duration and speaker; recordings, worst and middling, in words; spectrograms of the worst;
    confused words and characters."""
    found = [str(record.answer["transcript"]) for record in records]
    given = list(references["text"])
    words, characters = measures.words(found, given), measures.characters(found, given)
    order = np.lexsort((np.arange(len(given)), -words.rates[:, 0], -words.each))
    return [
        _durations(words, characters, references["seconds"]),
        *_speakers(words, characters, references["speaker"]),
        _recordings(order, words, records, int(assets["rate"]), cast(ClipStore, store)),
        *_spectrograms(order, records, references, config, cast(ClipStore, store), model),
        *_confused(words.confused(), "words"),
        *_confused(characters.confused(), "characters"),
    ]


def _durations(words: measures.Edits, characters: measures.Edits, seconds: np.ndarray) -> Figure:
    parts = scoring.quarters(np.rint(10 * seconds).astype(np.int64), "tenths of a second")
    rows = {charts.in_seconds(name): _rates(words, characters, part) for name, part in parts.items()}
    caption = "Recordings in parts of about equal number, by how long they are."
    return charts.rates(rows, "error_rates_by_duration", "Error rates by duration", caption)


def _speakers(words: measures.Edits, characters: measures.Edits, speakers: np.ndarray) -> list[Figure | Passages]:
    counts = Counter(str(name) for name in speakers.tolist() if name)
    if len(counts) < 2:
        return []
    most = sorted(counts, key=lambda name: (-counts[name], name))[:_SPEAKERS]
    rows = {name: _rates(words, characters, np.flatnonzero(speakers == name)) for name in most}
    caption = "Each speaker of the test split; of many those with the most recordings."
    return [charts.rates(rows, "error_rates_by_speaker", "Error rates by speaker", caption)]


def _rates(words: measures.Edits, characters: measures.Edits, rows: np.ndarray) -> tuple[float, float, int]:
    wer, cer = (float(measures.ratio(one.rates[rows].mean(axis=0)[None])[0]) for one in (words, characters))
    return wer, cer, len(rows)


def _recordings(
    order: np.ndarray, words: measures.Edits, records: Sequence[Record], rate: int, store: ClipStore
) -> Passages:
    """What was said in grey, what was heard with what is right coloured; the worst to be played."""
    middle = order[max(len(order) // 2 - _SHOWN // 2, 0) :][:_SHOWN]
    chosen: dict[int, str] = {}
    for kind, rows in (("worst", order[:_SHOWN]), ("middling", middle)):
        for row in rows.tolist():
            chosen.setdefault(row, kind)
    passages = tuple(
        Passage(
            f"{kind}: {charts.place(records[row].id)}, WER {words.each[row]:.2f}",
            _aligned(words.pairs[row]),
            _flac(store, row, rate) if kind == "worst" else None,
        )
        for row, kind in chosen.items()
    )
    caption = (
        "By WER of the single recording. In grey what was said; behind it what was heard, right words coloured. The "
        "worst can be played."
    )
    return Passages("recordings", "What was heard beside what was said", caption, passages)


def _flac(store: ClipStore, row: int, rate: int) -> bytes:
    """A clip as the model hears it, at most its first seconds."""
    file = BytesIO()
    soundfile.write(file, store.fetch(np.array([row]))["audio"][: round(_LONGEST_PLAYED * rate)], rate, format="FLAC")
    return file.getvalue()


def _aligned(pairs: Sequence[tuple[str, str]]) -> tuple[tuple[str, float | None], ...]:
    said = " ".join(given for given, _ in pairs if given) or "nothing"
    heard = [(f"{found} ", 1.0 if found == given else 0.0) for given, found in pairs if found]
    return ((f"{said}  →  ", None), *(heard or [("nothing ", 0.0)]))


def _spectrograms(
    order: np.ndarray,
    records: Sequence[Record],
    references: Raw,
    config: Config,
    store: ClipStore,
    model: Any,
) -> list[Figure | Passages]:
    """Of the worst recordings that are not too long, with the words that were heard where they were heard."""
    from tasks.speech_recognition.looking import spectrograms

    short = references["seconds"][order] <= _LONGEST_PICTURED
    rows = order[short][:_PICTURED]
    if not len(rows):
        return []
    seen = spectrograms(model, store.fetch(rows))
    shown = [
        charts.Heard(charts.place(records[row].id), str(references["text"][row]), mels, records[row].beside or ())
        for row, mels in zip(rows.tolist(), seen, strict=True)
    ]
    return [charts.spectrograms(shown, config.hop_ms / 1_000)]


def _confused(times: Counter[tuple[str, str]], unit: str) -> list[Figure | Passages]:
    if not times:
        return []
    most = sorted(times.items(), key=lambda pair: (-pair[1], pair[0]))[:_CONFUSED]
    listed = tuple((f"{_named(given)} → {_named(found)} ({count:,})   ", 0.0) for (given, found), count in most)
    caption = f"The {unit} that were heard as others, and how often; · where there was none."
    title = f"Most confused {unit}"
    return [Passages(f"confused_{unit}", title, caption, (Passage("most often", listed),))]


def _named(unit: str) -> str:
    return "·" if not unit else "blank" if unit.isspace() else unit
