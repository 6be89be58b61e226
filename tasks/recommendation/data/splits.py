"""Which interactions are trained on, validated and tested on: the protocols, and what they leak."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np

from pipelines.errors import DataError
from pipelines.task import Problem
from tasks.recommendation.config import Config
from tasks.recommendation.data.log import mix

TRAIN, VALID, TEST, UNUSED = 0, 1, 2, -1
SPLITS = {"train": TRAIN, "valid": VALID, "test": TEST}
LEAST = 3
"""Interactions of a user of whom some are held out one by one."""


@dataclass(frozen=True)
class Rows:
    """Interactions by user, each user's by time."""

    user: np.ndarray
    """int [n], ascending."""
    item: np.ndarray
    """int [n]."""
    time: np.ndarray | None
    """float64 [n]."""
    dated: bool
    """The times are seconds since 1970."""
    keys: tuple[np.ndarray, np.ndarray]
    """uint64 [users], uint64 [items]: of their names."""

    @cached_property
    def key(self) -> np.ndarray:
        """uint64 [n]: well mixed, of user and item."""
        with np.errstate(over="ignore"):
            return mix(mix(self.keys[0][self.user]) + self.keys[1][self.item])

    def some(self, which: np.ndarray) -> "Rows":
        """Those at int64 [m], ascending."""
        time = None if self.time is None else self.time[which]
        return Rows(self.user[which], self.item[which], time, self.dated, self.keys)

    @property
    def from_end(self) -> np.ndarray:
        """int64 [n]: how many of the user come after."""
        ends = np.cumsum(np.bincount(self.user))
        return np.asarray(ends[self.user] - 1 - np.arange(len(self.user)))

    @property
    def lengths(self) -> np.ndarray:
        """int64 [n]: how many the user has."""
        return np.asarray(np.bincount(self.user)[self.user])


@dataclass(frozen=True)
class Parts:
    """A part for each interaction, and in words how it came about."""

    part: np.ndarray
    """int8 [n]."""
    how: str


def by_time(rows: Rows, split: tuple[float, float, float]) -> Parts:
    """What comes last of all is the test, what comes before it the validation.

    Raises:
        DataError: too many are of one time, or split asks for more than there are.
    """
    assert rows.time is not None
    train, valid, test = counts(len(rows.user), split)
    order = np.sort(rows.time)
    last, middle = order[len(order) - test], order[len(order) - test - valid]
    first = order[len(order) - test - valid - train]
    part = np.where(rows.time >= last, TEST, np.where(rows.time >= middle, VALID, TRAIN))
    part = np.where(rows.time < first, UNUSED, part).astype(np.int8)
    if not (middle < last and (part == TRAIN).any()):
        raise DataError(
            f"too many interactions are of one time ({spelt(last, rows.dated)}) to be split by it: choose other shares "
            "with split, or --protocol leave-last-out or random."
        )
    return Parts(
        part,
        f"what was taken from {spelt(last, rows.dated)} on; validation is from {spelt(middle, rows.dated)} until then, "
        "training all before (time)",
    )


def leave_last_out(rows: Rows) -> Parts:
    """The last of each user is the test, the one before it the validation; users with fewer than three are trained on
    alone (Kang and McAuley, 2018)."""
    place = np.where(rows.lengths >= LEAST, rows.from_end, LEAST)
    part = np.where(place == 0, TEST, np.where(place == 1, VALID, TRAIN)).astype(np.int8)
    short = int((np.bincount(rows.user) < LEAST)[np.unique(rows.user)].sum()) if len(rows.user) else 0
    whose = "1 user with fewer than {0} is" if short == 1 else f"{short:,} users with fewer than {{0}} are"
    alone = f"; {whose.format(LEAST)} trained on alone" if short else ""
    return Parts(part, f"the last item of each user; validation is the one before it (leave-last-out){alone}")


def at_random(rows: Rows, split: tuple[float, float, float]) -> Parts:
    """By a hash of user and item, so that a row goes where it goes whatever else there is."""
    train, valid, test = counts(len(rows.user), split)
    place = np.empty(len(rows.key), np.int64)
    place[np.argsort(rows.key, kind="stable")] = np.arange(len(rows.key))
    part = np.where(place < test, TEST, np.where(place < test + valid, VALID, TRAIN))
    part = np.where(place >= test + valid + train, UNUSED, part).astype(np.int8)
    return Parts(part, "interactions drawn by a hash of user and item, as are those of validation (random)")


def one_at_random(rows: Rows) -> np.ndarray:
    """bool [n]: one of each user that has two, by hash."""
    order = np.lexsort((rows.key, rows.user))
    first = np.zeros(len(order), bool)
    first[order[np.flatnonzero(np.diff(rows.user[order], prepend=-1))]] = True
    return first & (rows.lengths >= 2)


def counts(total: int, split: tuple[float, float, float]) -> tuple[int, int, int]:
    """Interactions of train, validation and test.

    Raises:
        DataError: more are asked for than there are, or a part would be empty.
    """
    if sum(split) > 1.5:
        train, valid, test = (int(count) for count in split)
        if train + valid + test > total:
            raise DataError(
                f"split asks for {train + valid + test:,} interactions and there are {total:,}: ask for fewer."
            )
    else:
        valid, test = (round(total * share) for share in split[1:])
        train = total - valid - test
    for name, count in (("training", train), ("validation", valid), ("test", test)):
        if count < 1:
            few = "1 interaction is" if total == 1 else f"{total:,} interactions are"
            raise DataError(f"the {name} split would be empty: {few} too few for this split.")
    return train, valid, test


def divided(config: Config, rows: Rows, piece: np.ndarray) -> Parts:
    protocol = config.protocol
    if protocol == "given":
        return _as_given(config, rows, piece)
    if piece.any():
        raise DataError(f"a test is given, and protocol {protocol} would hold out another: drop one of the two.")
    if protocol == "time":
        if rows.time is None:
            raise DataError(
                "protocol time needs times: map them with --columns time=COLUMN, or choose another protocol."
            )
        parts = by_time(rows, config.split)
    elif protocol == "random":
        parts = at_random(rows, config.split)
    else:
        parts = leave_last_out(rows)
        if not (parts.part == TEST).any():
            raise DataError(f"no user has {LEAST} interactions, so that none can be held out: give more data.")
    return parts


def _as_given(config: Config, rows: Rows, piece: np.ndarray) -> Parts:
    """The test as given; the validation too, or cut from what is trained on in the way that the test looks like."""
    if not (piece == TEST).any():
        raise DataError("protocol given needs a test: name one with test, or choose another protocol.")
    if (piece == TEST).all():
        return Parts(piece, "all of the data (given)")
    if (piece == VALID).any():
        return Parts(piece, "the given test; validation is as given too (given)")
    mine = np.flatnonzero(piece == TRAIN)
    train = rows.some(mine)
    part = piece.copy()
    single = np.bincount(rows.user[piece == TEST]).max() == 1
    if not config.rates and single:
        part[mine[one_at_random(train)]] = VALID
        return Parts(part, "the given test; validation is one training interaction of each user, by hash (given)")
    share = config.split[1] / (config.split[0] + config.split[1]) if sum(config.split) < 1.5 else config.split[1]
    count = round(len(mine) * share) if share < 1 else int(share)
    place = np.argsort(np.argsort(train.key, kind="stable"), kind="stable")
    part[mine[place < count]] = VALID
    if not 0 < count < len(mine):
        raise DataError(f"the validation split would be empty, or all of training: {len(mine):,} interactions.")
    return Parts(part, "the given test; validation is drawn from training by a hash of user and item (given)")


def leak(rows: Rows, part: np.ndarray, protocol: str) -> list[Problem]:
    """A warning where what is trained on happened after what is tested on."""
    if rows.time is None or protocol == "time" or not (part == TEST).any():
        return []
    first = float(rows.time[part == TEST].min())
    later = int((rows.time[part == TRAIN] > first).sum())
    if not later:
        return []
    share = later / max(int((part == TRAIN).sum()), 1)
    message = (
        f"protocol {protocol} trains on the future: {later:,} training interactions ({share:.0%}) are later than the "
        f"first of the test ({spelt(first, rows.dated)}); --protocol time does not."
    )
    return [Problem("warning", "future-leak", "split", message)]


def spelt(time: float, dated: bool) -> str:
    """A time for people."""
    if not dated:
        return f"{time:.15g}"
    moment = datetime.fromtimestamp(time, UTC)
    return moment.strftime("%Y-%m-%d" if moment.hour == moment.minute == moment.second == 0 else "%Y-%m-%d %H:%M:%S")
