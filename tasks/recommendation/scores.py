"""How recommendation is judged: lists by what users went on to take and by what they are made of, ratings by how far
off they are; the baselines and the figures lie beside.

`Record.output` holds the codes of a user's list, int32 [100 or k], best first, -1 behind the last; where ratings are
predicted, float32 [1].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines import scoring
from pipelines.task import Assets, Interval, Raw, Record, Scores
from tasks.recommendation import measures
from tasks.recommendation.config import CUTOFFS, Config
from tasks.recommendation.measures import ACCURACY, Found, ratio_of_means

_CALLED = {name: "average_precision" if name == "map" else name for name in ACCURACY}
"""In tables without a cutoff in the name, where map would be read as that over classes."""
_MOST_RATINGS = 12
"""Different ratings that are told apart."""


def targets(references: Raw, assets: Assets) -> list[Any]:
    """What was held out of each user, by name, None for an item that the model does not know; or the rating."""
    if "rating" in references:
        return [round(rating, 4) for rating in references["rating"].tolist()]
    names = [*assets["items"], None]
    taken = [names[code] for code in references["target"].tolist()]
    splits = references["target_splits"].tolist()
    return [taken[start:stop] for start, stop in zip(splits, splits[1:], strict=False)]


def score(records: Sequence[Record], references: Raw, config: Config, assets: Assets) -> Scores:
    """Of lists NDCG (the headline), HR, recall, MRR and MAP at k, means over users with intervals over users; and what
    the lists are made of: coverage, Gini's coefficient, novelty, the share of the tail. By other cutoffs, by how much a
    user took before, by how popular the held-out items are. See `measures`.

    Of ratings RMSE (the headline) and MAE, their intervals from resampling users; by how much a user rated, by item's
    popularity, by rating.

    Raises:
        DataError: there is nothing to score, or a record has no list.
    """
    if config.rates:
        predicted = scoring.outputs_of(records, len(references["user"]), "rating")[:, 0]
        return _of_ratings(predicted, references, assets)
    return _of_lists(scoring.outputs_of(records, len(references["user"]), "user"), references, config, assets)


def _of_lists(lists: np.ndarray, references: Raw, config: Config, assets: Assets) -> Scores:
    k, counts = config.k, np.asarray(assets["counts"])
    found = Found.of(lists, references["target"], references["target_splits"])
    lengths = sorted({*CUTOFFS, k, max(lists.shape[1], k)})
    columns = {f"{name}@{at}": values for at in lengths for name, values in found.at(at).items()}
    shown = lists[:, :k]
    made_of = {f"novelty@{k}": measures.novelty(shown, counts), f"tail_share@{k}": measures.tail_share(shown, counts)}
    if "candidates" in references:
        # Of what is drawn to be ranked against, the lists' make-up says nothing of the model.
        made_of = {}
    drawn = scoring.resample({**columns, **made_of}, scoring.SEED, dict.fromkeys(made_of, ratio_of_means))
    each = {name: one.interval for name, one in drawn.items()}
    scores = {name: each[name] for name in (f"{name}@{k}" for name in ACCURACY)}
    if made_of:
        scores |= {f"coverage@{k}": Interval(measures.coverage(shown, len(counts)))}
        scores |= {f"gini@{k}": Interval(measures.gini(shown, len(counts)))} | {name: each[name] for name in made_of}
    own = {called: columns[f"{name}@{k}"] for name, called in _CALLED.items()}
    by_kind = measures.found_by_kind(shown, references["target"], references["target_splits"], counts)
    breakdowns = {
        "cutoffs": {
            f"top {at:,}": {called: vars(each[f"{name}@{at}"]) for name, called in _CALLED.items()} for at in lengths
        },
        "activity": _by_activity(references["activity"], own, "items taken before"),
        "held_out_items": by_kind,
    }
    own_drawn = scoring.drawn_of({name: one for name, one in drawn.items() if name in scores})
    return Scores(f"ndcg@{k}", scores, breakdowns, own_drawn)


def _by_activity(activity: np.ndarray, values: Mapping[str, np.ndarray], unit: str) -> dict[str, dict[str, Any]]:
    """Rows for a table: how users did who took as many items before."""
    rows = {}
    for name, part in scoring.quarters(activity, unit).items():
        means = scoring.bootstrap({score: column[part] for score, column in values.items()}, scoring.SEED)
        rows[name] = {"users": len(part), **{score: vars(mean) for score, mean in means.items()}}
    return rows


def _of_ratings(predicted: np.ndarray, references: Raw, assets: Assets) -> Scores:
    user, rating = references["user"], references["rating"]
    found = _errors(predicted, rating, user)
    counts, item = np.asarray(assets["counts"]), references["item"]
    kinds = {name: (item >= 0) & kind[np.maximum(item, 0)] for name, kind in measures.kinds_of_items(counts).items()}
    activity = np.bincount(user[user >= 0], minlength=int(user.max(initial=0)) + 1)[np.maximum(user, 0)]
    parts = {
        "activity": scoring.quarters(np.where(user >= 0, activity, 0), "ratings in the test"),
        "item_popularity": {name: np.flatnonzero(kind) for name, kind in kinds.items() if kind.any()},
    }
    stars = np.unique(rating)
    if len(stars) <= _MOST_RATINGS:
        parts["rating"] = {f"{star:g}": np.flatnonzero(rating == star) for star in stars.tolist()}
    breakdowns = {
        name: {row: _row(predicted[rows], rating[rows]) for row, rows in table.items()} for name, table in parts.items()
    }
    scores = {name: one.interval for name, one in found.items()}
    return Scores("rmse", scores, breakdowns, scoring.drawn_of(found))


def _errors(predicted: np.ndarray, rating: np.ndarray, user: np.ndarray) -> dict[str, scoring.Resampled]:
    """rmse and mae over all ratings alike; rmse_by_user, the mean over users of each one's."""
    sums = measures.errors_by_user(rating, predicted, user)
    columns = {
        "rmse": np.stack([sums["squared"], sums["count"]], axis=1),
        "mae": np.stack([sums["absolute"], sums["count"]], axis=1),
        "rmse_by_user": np.sqrt(sums["squared"] / sums["count"]),
    }
    return scoring.resample(
        columns, scoring.SEED, {"rmse": lambda means: np.sqrt(ratio_of_means(means)), "mae": ratio_of_means}
    )


def _row(predicted: np.ndarray, rating: np.ndarray) -> dict[str, Any]:
    error = predicted.astype(np.float64) - rating
    return {
        "ratings": len(rating),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.abs(error).mean()),
        "mean_error": float(error.mean()),
    }
