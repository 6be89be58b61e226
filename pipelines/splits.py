"""How examples become train, validation and test where the data does not say: by content, never by chance.

Examples are ranked within their class by a hash of their content and cut by quota. So the cut is stratified, does not
change with the order of the rows or the seed, barely moves when rows are added, and equal contents stay together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.errors import DataError

SPLITS = ("train", "valid", "test")
_SPOKEN = {"train": "train", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class Rows:
    """What decides where each example of one given source goes."""

    hashes: np.ndarray
    """uint64 [n], of the content."""
    labels: np.ndarray
    """int [n]; all 0 where there is nothing to stratify by."""
    groups: np.ndarray | None = None
    """int64 [n]: what must stay together."""
    stratum: str | None = "class"
    """What a label stands for, in the protocol's words; None where there is nothing to stratify by."""


@dataclass(frozen=True)
class Splits:
    """Which rows of which given source make up each split."""

    rows: dict[str, tuple[str, np.ndarray]]
    """train, valid, test -> (the given source, int64 rows of it, ascending)."""
    protocol: str
    """One sentence: what is scored and how it was cut."""
    duplicates: dict[str, int]
    """total: examples whose content stood before; across_splits: contents that stand in more than one given split."""


def make_splits(given: Mapping[str, Rows], shares: Sequence[float], limit: int | None = None) -> Splits:
    """The three splits.

    Args:
        given: the sources by what they were given as. train alone is cut in three; with one of valid and test, that
            one is the test set and validation is cut from train; with all three nothing is cut.
        shares: of train, valid and test, adding up to 1; or counts.
        limit: at most so many examples of each split, the first by hash, spread over the classes.

    Raises:
        DataError: a split would be empty, or more examples are asked for than there are.
    """
    if "train" not in given:
        raise DataError(f"the data brings only {' and '.join(given)}, no train split: name the source to train on.")
    rows = _assign(given, shares)
    for name in SPLITS:
        if not len(rows[name][1]):
            raise DataError(_empty(name, len(given["train"].hashes), shares))
    protocol = _protocol(given, rows)
    if limit is not None:
        rows = {name: (source, first(given[source], chosen, limit)) for name, (source, chosen) in rows.items()}
        protocol = f"{protocol[:-1]}; each split limited to its first {_spelt(limit)} by content hash."
    return Splits(rows, protocol, count_duplicates({name: part.hashes for name, part in given.items()}))


def count_duplicates(hashes: Mapping[str, np.ndarray]) -> dict[str, int]:
    """{"total": examples whose content stood before, "across_splits": contents in more than one split}."""
    unique = [np.unique(part) for part in hashes.values()]
    contents, splits = np.unique(np.concatenate(unique), return_counts=True)
    return {"total": sum(map(len, hashes.values())) - len(contents), "across_splits": int(np.sum(splits > 1))}


def apportion(total: int, weights: np.ndarray, capacity: np.ndarray) -> np.ndarray:
    """`total` seats by largest remainder, none above its capacity; fewer than `total` where the capacity is short."""
    weights = weights.astype(np.int64)
    whole = max(int(weights.sum()), 1)
    seats: np.ndarray = np.minimum(total * weights // whole, capacity)
    order = np.argsort(-(total * weights % whole), kind="stable")
    while (rest := total - int(seats.sum())) > 0:
        free = order[seats[order] < capacity[order]][:rest]
        if not len(free):
            break
        seats[free] += 1
    return seats


def _assign(given: Mapping[str, Rows], shares: Sequence[float]) -> dict[str, tuple[str, np.ndarray]]:
    train = given["train"]
    further = [name for name in ("test", "valid") if name in given]
    if len(further) == 2:
        return {name: (name, np.arange(len(given[name].hashes))) for name in SPLITS}
    whole = not _are_counts(shares)
    if not further:
        parts = _cut(train, _counts(len(train.hashes), shares, whole), whole)
        return {name: ("train", part) for name, part in zip(SPLITS, parts, strict=True)}
    kept, valid, _ = _cut(train, _counts(len(train.hashes), (*shares[:2], 0), whole), whole)
    test = np.arange(len(given[further[0]].hashes))
    return {"train": ("train", kept), "valid": ("train", valid), "test": (further[0], test)}


def _counts(examples: int, shares: Sequence[float], whole: bool) -> list[int]:
    """Examples of each split, as shares of the whole or as asked for."""
    if not whole:
        asked = [int(count) for count in shares]
        if sum(asked) > examples:
            raise DataError(
                f"split asks for {_spelt(sum(asked))} and there are {examples:,}: ask for fewer, or give shares."
            )
        return asked
    weights = np.array([round(share * 1_000_000) for share in shares])
    return [int(count) for count in apportion(examples, weights, np.full(3, examples))]


def _are_counts(shares: Sequence[float]) -> bool:
    # Shares add up to 1, within rounding; counts are whole numbers that add up to more.
    return sum(shares) > 1.5


def _cut(rows: Rows, counts: Sequence[int], whole: bool) -> list[np.ndarray]:
    """Rows of train, valid and test, all of them if whole. Test takes the first by rank, so that adding rows moves few
    across."""
    unit, key, label, size = _units(rows)
    order = np.lexsort((key, label))
    edges = np.flatnonzero(np.diff(label[order], prepend=-1, append=-1))
    classes = list(zip(edges[:-1], edges[1:], strict=True)) if len(order) else []
    totals = np.array([size[order[start:end]].sum() for start, end in classes], np.int64)
    # No class goes without training examples, however rare it is.
    tests = apportion(counts[2], totals, np.maximum(totals - 1, 0))
    valids = apportion(counts[1], totals - tests, np.maximum(totals - tests - 1, 0))
    trains = apportion(counts[0], totals - tests - valids, totals - tests - valids)
    split = np.full(len(order), -1)
    for (start, end), quotas in zip(classes, np.stack([tests, valids, trains], axis=1), strict=True):
        members = order[start:end]
        split[members] = _walk(size[members], quotas, whole)
    return [np.flatnonzero(split[unit] == number) for number in range(3)]


def _walk(sizes: np.ndarray, quotas: np.ndarray, whole: bool) -> np.ndarray:
    """The split of each unit of a class, by rank: each quota is met as nearly as whole units allow, by one at least. If
    whole, train takes whatever the others leave."""
    ends = np.cumsum(sizes)
    middles = ends - sizes / 2
    split = np.full(len(sizes), -1)
    first, filled = 0, 0
    for number, quota in ((2, quotas[0]), (1, quotas[1]), (0, quotas[2])):
        most = len(sizes) if number == 0 else len(sizes) - 1
        near = max(int(np.searchsorted(middles, filled + quota, side="right")), first + 1) if quota else first
        last = most if whole and number == 0 else max(first, min(near, most))
        split[first:last] = number
        filled = int(ends[last - 1]) if last else 0
        first = last
    return split


def _units(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What cannot be separated: (unit of each row, and each unit's rank key, class and number of rows)."""
    if rows.groups is None:
        key, unit = np.unique(rows.hashes, return_inverse=True)
    else:
        unit = _joined(rows.hashes, rows.groups)
        key = np.full(int(unit.max(initial=-1)) + 1, np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(key, unit, _mix(rows.groups))
    # A unit under several labels counts in the first of them: any fixed choice keeps it in one split.
    label = np.full(len(key), np.iinfo(np.int64).max)
    np.minimum.at(label, unit, rows.labels.astype(np.int64))
    return unit, key, label, np.bincount(unit, minlength=len(key))


def _joined(hashes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Connected components: rows that share a content or a group, directly or through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    contents, content = np.unique(hashes, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    nodes = len(contents) + int(group.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(hashes), bool), (content, len(contents) + group)), shape=(nodes, nodes))
    _, component = connected_components(edges, directed=False)
    joined: np.ndarray = np.unique(component[content], return_inverse=True)[1]
    return joined


def _mix(values: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser: group keys may be small numbers, ranks must look random."""
    mixed = values.astype(np.int64).view(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def first(rows: Rows, chosen: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` of the chosen rows: of each class its share, the first by hash. Ascending."""
    if len(chosen) <= limit:
        return chosen
    order = chosen[np.lexsort((rows.hashes[chosen], rows.labels[chosen]))]
    _, starts, totals = np.unique(rows.labels[order], return_index=True, return_counts=True)
    seats = apportion(limit, totals, totals)
    taken = [order[start : start + count] for start, count in zip(starts, seats, strict=True)]
    return np.sort(np.concatenate(taken))


def _empty(name: str, examples: int, shares: Sequence[float]) -> str:
    split = ",".join(f"{share:g}" for share in shares)
    leave = "leaves" if examples == 1 else "leave"
    return (
        f"the {_SPOKEN[name]} split would be empty: {_spelt(examples)} cut by split {split} {leave} none for it. "
        f"Give more data, a larger share in split, or a source of its own with {name if name != 'train' else 'data'}."
    )


def _spelt(count: int, noun: str = "example") -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _protocol(given: Mapping[str, Rows], rows: Mapping[str, tuple[str, np.ndarray]]) -> str:
    count = {name: len(chosen) for name, (_, chosen) in rows.items()}
    total = len(given["train"].hashes)
    together = "groups and duplicates" if given["train"].groups is not None else "duplicates"
    within = f" within each {given['train'].stratum}" if given["train"].stratum else ""
    cut = f"cut by content hash{within}, {together} kept together"
    source = rows["test"][0]
    if len(given) == 3:
        return f"Scored on the given test split ({_spelt(count['test'])}); train and validation are as given too."
    if source == "train":
        unused = total - sum(count.values())
        left = f", {unused:,} unused" if unused else ""
        return (
            f"Scored on the test split, {count['test']:,} of {_spelt(total)} {cut} "
            f"(train {count['train']:,}, validation {count['valid']:,}{left})."
        )
    which = "test split" if source == "test" else "validation split as the test set"
    return (
        f"Scored on the given {which} ({_spelt(count['test'])}); "
        f"validation is {count['valid']:,} of the {_spelt(total, 'training example')} {cut}."
    )
