"""The networks a piece at a time, for the search: nothing that is known already is computed again."""

from collections.abc import Callable
from typing import Any

import keras

from pipelines.devices import shapes_change
from pipelines.text.ids import Ids
from pipelines.text.search import Front, Stepper, Tensors, numbers
from pipelines.transfer.pair_presets import DECODED, ENCODED, INPUTS, pair_logits
from tasks.translation.attention import Pair, Transformer
from tasks.translation.backbones import begun, table_names, there_are, written_by
from tasks.translation.config import PRESET, Config
from tasks.translation.parts import Parts, hiding
from tasks.translation.recurrent import Recurrent


def stepper_of(network: keras.Model, config: Config, ids: Ids | None = None) -> Stepper:
    """Of a network that `build_network` made with these settings."""
    if config.backbone == PRESET:
        return PresetStepper(network, ids or Ids())
    kinds: dict[str, Callable[[keras.Model, Config], Stepper]]
    kinds = {"transformer": TransformerStepper, "gru": RecurrentStepper}
    return kinds[config.backbone](network, config)


class TransformerStepper:
    """Keys and values of what was read stay in the beam where they were computed, those of all beams of a row side by
    side; each hypothesis sees its own among them. So nothing is copied when hypotheses change beams, and one product
    serves all beams of a row. See Stepper."""

    def __init__(self, network: keras.Model, config: Config) -> None:
        names = table_names(config)
        self._network = Transformer(Parts(config, network), *names)
        self._table = network.get_layer(names[1])

    def begin(self, source: Any) -> Tensors:
        memory, hidden = self._network.encode(source)
        pairs = enumerate(self._network.memories(memory), 1)
        return {"hidden": hidden, **{f"{name}_{n}": one for n, pair in pairs for name, one in _named(pair).items()}}

    def memory(self, known: Tensors, beams: int, places: Any) -> tuple[Tensors, Tensors]:
        layers = range(1, self._network.layers + 1)
        empty = _empty(known["keys_1"], places * beams)
        return {}, {f"{name}_{number}": empty for number in layers for name in ("keys", "values")}

    def step(self, known: Tensors, moving: Tensors, staying: Tensors, front: Front) -> tuple[Any, Tensors, Tensors]:
        hidden, after = _hidden(front, known["hidden"].dtype), {}

        def remember(number: int, pair: Pair) -> tuple[Pair, Any]:
            for name, new in _named(pair).items():
                key = f"{name}_{number}"
                after[key] = _put(staying[key], new, front.place)
            return (after[f"keys_{number}"], after[f"values_{number}"]), hidden

        memories = [(known[f"keys_{n}"], known[f"values_{n}"]) for n in range(1, self._network.layers + 1)]
        states = self._network.next_states(front.pieces, front.place, remember, memories, known["hidden"])
        return self._table(states, reverse=True), moving, after


class RecurrentStepper:
    """The states of the layers go with their hypotheses. See Stepper."""

    def __init__(self, network: keras.Model, config: Config) -> None:
        names = table_names(config)
        self._network = Recurrent(Parts(config, network), *names)
        self._table = network.get_layer(names[1])

    def begin(self, source: Any) -> Tensors:
        (values, keys, hidden), first = self._network.encode(source)
        return {"values": values, "keys": keys, "hidden": hidden, "first": first}

    def memory(self, known: Tensors, beams: int, places: Any) -> tuple[Tensors, Tensors]:
        del places
        first = keras.ops.repeat(known["first"][:, None], beams, axis=1)
        return {f"layer_{number}": first for number in range(1, self._network.layers + 2)}, {}

    def step(self, known: Tensors, moving: Tensors, staying: Tensors, front: Front) -> tuple[Any, Tensors, Tensors]:
        memory = known["values"], known["keys"], known["hidden"]
        names = [f"layer_{number}" for number in range(1, len(moving) + 1)]
        states, after = self._network.next_states(front.pieces, [moving[name] for name in names], memory)
        return self._table(states, reverse=True), dict(zip(names, after, strict=True)), staying


class PresetStepper:
    """A KerasHub network, whose families each keep their keys and values in a way of their own: what was read is read
    again with each piece, the source but once. See Stepper."""

    def __init__(self, network: keras.Model, ids: Ids) -> None:
        self._whole, self._ids = written_by(network), ids
        given, answers = self._whole.backbone.input, self._whole.backbone.output
        read = {name: one for name, one in given.items() if name.startswith("encoder")}
        self._encoder = keras.Model(read, answers[ENCODED])
        self._decoder = keras.Model([answers[ENCODED], *(given[name] for name in INPUTS[1:])], answers[DECODED])

    def begin(self, source: Any) -> Tensors:
        mask = keras.ops.cast(keras.ops.not_equal(source, self._ids.pad), "int32")
        encoded = self._encoder({"encoder_token_ids": source, "encoder_padding_mask": mask})
        return {ENCODED: encoded, "encoder_padding_mask": mask}

    def memory(self, known: Tensors, beams: int, places: Any) -> tuple[Tensors, Tensors]:
        del places
        read = (ENCODED, "encoder_padding_mask")
        return {}, {name: keras.ops.repeat(known[name][:, None], beams, axis=1) for name in read}

    def step(self, known: Tensors, moving: Tensors, staying: Tensors, front: Front) -> tuple[Any, Tensors, Tensors]:
        beams = front.pieces.shape[1]
        read = front.hypotheses[:, :, : front.place + 1] if shapes_change() else front.hypotheses
        given = [staying[ENCODED], staying["encoder_padding_mask"], read]
        encoded, mask, read = (keras.ops.reshape(one, (-1, *keras.ops.shape(one)[2:])) for one in given)
        read = begun(read, self._ids)
        place = front.place if self._ids.before is None else front.place + 1
        last = keras.ops.take(self._decoder([encoded, mask, read, keras.ops.ones_like(read)]), place, axis=1)
        logits = there_are(keras.ops.cast(pair_logits(self._whole, last), "float32"), self._ids)
        return keras.ops.reshape(logits, (-1, beams, logits.shape[-1])), moving, staying


def _named(pair: Pair) -> dict[str, Any]:
    return {"keys": pair[0], "values": pair[1]}


# The memory of attention is [rows, heads, places * beams, width of a head], the beams of a place beside each other.
# It grows where shapes may change in a loop; a slice that is put into a tensor of fixed size copies all of it there.


def _empty(like: Any, count: Any) -> Any:
    """Of `count` places in all, or none yet."""
    rows = keras.ops.shape(like)[0]
    return keras.ops.zeros((rows, like.shape[1], 0 * rows if shapes_change() else count, like.shape[3]), like.dtype)


def _put(memory: Any, new: Any, place: Any) -> Any:
    """With the keys or values of a place [rows, heads, beams, width of a head]."""
    if shapes_change():
        return keras.ops.concatenate([memory, new], axis=2)
    return keras.ops.slice_update(memory, (0, 0, place * new.shape[2], 0), new)


def _hidden(front: Front, dtype: Any) -> Any:
    """[rows, 1, beams, places * beams]: what keeps each hypothesis from what is not its own, or not yet there."""
    owners = front.owners[:, :, : front.place + 1] if shapes_change() else front.owners
    beams = owners.shape[1]
    own = keras.ops.equal(keras.ops.expand_dims(owners, -1), numbers(owners, 1))
    seen = keras.ops.logical_and(own, keras.ops.expand_dims(numbers(owners, 2) <= front.place, 1))
    shape = (keras.ops.shape(seen)[0], 1, beams, keras.ops.shape(seen)[2] * beams)
    return hiding(keras.ops.reshape(seen, shape), dtype)
