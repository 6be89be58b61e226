"""The networks a piece at a time, for the search: nothing that is known already is computed again."""

from typing import Any

import keras

from tasks.translation.attention import Pair, Transformer
from tasks.translation.backbones import table_names
from tasks.translation.config import Config
from tasks.translation.parts import Parts, hiding
from tasks.translation.search import Front, Stepper, Tensors


def stepper_of(network: keras.Model, config: Config) -> Stepper:
    """Of a network that `build_network` made with these settings."""
    return TransformerStepper(network, config)


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
        first = known["keys_1"]
        # [rows, heads, places * beams, width of a head]: the beams of a place stand beside each other.
        empty = keras.ops.zeros(
            (keras.ops.shape(first)[0], first.shape[1], places * beams, first.shape[3]), first.dtype
        )
        layers = range(1, self._network.layers + 1)
        return {}, {f"{name}_{number}": empty for number in layers for name in ("keys", "values")}

    def step(self, known: Tensors, moving: Tensors, staying: Tensors, front: Front) -> tuple[Any, Tensors, Tensors]:
        hidden, after = self._hidden(front, known["hidden"].dtype), dict(staying)
        start = front.place * front.pieces.shape[1]

        def remember(number: int, pair: Pair) -> tuple[Pair, Any]:
            for name, new in _named(pair).items():
                key = f"{name}_{number}"
                after[key] = keras.ops.slice_update(staying[key], (0, 0, start, 0), new)
            return (after[f"keys_{number}"], after[f"values_{number}"]), hidden

        memories = [(known[f"keys_{n}"], known[f"values_{n}"]) for n in range(1, self._network.layers + 1)]
        states = self._network.next_states(front.pieces, front.place, remember, memories, known["hidden"])
        return self._table(states, reverse=True), moving, after

    def _hidden(self, front: Front, dtype: Any) -> Any:
        """[rows, 1, beams, places * beams]: what keeps each hypothesis from what is not its own, or not yet there."""
        beams = front.owners.shape[1]
        place = keras.ops.cumsum(keras.ops.ones_like(front.owners), axis=2) - 1
        slot = keras.ops.arange(beams, dtype="int32")
        own = keras.ops.equal(front.owners[..., None], slot)
        seen = keras.ops.logical_and(own, (place <= front.place)[..., None])
        shape = (keras.ops.shape(seen)[0], 1, beams, keras.ops.shape(seen)[2] * beams)
        return hiding(keras.ops.reshape(seen, shape), dtype)


def _named(pair: Pair) -> dict[str, Any]:
    return {"keys": pair[0], "values": pair[1]}
