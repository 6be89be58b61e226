"""From sentences to pieces, once, before training: the vocabulary, and what the model sees of each pair."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from pipelines.console import Console
from pipelines.errors import DataError
from pipelines.runs import Run
from pipelines.task import Assets, Data
from pipelines.text.cache import Tokens, tokenise
from pipelines.text.ids import Ids
from pipelines.transfer import kind_of
from pipelines.transfer.pair_presets import pair_tokenizer
from tasks.translation import data as pairs
from tasks.translation.config import PRESET, Config
from tasks.translation.data.stores import PairStore
from tasks.translation.encoding import marks
from tasks.translation.implied import imply
from tasks.translation.lengths import fitting, padding
from tasks.translation.vocabulary import SIDES, Cutter, Vocabulary, learnt, preset_asset, side_of, vocabulary


def load_data(config: Config) -> Data:
    """The data of a run in pieces. Of train, pairs that are longer than max_tokens are left out.

    Assets: `languages`; `vocabulary`; `pieces`, their names, or `source_pieces` and `target_pieces`; of presets
    `ids` in their place; `longest`, the pieces of the longest source that is trained on, with its end.

    Raises:
        ConfigError: what `pretrained` names brings other pieces or another network than the settings say.
        DataError: a source cannot be used, or (on_bad: fail) an example; or no pair is short enough to train on.
    """
    config = imply(config)
    data = pairs.load_data(config)
    data = replace(data, assets={**data.assets, **_of_pieces(config, cast(PairStore, data.splits["train"]))})
    known = vocabulary(data.assets)
    data = _shortened(config, _tokenised(config, data, known))
    longest = int(cast(PairStore, data.splits["train"]).length.max()) + 1
    return replace(data, assets={**data.assets, **_names(known), "longest": longest})


def load_test(config: Config, assets: Assets) -> Data:
    """What a finished model is scored on, in its pieces.

    Raises:
        DataError: as load_data.
    """
    data = pairs.load_test(config, assets)
    kept = {name: value for name, value in assets.items() if name not in data.assets}
    return _tokenised(config, replace(data, assets={**data.assets, **kept}), vocabulary(assets))


def _of_pieces(config: Config, train: PairStore) -> Assets:
    """The vocabulary of what training starts from, a preset or a run; without one, learnt from the train split."""
    about: dict[str, Any] = {"lowercase": config.lowercase, "prefix": config.source_prefix or ""}
    if config.pretrained is not None and kind_of(config.pretrained) == "preset":
        found = pair_tokenizer(config.pretrained)
        return {"vocabulary": preset_asset(found.asset, **about), "ids": found.ids}
    if config.pretrained is not None and config.keep_pieces:
        run = Run(Path(config.pretrained))
        asset = dict(run.read_json("model/vocabulary.json"))
        if config.backbone == PRESET:
            return {"vocabulary": {**asset, **about}, "ids": run.read_json("model/ids.json")}
        return {"vocabulary": asset}
    every = np.arange(len(train))
    return {"vocabulary": learnt(train.sources(every), train.targets(every), config)}


def _names(known: Vocabulary) -> Assets:
    if not known.learnt:
        return {}
    if known.joint:
        return {"pieces": known.source.names}
    return {"source_pieces": known.source.names, "target_pieces": known.target.names}


def _tokenised(config: Config, data: Data, known: Vocabulary) -> Data:
    """The same splits with the pieces of each sentence, and what is cut of them."""
    asset, ids = data.assets["vocabulary"], Ids.of(data.assets)
    around = [sum(map(len, marks(side, ids))) for side in SIDES]
    splits: dict[str, PairStore] = {}
    cut = {}
    for split, store in data.splits.items():
        pair = cast(PairStore, store)
        texts = pair.encoded(np.arange(len(pair)))
        made = [
            _pieces(column, own, side_of(asset, side), f"{data.fingerprint}|{split}|{side}", f"{side} of {split}")
            for side, own, column in zip(SIDES, (known.source, known.target), texts, strict=True)
        ]
        splits[split] = replace(pair, pieces=(made[0], made[1]), marks=(around[0], around[1]))
        if split != "train":
            cut[split] = _cut_in_words(splits[split], config)
    sizes = {known: one.size for known, one in zip(SIDES, (known.source, known.target), strict=True)}
    about = {"pieces": known.source.size if known.joint else sizes, "tokens": _spread(list(splits.values()))}
    return replace(data, splits=dict(splits), summary={**data.summary, **about, "cut": cut})


def _pieces(texts: np.ndarray, known: Cutter, asset: dict[str, Any], fingerprint: str, label: str) -> Tokens:
    done = 0
    with Console().bar(f"pieces of {label}", len(texts), "sentences") as show:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            show(done)

        return tokenise(list(texts), known, asset, fingerprint, advance)


def _shortened(config: Config, data: Data) -> Data:
    """The data without the pairs of train that the model would not see all of."""
    train = cast(PairStore, data.splits["train"])
    assert train.sizes is not None
    kept = np.flatnonzero(fitting(train.sizes, config))
    most = f"{config.max_tokens} pieces a side"
    if not len(kept):
        raise DataError(f"none of the {len(train):,} training pairs has at most {most}: raise max_tokens.")
    left = len(train) - len(kept)
    store = train.only(kept)
    assert store.sizes is not None
    told = f"{left:,} of {len(train):,} training pairs, of more than {most}" if left else "none"
    summary = {**data.summary, "left_out": told, "padding": f"{padding(store.sizes, config):.1%} of all places"}
    hashes = {**data.hashes, "train": data.hashes["train"][kept]}
    return replace(data, splits={**data.splits, "train": store}, hashes=hashes, summary=summary)


def _spread(stores: Sequence[PairStore]) -> dict[str, str]:
    """How many pieces the texts of all splits have, marks not counted."""
    sizes = np.concatenate([store.sizes - np.array(store.marks) for store in stores if store.sizes is not None])
    return {
        side: f"{column.min():,} to {column.max():,}, median {int(np.median(column)):,}"
        for side, column in zip(SIDES, sizes.T, strict=True)
    }


def _cut_in_words(store: PairStore, config: Config) -> str:
    """How many sources and targets of a split are longer than what the model sees."""
    assert store.sizes is not None
    source, target = (store.sizes > config.max_tokens).sum(axis=0).tolist()
    if not source and not target:
        return "none"
    return f"{source:,} sources and {target:,} targets, to {config.max_tokens} pieces"
