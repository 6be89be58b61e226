"""The language model of a run: what it learns from, and the decoder that uses it. Imports no TensorFlow."""

from collections.abc import Callable, Sequence
from typing import Any

from pipelines.task import Assets
from tasks.speech_recognition.beam import ByCharacters, ByLength, ByWords, Judge, PrefixBeam
from tasks.speech_recognition.config import Config
from tasks.speech_recognition.decoding import Decoder, Greedy
from tasks.speech_recognition.ngrams import NGrams, counted

ASSET = "language_model"


def learnt(texts: Sequence[str], labels: Sequence[Sequence[int]], size: int, config: Config) -> Assets:
    """The asset of training transcripts, by its name; none where no model was asked for.

    Args:
        texts: the transcripts.
        labels: the same in numbers of the alphabet, which may be pieces.
        size: of the alphabet.
        config: names the model.
    """
    if config.language_model == "none":
        return {}
    if config.language_model == "characters":
        return {ASSET: {"of": "characters", **counted(labels, config.lm_order, size)}}
    every = sorted({word for text in texts for word in text.split()})
    number = {word: place for place, word in enumerate(every, start=1)}
    rows = [[number[word] for word in text.split()] for text in texts]
    return {ASSET: {"of": "words", "words": every, **counted(rows, config.lm_order, len(every) + 1)}}


def decoder(config: Config, assets: Assets) -> Callable[[], Decoder]:
    """What makes a decoder for each recording: the likeliest path where one beam is followed and nothing else judges,
    else a search."""
    if config.beams == 1:
        return Greedy
    judge = _judge(config, assets)
    return lambda: PrefixBeam(config.beams, judge)


def _judge(config: Config, assets: Assets) -> Judge:
    asset: dict[str, Any] | None = assets.get(ASSET)
    if asset is None or not config.lm_weight:
        return ByLength()
    model, weights = NGrams(asset), (config.lm_weight, config.length_bonus)
    if asset["of"] == "characters":
        return ByCharacters(model, *weights)
    numbers = {word: place for place, word in enumerate(asset["words"], start=1)}
    return ByWords(model, numbers, assets["alphabet"], *weights)
