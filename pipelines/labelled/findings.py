"""What is odd about the examples as a whole: classes alike, rare or rampant; contents and groups that stand twice."""

from collections import defaultdict
from operator import itemgetter

import numpy as np

from pipelines.labelled.labels import codes
from pipelines.labelled.labels import counts as label_counts
from pipelines.labelled.parts import Part
from pipelines.task import Problem

_IMBALANCE = 10
_NAMED = 3
_RARE = 20


def about_classes(
    parts: dict[str, Part], good: dict[str, np.ndarray], classes: list[str], labels: dict[str, np.ndarray]
) -> list[Problem]:
    """Warnings about the classes of train: alike but for case and blanks, empty, of one example, out of balance."""
    train = label_counts(labels["train"][good["train"]], len(classes))
    counts = dict(zip(classes, train.tolist(), strict=True))
    problems = _alike(parts, counts)
    for label in sorted(set(parts["train"].names) - set(classes)):
        problems.append(
            Problem("warning", "empty-class", label, "has no usable training example: the class is left out.")
        )
    problems += _rare([label for label, count in counts.items() if count < 2], len(counts))
    if counts:
        remedy = "class_weights" if labels["train"].ndim == 1 else "loss focal"
        problems += _imbalance(max(counts.items(), key=itemgetter(1)), min(counts.items(), key=itemgetter(1)), remedy)
    return problems


def about_contents(parts: dict[str, Part], good: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> list[Problem]:
    """Warnings about equal contents: in several splits, and under several labels."""
    names = list(good)
    hashes = np.concatenate([parts[name].hashes[good[name]] for name in names])
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    origin = np.concatenate([np.full(len(good[name]), number) for number, name in enumerate(names)])[order]
    label = codes(np.concatenate([labels[name][good[name]] for name in names]))[order]
    row = np.concatenate([good[name] for name in names])[order]
    same = hashes[1:] == hashes[:-1]

    def warn(differ: np.ndarray, kind: str, message: str) -> list[Problem]:
        pairs = np.flatnonzero(same & (differ[1:] != differ[:-1]))
        contents = len(np.unique(hashes[pairs]))
        where = [
            " = ".join(parts[names[origin[at]]].items.where(int(row[at])) for at in (pair, pair + 1))
            for pair in pairs[:_NAMED]
        ]
        subject = "1 content stands" if contents == 1 else f"{contents:,} contents stand"
        return [Problem("warning", kind, "; ".join(where), f"{subject} {message}")] if contents else []

    across = "in more than one split, which flatters the score: keep it in one."
    contradicting = "under more than one label: decide for one."
    return warn(origin, "duplicate-across-splits", across) + warn(label, "contradicting-labels", contradicting)


def _rare(labels: list[str], classes: int) -> list[Problem]:
    """Those of one example, each by its name; of very many, which other cells than labels would be too, the first."""
    if len(labels) > _RARE:
        message = f"{len(labels):,} of {classes:,} classes have a single training example: are they labels?"
        return [Problem("warning", "rare-class", f"{', '.join(labels[:_NAMED])}, …", message)]
    message = "has a single training example: add some, or drop the class."
    return [Problem("warning", "rare-class", label, message) for label in labels]


def _imbalance(most: tuple[str, int], least: tuple[str, int], remedy: str) -> list[Problem]:
    ratio = most[1] / least[1]
    if ratio < _IMBALANCE:
        return []
    message = f"out of balance, {ratio:.0f} to 1 ({most[1]:,} examples and {least[1]:,}): consider {remedy}."
    return [Problem("warning", "imbalance", f"{most[0]} / {least[0]}", message)]


def _alike(parts: dict[str, Part], counts: dict[str, int]) -> list[Problem]:
    names: dict[str, set[str]] = defaultdict(set)
    for part in parts.values():
        for label in part.names:
            names["".join(label.casefold().split())].add(label)
    return [
        Problem(
            "warning",
            "alike-classes",
            " / ".join(map(repr, sorted(alike))),
            "differ only by case or blanks: meant to be one?",
        )
        for alike in names.values()
        if len(alike) > 1 and any(label in counts for label in alike)
    ]
