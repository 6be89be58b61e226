"""What is odd about the examples as a whole: inputs and groups in several splits, examples that stand twice."""

from collections.abc import Mapping

import numpy as np

from pipelines.paired.parts import Part
from pipelines.task import Problem

_NAMED = 3
_FLATTERS = "in more than one split, which flatters the score: keep each in one."


def count_duplicates(parts: Mapping[str, Part], good: Mapping[str, np.ndarray]) -> dict[str, int]:
    """{"total": examples whose input and target stood before, "across_splits": inputs that stand in more than one of
    the given splits, whatever their targets}."""
    pairs = np.concatenate([part.hashes[good[name]] for name, part in parts.items()])
    inputs = np.concatenate([np.unique(part.inputs[good[name]]) for name, part in parts.items()])
    _, splits = np.unique(inputs, return_counts=True)
    return {"total": len(pairs) - len(np.unique(pairs)), "across_splits": int(np.sum(splits > 1))}


def about_contents(parts: Mapping[str, Part], good: Mapping[str, np.ndarray], unit: str) -> list[Problem]:
    """Warnings about equal inputs: in several splits, where another target makes no other example of them; and about
    examples that stand twice in one."""
    names = list(parts)
    row = np.concatenate([good[name] for name in names])
    origin = np.repeat(np.arange(len(names)), [len(good[name]) for name in names])
    inputs = np.concatenate([parts[name].inputs[good[name]] for name in names])
    pairs = np.concatenate([parts[name].hashes[good[name]] for name in names])
    order = np.lexsort((pairs, origin, inputs))
    row, origin, inputs, pairs = row[order], origin[order], inputs[order], pairs[order]
    alike, together = inputs[1:] == inputs[:-1], origin[1:] == origin[:-1]
    equal = pairs[1:] == pairs[:-1]
    across, twice = np.flatnonzero(alike & ~together), np.flatnonzero(alike & together & equal)

    def where(found: np.ndarray) -> str:
        places = [
            " = ".join(parts[names[origin[at]]].items.where(int(row[at])) for at in (one, one + 1))
            for one in found[:_NAMED].tolist()
        ]
        return "; ".join(places)

    problems = []
    if len(across):
        others = len(np.unique(inputs[across[~equal[across]]]))
        with_others = f" ({others:,} with another target there)" if others else ""
        message = f"{_stand(len(np.unique(inputs[across])), unit)}{with_others} {_FLATTERS}"
        problems.append(Problem("warning", "duplicate-across-splits", where(across), message))
    if len(twice):
        message = f"{_stand(len(twice), 'example')} a second time in the same split, where each counts again."
        problems.append(Problem("warning", "duplicate", where(twice), message))
    return problems


def _stand(count: int, noun: str) -> str:
    return f"1 {noun} stands" if count == 1 else f"{count:,} {noun}s stand"
