"""From texts to tokens, once, before training: the vocabulary, and what the model sees of each text."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from pipelines.console import Console
from pipelines.runs import Run
from pipelines.task import Assets, Data
from pipelines.text.cache import Tokens, tokenise
from pipelines.text.subwords import learn
from pipelines.text.tokenizers import Tokenizer, subwords_asset, tokenizer
from pipelines.transfer import kind_of
from pipelines.transfer.text_presets import text_preset
from tasks.text_sentiment import data as text_data
from tasks.text_sentiment import lengths
from tasks.text_sentiment.config import Config
from tasks.text_sentiment.data.stores import TextStore
from tasks.text_sentiment.implied import imply


def load_data(config: Config) -> Data:
    """The data of a run, tokenised, with the asset `tokenizer`.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) an example.
    """
    config = imply(config)
    data = text_data.load_data(config)
    asset = _asset(config, data)
    return _tokenised(config, replace(data, assets={**data.assets, "tokenizer": asset}))


def load_test(config: Config, assets: Assets) -> Data:
    """What a finished model is scored on, tokenised as it was trained.

    Raises:
        DataError: as load_data; also for labels that are no class of the model.
    """
    data = text_data.load_test(config, assets)
    return _tokenised(config, replace(data, assets={**data.assets, "tokenizer": assets["tokenizer"]}))


def _asset(config: Config, data: Data) -> dict[str, Any]:
    """The tokenizer that the pretrained weights were trained with; without such, pieces learnt from the train split."""
    if config.pretrained is not None and kind_of(config.pretrained) == "run":
        return dict(Run(Path(config.pretrained)).read_json("model/tokenizer.json"))
    if config.pretrained is not None:
        return text_preset(config.pretrained).tokenizer
    store = cast(TextStore, data.splits["train"])
    texts = store.texts(np.arange(len(store)))
    pieces = learn(texts, config.vocabulary_size, lowercase=config.lowercase)
    return subwords_asset(pieces, lowercase=config.lowercase)


def _tokenised(config: Config, data: Data) -> Data:
    """The same splits with the tokens of each text, and what is cut of them."""
    asset = data.assets["tokenizer"]
    known = tokenizer(asset)
    splits, cut = {}, {}
    for split, store in data.splits.items():
        texts = cast(TextStore, store)
        tokens = _tokens(texts, known, asset, f"{data.fingerprint}|{split}", split)
        sizes = lengths.sizes(config, known)(tokens.lengths)
        splits[split] = replace(texts, tokens=tokens, sizes=sizes)
        cut[split] = cut_in_words(tokens.lengths, lengths.cut(config, known)(tokens.lengths))
    counts = np.concatenate([store.length for store in splits.values()])
    about = {"least": int(counts.min()), "median": int(np.median(counts)), "most": int(counts.max())}
    return replace(data, splits=dict(splits), summary={**data.summary, "tokens": about, "cut": cut})


def _tokens(store: TextStore, known: Tokenizer, asset: dict[str, Any], fingerprint: str, split: str) -> Tokens:
    texts, done = store.encoded(np.arange(len(store))), 0
    with Console().bar(f"tokens of {split}", len(texts), "texts") as show:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            show(done)

        return tokenise(list(texts), known, asset, fingerprint, advance)


def cut_in_words(whole: np.ndarray, seen: np.ndarray) -> str:
    """How many texts of a split are longer than what the model sees, and how many of all their tokens it does not;
    int64 [texts] both."""
    texts, lost = int((seen < whole).sum()), int((whole - seen).sum())
    if not lost:
        return "none"
    return f"{texts:,} texts ({texts / len(whole):.1%}), {lost:,} tokens ({lost / int(whole.sum()):.1%} of all)"
