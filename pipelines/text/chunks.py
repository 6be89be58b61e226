"""Texts in parts of bounded size, as bytes."""

from collections.abc import Iterable, Iterator

_BYTES = 1 << 18
_TEXTS = 4096


def chunks(texts: Iterable[str | bytes]) -> Iterator[list[bytes]]:
    """The texts in order, in lists of at most 4,096 texts and about 256 kB: what one call of a graph is given."""
    part: list[bytes] = []
    held = 0
    for text in texts:
        # Half a surrogate pair is no UTF-8; it goes on as it is, and the graph replaces what it cannot read.
        part.append(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        held += len(part[-1])
        if held >= _BYTES or len(part) == _TEXTS:
            yield part
            part, held = [], 0
    if part:
        yield part
