"""What the report shows of the test users: popularity of what is recommended, new items, examples of users with their
history and list, a map of the items; of ratings what was predicted where each came."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines import scoring
from pipelines.task import Assets, Figure, Passage, Passages, Raw, Record, Store
from tasks.recommendation import charts, measures
from tasks.recommendation.config import Config
from tasks.recommendation.data.packing import unpacked
from tasks.recommendation.measures import Found
from tasks.recommendation.ranking import ranked

_GROUPS = 10
_OF_POPULARITY = 500
"""Users whose lists of popular items are made for comparison."""
_EACH = 2
"""Examples of users of a kind."""
_HISTORY = 12
"""Items of a history that are shown, the latest."""
_NEW_ITEMS = 5
_ON_THE_MAP = 4_000
"""Items, chosen by the seed."""
_MOST_COLOURS = 10
_EXACT = 512
"""Numbers of an item's vector up to which the map is computed exactly."""


def figures(
    records: Sequence[Record], references: Raw, config: Config, assets: Assets, store: Store, model: Any
) -> list[Figure | Passages]:
    """Of lists popularity, new items and examples; of ratings what was predicted; of both a map of the items."""
    found: list[Figure | Passages]
    if config.rates:
        found = [_ratings(records, references)]
    else:
        lists = scoring.outputs_of(records, len(references["user"]), "user")
        found = [
            *_popularity(lists[:, : config.k], references, config, assets, store),
            *_new_items(lists[:, : config.k], references, config, assets),
            *_examples(lists, records, references, config, assets, store),
        ]
    return [*found, *_map(config, assets, model)]


def _ratings(records: Sequence[Record], references: Raw) -> Figure:
    predicted = scoring.outputs_of(records, len(references["user"]), "rating")[:, 0]
    caption = (
        "Boxes hold the middle half of what was predicted where each rating came, whiskers all but 5 % at either end, "
        "the line is the median; dashed, what would be right. Squared errors draw predictions towards the mean."
    )
    return charts.predicted_ratings(references["rating"], predicted, caption)


# ---- popularity ------------------------------------------------------------------------------------------------


def _popularity(
    shown: np.ndarray, references: Raw, config: Config, assets: Assets, store: Store
) -> list[Figure | Passages]:
    """How often items of each tenth by popularity are recommended, beside how often they are taken."""
    if "candidates" in references:
        return []
    counts = np.asarray(assets["counts"])
    groups = min(_GROUPS, len(counts))
    group = np.empty(len(counts), np.int64)
    group[measures.by_popularity(counts)] = np.arange(len(counts)) * groups // len(counts)

    def share(items: np.ndarray) -> np.ndarray:
        times = np.bincount(group[items[items >= 0]], minlength=groups)
        return np.asarray(times / max(times.sum(), 1))

    popular = _popular(counts, config, store)
    shares = {
        "training interactions": np.bincount(group, counts, groups) / max(counts.sum(), 1),
        "held-out interactions": share(references["target"]),
        f"recommended by the model, first {config.k}": share(shown),
        f"recommended by popularity, first {config.k}": share(popular),
    }
    return [charts.popularity_bias(shares, groups)]


def _popular(counts: np.ndarray, config: Config, store: Store) -> np.ndarray:
    """The lists of popular items of some users, without what they took before: int32 [users, k]."""
    chosen = np.arange(len(store))
    if len(chosen) > _OF_POPULARITY:
        chosen = np.sort(np.random.default_rng(config.seed).permutation(len(store))[:_OF_POPULARITY])
    raw = store.fetch(chosen)
    found = []
    for row, user in enumerate(raw["user"]):
        history = raw["history"][raw["history_splits"][row] : raw["history_splits"][row + 1]]
        excluded = history, np.array([0, len(history)])
        found.append(ranked(counts[None].astype(np.float32), user[None], config.k, excluded)[0])
    return np.concatenate(found)


def _new_items(shown: np.ndarray, references: Raw, config: Config, assets: Assets) -> list[Figure | Passages]:
    """What those got that had no interaction in training."""
    counts = np.asarray(assets["counts"])
    new = counts == 0
    if "candidates" in references or not new.any():
        return []
    rows = measures.found_by_kind(shown, references["target"], references["target_splits"], counts)
    rows = {name: rows[name] for name in measures.kinds_of_items(counts)}
    times = np.bincount(shown[shown >= 0], minlength=len(counts))
    own = rows["new items"]
    caption = (
        f"{own['items']:,} of {len(counts):,} items have no interaction in training: {int((times[new] > 0).sum()):,} "
        f"of them stand in any list of {config.k}"
    )
    if own["held_out"]:
        caption += f", and {own['found']:.1%} of the {own['held_out']:,} held-out interactions with them were found"
    caption += ". A model without features of items cannot tell one of them from another."
    return [charts.kinds(rows, caption), *_named(shown, references, times, new, assets)]


def _named(
    shown: np.ndarray, references: Raw, times: np.ndarray, new: np.ndarray, assets: Assets
) -> list[Figure | Passages]:
    """The new items that most took, each with how often it was recommended."""
    target = references["target"]
    taken = np.bincount(target[target >= 0], minlength=len(new))
    order = np.lexsort((-times, -taken))
    chosen = order[new[order] & (taken[order] > 0)][:_NEW_ITEMS]
    if not len(chosen):
        return []
    user = np.repeat(np.arange(len(shown)), np.diff(references["target_splits"]))
    passages = []
    for item in chosen.tolist():
        found = int((shown[user[target == item]] == item).any(axis=1).sum())
        text = f"taken by {taken[item]:,} users, recommended to {times[item]:,}, found for {found:,}"
        passages.append(Passage(_name(item, assets), ((text, 0.0),)))
    caption = "Those that most users took in the test, though nobody had before."
    return [Passages("new_items_by_name", "New items by name", caption, tuple(passages))]


# ---- examples --------------------------------------------------------------------------------------------------


def _examples(
    lists: np.ndarray, records: Sequence[Record], references: Raw, config: Config, assets: Assets, store: Store
) -> list[Figure | Passages]:
    """Users of whom the list found most, a little, and nothing."""
    gain = Found.of(lists, references["target"], references["target_splits"]).at(config.k)["ndcg"]
    passages = []
    for kind, row in _chosen(gain, references["activity"]):
        raw = store.fetch(np.array([row]))
        words = _words(raw["history"], lists[row, : config.k], raw["target"], assets)
        heading = (
            f"{kind}: {records[row].id}, NDCG@{config.k} {gain[row]:.3f}, {references['activity'][row]:,} items before"
        )
        passages.append(Passage(heading, words))
    caption = (
        f"Two users each of the best lists, of those that found something, and of those that found nothing. In grey "
        f"the latest {_HISTORY} items that the user took; coloured, what is recommended and was held out."
    )
    return [Passages("examples", "Users and their lists", caption, tuple(passages))]


def _chosen(gain: np.ndarray, activity: np.ndarray) -> list[tuple[str, int]]:
    """What they stand for, and the row: the best, the middle of those with something found, and of those with nothing
    the ones who took a middling number of items before."""
    order = np.lexsort((np.arange(len(gain)), -gain))
    hit = order[gain[order] > 0]
    middle = hit[_EACH:][max(len(hit[_EACH:]) // 2 - _EACH // 2, 0) :]
    missed = np.flatnonzero(gain == 0)
    missed = missed[np.argsort(activity[missed], kind="stable")]
    missed = missed[max((len(missed) - _EACH) // 2, 0) :]
    kinds = {"among the best": hit, "found something": middle, "found nothing": missed}
    return [(kind, int(row)) for kind, rows in kinds.items() for row in rows[:_EACH]]


def _words(
    history: np.ndarray, listed: np.ndarray, target: np.ndarray, assets: Assets
) -> tuple[tuple[str, float | None], ...]:
    latest = [_name(item, assets) for item in history[-_HISTORY:].tolist()]
    before = f"{'… ' if len(history) > _HISTORY else ''}{' · '.join(latest)}" if latest else "nothing"
    words: list[tuple[str, float | None]] = [("took ", 0.0), (before, None), (" → recommended ", 0.0)]
    held_out = {*target.tolist()}
    there = [item for item in listed.tolist() if item >= 0]
    for place, item in enumerate(there):
        between = " · " if place else ""
        words += [(between, 0.0), (_name(item, assets), 1.0 if item in held_out else 0.0)]
    others = [_name(item, assets) for item in target.tolist() if item not in there]
    if others:
        most = others[:_HISTORY]
        more = f" and {len(others) - len(most):,} more" if len(others) > len(most) else ""
        words.append((f" → not found: {' · '.join(most)}{more}", 0.0))
    return tuple(words)


def _name(item: int, assets: Assets) -> str:
    """Its title, where there is one; else its id."""
    if item < 0:
        return "an item unknown to the model"
    titles = (assets.get("features", {}).get("items") or {}).get("titles")
    return str((titles and titles[item]) or assets["items"][item])


# ---- the map ---------------------------------------------------------------------------------------------------


def _map(config: Config, assets: Assets, model: Any) -> list[Figure | Passages]:
    """The items by the two main directions of their vectors."""
    from sklearn.decomposition import PCA

    counts = np.asarray(assets["counts"])
    vectors = _vectors(config, len(counts), model)
    # What was never learnt has no place, unless features give it one.
    chosen = np.arange(len(counts)) if config.backbone == "two-tower" else np.flatnonzero(counts)
    if len(chosen) > _ON_THE_MAP:
        chosen = np.sort(np.random.default_rng(config.seed).permutation(chosen)[:_ON_THE_MAP])
    if len(chosen) < 3 or vectors.shape[1] < 2:
        return []
    part = vectors[chosen].astype(np.float64)
    part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-12)
    # Of as many numbers as there are items an exact one takes minutes.
    exact = (
        {"svd_solver": "full"} if part.shape[1] <= _EXACT else {"svd_solver": "randomized", "random_state": config.seed}
    )
    pca = PCA(2, **exact).fit(part)
    groups, by = _colours(assets, chosen)
    caption = (
        f"{len(chosen):,} items by the two main directions of their vectors, each of length 1 (PCA); these hold "
        f"{pca.explained_variance_ratio_.sum():.0%} of how the vectors differ. Colour: {by}."
    )
    return [charts.item_map(pca.transform(part), groups, counts[chosen], caption)]


def _vectors(config: Config, items: int, model: Any) -> np.ndarray:
    """float32 [items, width]: without biases; where features are seen, what comes of them."""
    import keras

    from pipelines.devices import forward
    from tasks.recommendation.backbones import ITEMS, towers

    if config.backbone == "two-tower":
        everything = np.arange(items, dtype=np.int32)[None]
        return np.asarray(forward(towers(model)[1])({"item": everything})[0], np.float32)
    table: np.ndarray = keras.ops.convert_to_numpy(model.get_layer(ITEMS).embeddings).astype(np.float32)
    return table[:, : config.width] if config.backbone == "mf" else table


def _colours(assets: Assets, chosen: np.ndarray) -> tuple[dict[str, np.ndarray] | None, str]:
    """The items of each value of the first category among their features that has few, and its name; else none."""
    columns = (assets.get("features", {}).get("items") or {}).get("columns", [])
    for column in columns:
        if column["kind"] == "category" and 2 <= len(column["names"]) <= _MOST_COLOURS:
            codes = unpacked(column["codes"])[chosen]
            groups = {name: codes == code for code, name in enumerate(column["names"])}
            return groups | {"none": codes < 0} if (codes < 0).any() else groups, f"{column['name']}; size: popularity"
    return None, "popularity"
