"""Beam search: the likeliest texts of what was read or heard, found a piece at a time; in keras.ops, on either backend.

All is a function of tensors, a loop among them, so that it compiles to one graph. Rows do not know of each other.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from pipelines.devices import shapes_change
from pipelines.text.ids import Ids

_NEVER = -1e9
"""The log-probability of what is not to be; no infinity, of which differences would be no numbers."""
LEAST = _NEVER / 2
"""Below it is the score of what is no text."""

Tensors = dict[str, Any]


@dataclass(frozen=True)
class Front:
    """Where a search stands: at one place in all its hypotheses."""

    place: Any
    """int32: how many pieces there are behind the start."""
    pieces: Any
    """int32 [rows, beams]: the last of each."""
    hypotheses: Any
    """int32 [rows, beams, length + 1]: each from its start on."""
    owners: Any
    """int32 [rows, beams, length + 1]: in which beam each of them stood when its piece at a place was read. What was
    computed of a piece may so stay where it is, though hypotheses change their beams."""


class Stepper(Protocol):
    """A network, a piece of the text at a time."""

    def begin(self, source: Any) -> Tensors:
        """What stays as it is, of the source: each [rows, ...]."""

    def memory(self, known: Tensors, beams: int, places: Any) -> tuple[Tensors, Tensors]:
        """What changes, at first: what follows its hypothesis, each [rows, beams, ...], and what stays in its beam,
        which has as many places as `Front.owners` has."""

    def step(self, known: Tensors, moving: Tensors, staying: Tensors, front: Front) -> tuple[Any, Tensors, Tensors]:
        """float32 [rows, beams, pieces], the logits of what comes after; and the memory with what was read."""


@dataclass(frozen=True)
class Search:
    """How to search.

    Hypotheses that end among the k likeliest ways to go on are put aside, the best k of them by the sum of their
    log-probabilities over the power `penalty` of their length, the end counted; the best k others go on. A row is done
    when k have ended and none that goes on stands above the worst of them, its score taken as it is (as in fairseq and
    Transformers); or when nothing can come any more. One beam is so the likeliest piece each time.
    """

    beams: int
    n_best: int = 1
    no_repeat: int = 0
    ids: Ids = Ids()

    def __call__(self, stepper: Stepper, source: Any, limits: Any, blank: Any, penalty: Any) -> tuple[Any, Any]:
        """int32 [rows, n_best, length], pieces without start and end, padding behind them; float32 [rows, n_best],
        their scores, best first. Where there are fewer, they have no pieces and a score below LEAST.

        Args:
            stepper: the network.
            source: what the stepper takes, as int32 [rows, S], padding behind each.
            limits: int32 [rows], of pieces; not above length.
            blank: int32 [rows, length], padding alone: what texts are written on.
            penalty: float32, not negative.
        """
        known = {**stepper.begin(source), "limits": limits}
        state = self._start(stepper, known, blank)
        place, last = keras.ops.zeros((), "int32"), keras.ops.max(limits)
        if shapes_change():
            return self._shrinking(stepper, known, state, last, penalty)
        _, state = self._part(stepper, known, state, place, last, penalty)
        return self._best(state)

    def _shrinking(self, stepper: Stepper, known: Tensors, state: Tensors, last: Any, penalty: Any) -> tuple[Any, Any]:
        """The search in parts, behind each of which rows that are done are left out: one text that finds no end
        would keep all others waiting."""

        def going_on(place: Any, rows: Any, *_: Any) -> Any:
            return keras.ops.shape(rows)[0] > 0

        def advance(place: Any, rows: Any, found: Any, known: Tensors, state: Tensors) -> Any:
            place, state = self._part(stepper, known, state, place, last, penalty)
            now = zip(found, self._best(state), strict=True)
            found = tuple(keras.ops.scatter_update(all_of_it, rows[:, None], part) for all_of_it, part in now)
            left = keras.ops.cast(keras.ops.nonzero(keras.ops.logical_not(state["done"]))[0], "int32")
            return place, keras.ops.take(rows, left), found, _taken(known, left), _taken(state, left)

        rows = numbers(state["done"], 0)
        start = (keras.ops.zeros((), "int32"), rows, self._best(state), known, state)
        return tuple(keras.ops.while_loop(going_on, advance, start)[2])

    def _part(
        self, stepper: Stepper, known: Tensors, state: Tensors, place: Any, last: Any, penalty: Any
    ) -> tuple[Any, Tensors]:
        """Until all rows are done or, where they may be left out, a quarter of them."""
        enough = 3 * keras.ops.shape(state["done"])[0] // 4 if shapes_change() else 0

        def going_on(place: Any, state: Tensors) -> Any:
            left = keras.ops.sum(keras.ops.cast(keras.ops.logical_not(state["done"]), "int32"))
            return keras.ops.logical_and(place <= last, left > enough)

        def advance(place: Any, state: Tensors) -> tuple[Any, Tensors]:
            return place + 1, self._advance(stepper, known, state, place, penalty)

        return tuple(keras.ops.while_loop(going_on, advance, (place, state)))

    def _best(self, state: Tensors) -> tuple[Any, Any]:
        return state["ended"][:, : self.n_best], state["scores"][:, : self.n_best]

    def _start(self, stepper: Stepper, known: Tensors, blank: Any) -> Tensors:
        """One hypothesis in each row, of nothing."""
        column = 0 * keras.ops.sum(blank, axis=1, keepdims=True)
        rows = keras.ops.expand_dims(column + np.arange(self.beams, dtype=np.int32), 2)
        blank = keras.ops.expand_dims(blank, 1) + keras.ops.zeros_like(rows)
        moving, staying = stepper.memory(known, self.beams, keras.ops.shape(blank)[2] + 1)
        first = keras.ops.where(keras.ops.equal(rows[:, :, 0], 0), 0.0, _NEVER)
        return {
            "moving": moving,
            "staying": staying,
            "hypotheses": keras.ops.concatenate([keras.ops.full_like(rows, self.ids.start), blank], axis=2),
            "owners": keras.ops.concatenate([rows, keras.ops.zeros_like(blank)], axis=2),
            "live": first,
            "ended": blank,
            "scores": keras.ops.full_like(first, _NEVER),
            "done": keras.ops.equal(column[:, 0], 1),
        }

    def _advance(self, stepper: Stepper, known: Tensors, state: Tensors, place: Any, penalty: Any) -> Tensors:
        """A piece more."""
        hypotheses, owners = state["hypotheses"], state["owners"]
        columns = numbers(hypotheses, 2)
        here = keras.ops.equal(columns, place)
        pieces = keras.ops.sum(keras.ops.where(here, hypotheses, 0), axis=2)
        front = Front(place, pieces, hypotheses, owners)
        logits, moving, staying = stepper.step(known, state["moving"], state["staying"], front)
        values, candidates, ends = self._ways_on(logits, state["live"], front)
        full = keras.ops.expand_dims(place >= known["limits"], 1)
        live, chosen = keras.ops.top_k(keras.ops.where(full, _NEVER, values), self.beams)
        parents = chosen // (values.shape[1] // self.beams)
        taken = _rows(candidates, chosen)
        power = keras.ops.power(keras.ops.cast(place + 1, "float32"), penalty)
        found = self._ended(state, ends, live, power)
        worst = found["scores"][:, -1]
        done = keras.ops.logical_and(worst > LEAST, live[:, 0] / power <= worst)
        next_one = keras.ops.equal(columns, place + 1)
        return {
            "moving": {name: _rows(one, parents) for name, one in moving.items()},
            "staying": staying,
            "hypotheses": keras.ops.where(next_one, keras.ops.expand_dims(taken, -1), _rows(hypotheses, parents)),
            "owners": keras.ops.where(next_one, keras.ops.expand_dims(numbers(owners, 1), 1), _rows(owners, parents)),
            "live": live,
            **found,
            "done": keras.ops.logical_or(state["done"], keras.ops.logical_or(done, live[:, 0] < LEAST)),
        }

    def _ways_on(self, logits: Any, live: Any, front: Front) -> tuple[Any, Any, Any]:
        """The likeliest pieces behind each hypothesis: float32 and int32 [rows, beams * n], all in all and which; and
        float32 [rows, beams], if it ends."""
        total = live - keras.ops.logsumexp(logits, axis=-1)
        ends = total + logits[..., self.ids.end]
        if self.no_repeat:
            logits = _without_repeated(logits, front, self.no_repeat, self.ids.pad)
        never = (self.ids.pad, self.ids.unknown, self.ids.start, self.ids.end)
        values, candidates = largest(logits, min(self.beams, logits.shape[-1]), never)
        flat = (-1, self.beams * values.shape[-1])
        return keras.ops.reshape(values + total[..., None], flat), keras.ops.reshape(candidates, flat), ends

    def _ended(self, state: Tensors, ends: Any, live: Any, power: Any) -> Tensors:
        """Those put aside, with those that end now and are among the likeliest."""
        likely = keras.ops.top_k(keras.ops.concatenate([ends, live], axis=1), self.beams)[0][:, -1:]
        counts = keras.ops.logical_and(ends >= likely, ends > LEAST)
        counts = keras.ops.logical_and(counts, keras.ops.logical_not(state["done"][:, None]))
        scores = keras.ops.concatenate([state["scores"], keras.ops.where(counts, ends / power, _NEVER)], axis=1)
        both = keras.ops.concatenate([state["ended"], state["hypotheses"][:, :, 1:]], axis=1)
        best, places = keras.ops.top_k(scores, self.beams)
        return {"scores": best, "ended": _rows(both, places)}


def largest(values: Any, k: int, never: tuple[int, ...] = ()) -> tuple[Any, Any]:
    """The k largest values [..., n] and their places, int32, the first of equal ones; last those that never count.

    Of many, they are in the k groups with the largest, which alone are sorted: a fifth of the time of top_k over all.
    """
    count = values.shape[-1]
    shape, size = keras.ops.shape(values)[:-1], _group_size(count)
    few = count <= k * size or any(place >= size for place in never)
    away = np.zeros(count if few else size, np.float32)
    away[list(never)] = _NEVER
    if few:
        found, places = keras.ops.top_k(values + away, k)
        return found, places
    grouped = keras.ops.reshape(values, (-1, count // size, size))
    first = keras.ops.max(grouped[:, :1] + away, axis=-1)
    most = keras.ops.concatenate([first, keras.ops.max(grouped, axis=-1)[:, 1:]], axis=1)
    best = keras.ops.sort(keras.ops.top_k(most, k)[1], axis=-1)
    members = _rows(grouped, best) + keras.ops.where(keras.ops.equal(best, 0)[..., None], away, 0.0)
    found, places = keras.ops.top_k(keras.ops.reshape(members, (-1, k * size)), k)
    places = _rows(best, places // size) * size + places % size
    return keras.ops.reshape(found, (*shape, k)), keras.ops.reshape(places, (*shape, k))


def _group_size(count: int) -> int:
    """About the 64 that were found best, and a divisor of so many; all of them where there is none."""
    return next((size for size in (64, 50, 80, 60, 48, 70, 72, 40, 100, 32, 128) if count % size == 0), count)


def _without_repeated(logits: Any, front: Front, size: int, pad: int) -> Any:
    """Logits with `_NEVER` where a piece would make a run of so many that the hypothesis has already."""
    hypotheses, place = front.hypotheses, front.place
    columns = numbers(hypotheses, 2)
    seen = keras.ops.ones_like(hypotheses, "bool")
    # Each run of size - 1 pieces beside the last such run: column c is its end, and c + 1 what came after it.
    for back in range(size - 1):
        last = keras.ops.sum(keras.ops.where(keras.ops.equal(columns, place - back), hypotheses, 0), 2, keepdims=True)
        before = keras.ops.roll(hypotheses, back, axis=2)
        seen = keras.ops.logical_and(seen, keras.ops.logical_and(keras.ops.equal(before, last), columns - back >= 1))
    after = keras.ops.roll(hypotheses, -1, axis=2)
    banned = keras.ops.logical_and(seen, columns < place)
    pieces = keras.ops.where(banned, after, pad)
    rows, beams = keras.ops.expand_dims(numbers(pieces, 0), (1, 2)), numbers(pieces, 1)[:, None]
    where = keras.ops.stack([keras.ops.broadcast_to(one, keras.ops.shape(pieces)) for one in (rows, beams, pieces)], -1)
    where = keras.ops.reshape(where, (-1, 3))
    return keras.ops.scatter_update(logits, where, keras.ops.full_like(where[:, 0], _NEVER, dtype=logits.dtype))


def _rows(values: Any, beams: Any) -> Any:
    """[rows, n, ...]: of each row of values [rows, beams, ...] the beams int32 [rows, n]."""
    shape = keras.ops.shape(values)
    first = keras.ops.expand_dims(shape[1] * numbers(values, 0), 1)
    return keras.ops.take(keras.ops.reshape(values, (-1, *shape[2:])), first + beams, axis=0)


def _taken(tensors: Tensors, rows: Any) -> Tensors:
    """These rows of all, and of what is in them."""
    return {
        name: _taken(one, rows) if isinstance(one, dict) else keras.ops.take(one, rows, axis=0)
        for name, one in tensors.items()
    }


def numbers(values: Any, axis: int) -> Any:
    """int32: 0, 1, 2, ... along a side of values."""
    return keras.ops.arange(keras.ops.shape(values)[axis], dtype="int32")
