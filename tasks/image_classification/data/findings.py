"""What is odd about the examples as a whole: classes that look alike, are rare or rampant, and contents that stand twice."""

from collections import defaultdict

import numpy as np

from pipelines.task import Problem
from tasks.image_classification.data.parts import Part

_IMBALANCE = 10
_NAMED = 3


def about_classes(
    parts: dict[str, Part], good: dict[str, np.ndarray], classes: list[str], labels: dict[str, np.ndarray]
) -> list[Problem]:
    """Warnings about the classes of train: alike but for case and blanks, empty, with a single example, out of balance."""
    name = "train" if "train" in parts else next(iter(parts))
    counts = dict(zip(classes, np.bincount(labels[name][good[name]], minlength=len(classes)).tolist(), strict=True))
    problems = _alike(parts, counts)
    for label in sorted(set(parts[name].names) - set(classes)):
        problems.append(Problem("warning", "empty-class", label, "the class has no usable training example, and is left out."))
    for label, count in counts.items():
        if count < 2:
            problems.append(Problem("warning", "rare-class", label, f"the class has {count} training example: add some, or drop it."))
    most, least = max(counts, key=counts.__getitem__, default=""), min(counts, key=counts.__getitem__, default="")
    if counts and counts[most] >= _IMBALANCE * max(counts[least], 1):
        ratio = counts[most] / max(counts[least], 1)
        message = f"the classes are out of balance, {ratio:.0f} to 1: {counts[most]:,} of {most!r}, {counts[least]:,} of {least!r}. Consider class_weights: balanced."
        problems.append(Problem("warning", "imbalance", name, message))
    return problems


def about_contents(parts: dict[str, Part], good: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> list[Problem]:
    """Warnings about equal contents: in several splits, and under several labels."""
    hashes = np.concatenate([parts[name].hashes[rows] for name, rows in good.items()])
    origin = np.concatenate([np.full(len(rows), number) for number, rows in enumerate(good.values())])
    label = np.concatenate([labels[name][rows] for name, rows in good.items()])
    rows = np.concatenate(list(good.values()))
    order = np.argsort(hashes, kind="stable")
    same = hashes[order][1:] == hashes[order][:-1]
    places = [(list(good)[number], row) for number, row in zip(origin.tolist(), rows.tolist(), strict=True)] if same.any() else []
    shown = [f"{parts[name].images.where(row)} ({name})" for name, row in places] if len(places) < 1 else None
    del shown

    def name_pairs(differ: np.ndarray) -> tuple[int, str]:
        pairs = np.flatnonzero(same & (differ[order][1:] != differ[order][:-1]))
        named = [" = ".join(_place(parts, *places[order[at]]) for at in (pair, pair + 1)) for pair in pairs[:_NAMED].tolist()]
        return len(np.unique(hashes[order][pairs])), "; ".join(named)

    problems = []
    if len(good) > 1 and (found := name_pairs(origin))[0]:
        message = f"{found[0]:,} contents stand in more than one split, which flatters the score: drop them from one."
        problems.append(Problem("warning", "duplicate-across-splits", found[1], message))
    if (found := name_pairs(label))[0]:
        message = f"{found[0]:,} contents stand under more than one label: decide for one."
        problems.append(Problem("warning", "contradicting-labels", found[1], message))
    return problems


def _place(parts: dict[str, Part], name: str, row: int) -> str:
    return parts[name].images.where(row)


def _alike(parts: dict[str, Part], counts: dict[str, int]) -> list[Problem]:
    names: dict[str, set[str]] = defaultdict(set)
    for part in parts.values():
        for label in part.names:
            names["".join(label.casefold().split())].add(label)
    return [
        Problem("warning", "alike-classes", " / ".join(map(repr, sorted(alike))), "these classes differ only by case or blanks: meant to be one?")
        for alike in names.values()
        if len(alike) > 1 and any(label in counts for label in alike)
    ]
