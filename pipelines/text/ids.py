"""Which pieces of a vocabulary are no text. Imports no TensorFlow."""

from dataclasses import dataclass

from pipelines.task import Assets

PAD = 0
"""Of our own vocabularies."""


@dataclass(frozen=True)
class Ids:
    """Pieces that are no text: by default those of our own vocabularies."""

    pad: int = PAD
    unknown: int = 1
    start: int = 2
    end: int = 3
    size: int | None = None
    """How many pieces there are, where a network has logits for more."""
    before: int | None = None
    """What stands before the start of a target, if anything."""
    first: int | None = None
    """What begins a source, if anything."""

    @staticmethod
    def of(assets: Assets) -> "Ids":
        """Of a model: its asset `ids`, where it has others than ours."""
        return Ids(**assets.get("ids", {}))
